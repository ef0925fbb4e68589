"""The thread that writes what is kept. The threads that infer ask the rules and hand over references; they never wait.

What was picked waits in memory for ten seconds at most, or until there is a segment of it: many rows cost one write.
Where the disk is slower than what comes, and the memory for it is taken, samples are passed over and counted.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from itertools import groupby
from queue import Empty, SimpleQueue
from typing import Any

from edge.capture.record import Candidate
from edge.capture.rules import TRIAL, Rules, picked
from edge.capture.store import NoRoomError, Store
from edge.data.result import Result
from edge.data.sample import Frame, Payload
from edge.data.units import SECOND_NS
from edge.errors import ConfigError
from edge.plugins.protocols import Clock
from edge.telemetry.metrics import Metrics
from edge.telemetry.priority import stand_back

log = logging.getLogger("edge.capture")

WAITS_S = 10.0
WAITING_BYTES = 16_000_000
SEGMENT_BYTES = 2_000_000
SEGMENTS_LEAST = 8
"""Into which the folder is cut at least: so much goes at once where there is no room."""
JOIN_S = 10.0


class Writer:
    """`keep` and `differs` from any thread, `start` and `close` once each."""

    def __init__(self, rules: Rules, store: Store, most: int, clock: Clock, metrics: Metrics) -> None:
        """`most`: the bound of the store, in bytes."""
        self._rules = rules
        self._store = store
        self._segment = max(1, min(SEGMENT_BYTES, most // SEGMENTS_LEAST))
        self._clock = clock
        self._metrics = metrics
        self._queue: SimpleQueue[Candidate | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._waiting_bytes = 0
        self._gathered: dict[str, Candidate] = {}
        self._gathered_bytes = self._bytes = 0
        self._since_ns = 0
        self._reason = ""
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Raises ConfigError where another process keeps its samples in the folder."""
        try:
            holder = self._store.open()
        except OSError as exc:
            self._tell(_reason(exc))
        else:
            if holder is not None:
                raise ConfigError(f"{holder} keeps its samples in this folder; say another --capture-dir")
        self._look()
        self._thread = threading.Thread(target=self._run, name="capture-writer", daemon=False)
        self._thread.start()

    def keep(self, payload: Payload, frame: Frame | None, result: Result) -> None:
        """What the pipeline has found in a sample: kept where a rule says so."""
        found = self._rules.of(result)
        if found is not None:
            self._put(Candidate(found, payload, frame, result))

    def differs(self, payload: Payload, frame: Frame | None, results: tuple[Result, Result]) -> None:
        """A sample of which the running model and the one on trial say two things."""
        self._put(Candidate(picked([TRIAL]), payload, frame, *results))

    def counts(self) -> Mapping[str, Any]:
        """For `stats`: since the start, and the bytes that are taken now. From any thread."""
        counted = self._metrics.counter
        found = {name: int(counted(f"capture_{name}")) for name in ("kept", "passed_over", "failed")}
        return {**found, "bytes": self._bytes, **({"reason": self._reason} if self._reason else {})}

    def close(self) -> None:
        """Writes what waits."""
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join(JOIN_S)

    def _put(self, candidate: Candidate) -> None:
        with self._lock:
            full = self._waiting_bytes and self._waiting_bytes + candidate.size > WAITING_BYTES
            self._waiting_bytes += 0 if full else candidate.size
        if full:
            self._metrics.inc("capture_passed_over")
        else:
            self._queue.put(candidate)

    # --- the thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        stand_back()
        try:
            while self._gather():
                pass
            self._flush()
            log.info("capture", extra={k: v for k, v in self.counts().items() if v})
        except Exception as exc:  # a bug: nothing more is kept and `stats` says why; results go on
            log.exception("capture has broken off")
            self._reason = f"{type(exc).__name__}: {exc}"
        finally:
            self._store.close()

    def _gather(self) -> bool:
        """The next one, or what is gathered is written. False at the end."""
        age_s = (self._clock.monotonic_ns() - self._since_ns) / SECOND_NS
        try:
            candidate = self._queue.get(timeout=max(0.0, WAITS_S - age_s) if self._gathered else WAITS_S)
        except Empty:
            self._flush()
            return True
        if candidate is None:
            return False
        if not self._gathered:
            self._since_ns, age_s = self._clock.monotonic_ns(), 0.0
        known = self._gathered.get(candidate.result.id)
        self._gathered[candidate.result.id] = candidate if known is None else candidate.joined(known)
        self._gathered_bytes += candidate.size
        # Of a disk that takes nothing it is asked every ten seconds only.
        if age_s >= WAITS_S or (not self._reason and self._gathered_bytes >= self._segment):
            self._flush()
        return True

    def _flush(self) -> None:
        gathered, self._gathered = list(self._gathered.values()), {}
        for _, same in groupby(sorted(gathered, key=lambda c: -c.picked.worth), lambda c: c.picked.worth):
            for segment in self._cut(same):
                self._write(segment)
        with self._lock:
            self._waiting_bytes -= self._gathered_bytes
        self._gathered_bytes = 0
        self._look()

    def _look(self) -> None:
        self._bytes = self._store.size
        self._metrics.set("capture_bytes", self._bytes)

    def _cut(self, candidates: Iterable[Candidate]) -> Iterable[list[Candidate]]:
        segment: list[Candidate] = []
        size = 0
        for candidate in candidates:
            if segment and size + candidate.size > self._segment:
                yield segment
                segment, size = [], 0
            segment.append(candidate)
            size += candidate.size
        if segment:
            yield segment

    def _write(self, segment: list[Candidate]) -> None:
        try:
            kept = self._store.write(segment, segment[0].picked.worth)
        except NoRoomError:
            self._metrics.inc("capture_passed_over", len(segment))
        except OSError as exc:
            self._metrics.inc("capture_failed", len(segment))
            self._tell(_reason(exc))
        else:
            self._metrics.inc("capture_kept", kept)
            self._metrics.inc("capture_failed", len(segment) - kept)
            if kept:
                self._tell("")

    def _tell(self, reason: str) -> None:
        """Once for each change."""
        if reason and not self._reason:
            log.warning("samples are not kept", extra={"reason": reason})
        elif self._reason and not reason:
            log.info("samples are kept again")
        self._reason = reason


def _reason(exc: OSError) -> str:
    where = f"{exc.filename}: " if exc.filename else ""
    return f"{where}{exc.strerror or exc}"
