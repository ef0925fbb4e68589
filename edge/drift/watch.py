"""Windows by time, what is told of them, and what is kept of them. `put` from the thread that infers, the rest in the
main thread; `newest` and `pictured` may be read from any.

A window ends where the system's clock passes a multiple of its length, so that an hour is the same hour every day; but
not before half of it has passed by the clock that never jumps, nor with fewer than `FEWEST` rows, or `FEWEST_PICTURES`:
then it goes on.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from edge.data.tensor import Array
from edge.data.units import SECOND_NS
from edge.drift import learnt
from edge.drift.judge import Judge
from edge.drift.learnt import Saved
from edge.drift.places import Places
from edge.drift.reference import Reference
from edge.drift.report import STATES, Finding, Report, State
from edge.drift.rule import ARMED, FEWEST_A_SLOT, FULL
from edge.drift.tally import Counted
from edge.plugins.protocols import Clock
from edge.telemetry.metrics import Metrics

log = logging.getLogger("edge.drift")

FEWEST = 200
FEWEST_PICTURES = 10
DAY_S = 86400
HELD_MOST = 64
TOLD_MOST = 20
"""Findings in one report."""


class Subject(msgspec.Struct, frozen=True, eq=False):
    """What is watched, and where what is learnt of it is kept."""

    device: str
    model: str
    sha256: str
    reference: Reference
    path: Path
    window_s: float


class DriftWatch:
    """One for the life of the process."""

    def __init__(
        self,
        subject: Subject,
        clock: Clock,
        metrics: Metrics,
        timestamp: Callable[[int], str],
        told: Callable[[Report], None] = lambda _: None,
    ) -> None:
        """`timestamp` writes nanoseconds since 1970; `told` is given each report that says something new."""
        self._subject = subject
        self._of = {"model": subject.model}  # several runs have one log
        self._clock = clock
        self._metrics = metrics
        self._timestamp = timestamp
        self.told = told
        whole = subject.window_s > 0 and DAY_S % subject.window_s == 0
        slots = int(DAY_S // subject.window_s) if whole else 0
        self._slots = slots if slots * FEWEST_A_SLOT <= FULL else 0
        self._fewest = FEWEST_PICTURES if subject.reference.thumbnail else FEWEST
        self._waiting: deque[Counted] = deque()
        self._open: Counted | None = None
        self._last: Counted | None = None
        self._began_ns = self._number = 0
        self._findings: tuple[Finding, ...] = ()
        self._standing: tuple[Finding, ...] = ()
        self._least: Array | None = None
        self._windows = self._rows = 0
        self._state: State = "learning"
        self._since = ""
        self._on_disk = False
        self._offset_s = self._local_s()
        self._judge = Judge(subject.reference, self._slots, subject.sha256)
        self.newest = self._report()

    # --- the threads that infer ----------------------------------------------------------------------

    def put(self, counted: Counted) -> None:
        """Rows that were counted. They are lost where the main thread has hung for half a minute."""
        if len(self._waiting) == HELD_MOST:
            self._metrics.inc("drift_rows_lost", counted.rows)
            return
        self._waiting.append(counted)

    # --- the main thread ----------------------------------------------------------------------------

    def open(self, before: Saved | None = None) -> None:
        """Goes on with what was learnt while the model `before` ran, else in another life."""
        self._on_disk = before is not None and self._subject.path.exists()
        self._judge = self._restored(before)
        self._begin_window()
        self._since = self._timestamp(self._clock.time_ns())
        self._tell()

    def tick(self) -> None:
        """Takes what was counted; ends the window where it is time to. About twice a second."""
        self._look_whether_gone()
        while self._waiting:
            self._add(self._waiting.popleft())
        if self._is_over():
            self._end_window()

    @property
    def places(self) -> Places:
        """Those of the features; they stay from `open` on."""
        return self._judge.inputs.places

    @property
    def predicted_places(self) -> Places:
        """Those of the predictions."""
        return self._judge.predictions.places

    def close(self) -> None:
        """What is left of a window is not judged."""
        self.tick()

    def _add(self, counted: Counted) -> None:
        self._rows += counted.rows
        self._metrics.inc("drift_rows", counted.rows)
        if self._open is None and self._number_now() > self._number + 1:
            self._begin_window()  # after a silence it is of this hour, and not of that in which the silence began
        self._open = counted if self._open is None else self._open.plus(counted)
        standing = tuple(self._judge.standing(counted))
        changed = {(f.name, f.kind) for f in standing} != {(f.name, f.kind) for f in self._standing}
        self._standing = standing
        if changed:
            self._tell()

    def _is_over(self) -> bool:
        window_ns = self._subject.window_s * SECOND_NS
        return (
            self._number_now() != self._number
            and self._clock.monotonic_ns() - self._began_ns >= window_ns / 2
            and self._open is not None
            and self._open.rows >= self._fewest
        )

    def _begin_window(self) -> None:
        self._open = None
        self._began_ns = self._clock.monotonic_ns()
        self._number = self._number_now()

    def _number_now(self) -> int:
        """Of the window, since 1970, in which it is."""
        return int(self._clock.time_ns() // (self._subject.window_s * SECOND_NS))

    def _end_window(self) -> None:
        counted = self._open
        assert counted is not None
        armed = self._judge.armed
        judged = self._judge.window(counted, *self._slots_of_window())
        self._findings, self._least, self._last = judged.findings, judged.least, counted
        self._windows += 1
        self._metrics.inc("drift_windows")
        self._begin_window()
        if judged.learned:
            self._save()
        if self._judge.armed and not armed:
            log.info("drift is judged from now on", extra={"windows": self._judge.learned, **self._of})
            if doubtful := self._judge.doubtful:
                log.warning(
                    "learnt on features that look broken beside the model's sample",
                    extra={**self._of, "features": ", ".join(doubtful)},
                )
        self._tell()

    def _slots_of_window(self) -> tuple[int, ...]:
        """Its hour of the day in UTC, and that by the local time as it was when it was learnt: what people do follows
        summer time, and what the sun does not, so it may be the one or the other, or something between."""
        if not self._slots:
            return (0,)
        began_s, shift_s = self._number * self._subject.window_s, self._local_s() - self._offset_s
        ends = (began_s, began_s + shift_s, began_s + shift_s + self._subject.window_s - 1)
        return tuple(int(at_s // self._subject.window_s) % self._slots for at_s in ends)

    def _local_s(self) -> int:
        """Of the system's time zone, from UTC."""
        return time.localtime(self._clock.time_ns() / SECOND_NS).tm_gmtoff

    # --- what is told -------------------------------------------------------------------------------

    def _tell(self) -> None:
        state = self._judged_state()
        if state != self._state:
            self._since = self._timestamp(self._clock.time_ns())
            self._say(state)
            if state == "drifted":
                self._metrics.inc("drift_alarms")
            self._state = state
        self.newest = self._report()
        self._metrics.set("drift_state", STATES.index(state))
        self._metrics.set("drift_learned", self._judge.learned)
        self.told(self.newest)

    def _judged_state(self) -> State:
        found = self._all_findings()
        if any(not f.alone for f in found):
            return "drifted"
        if found:
            return "suspect"
        return "ok" if self._judge.armed else "learning"

    def _all_findings(self) -> tuple[Finding, ...]:
        """Those of the last window, and what stands still now."""
        now = {(f.name, f.kind) for f in self._standing}
        return (*self._standing, *(f for f in self._findings if (f.name, f.kind) not in now))

    def _say(self, state: State) -> None:
        facts = {**self._of, "state": state, "features": ", ".join(f.text for f in self._all_findings()[:5])}
        if state == "drifted":
            log.warning("drift", extra=facts)
        elif self._state == "drifted":
            log.info("drift is over", extra={**self._of, "state": state})

    def _report(self) -> Report:
        sees, _ = self._judge.sees(self._least)
        return Report(
            time=self._timestamp(self._clock.time_ns()),
            device=self._subject.device,
            model=self._subject.model,
            state=self._state,
            since=self._since,
            window_s=self._subject.window_s,
            windows=self._windows,
            learned=self._judge.learned,
            arms=ARMED,
            rows=self._rows,
            features=self._all_findings()[:TOLD_MOST],
            doubtful=self._judge.doubtful,
            sees=sees,
            counts=None if self._last is None else self._judge.counted(self._last),
        )

    def pictured(self) -> Mapping[str, Any]:
        """The report, and by feature the shares then and now: for the page. From any thread."""
        judge, counted = self._judge, self._last or self._open
        _, sees = judge.sees(self._least)
        sides = (
            ("input", judge.inputs.places, judge.inputs.counts, None if counted is None else counted.features),
            ("prediction", judge.predictions.places, judge.predictions.counts,
             None if counted is None else counted.predictions),
        )  # fmt: skip
        pictures = [
            {"of": of, **_picture(places, i, learned, now), "sees_sd": sees.get(places.features[i].name)}
            for of, places, learned, now in sides
            for i in range(len(places.features))
        ]
        return {"report": self.newest, "features": pictures}

    def counts(self) -> Mapping[str, Any]:
        """For `stats`: since the start. From any thread."""
        newest, counted = self.newest, self._metrics.counter
        return {
            "state": newest.state,
            "learned": newest.learned,
            "arms": newest.arms,
            **{name: int(counted(f"drift_{name}")) for name in ("rows", "windows", "alarms", "writes")},
        }

    # --- what is kept -------------------------------------------------------------------------------

    def _look_whether_gone(self) -> bool:
        """Somebody who takes the file away wants it learnt anew."""
        if not self._on_disk or self._subject.path.exists():
            return False
        log.warning("what was learnt of drift is gone: it is learnt anew", extra={"path": str(self._subject.path)})
        self._forget()
        return True

    def _forget(self) -> None:
        # In the same places: the thread that infers counts in them.
        subject, scale = self._subject, self.places.features
        self._judge = Judge(subject.reference, self._slots, subject.sha256, scale)
        self._on_disk = False
        self._offset_s = self._local_s()
        self._findings = self._standing = ()
        self._least = self._last = None
        self._begin_window()
        self._tell()

    def learnt(self) -> Saved:
        """For the watch on another model."""
        return replace(self._judge.saved(self._subject.window_s), offset_s=self._offset_s)

    def _restored(self, before: Saved | None) -> Judge:
        """Raises nothing: what cannot be used is told, and learnt anew."""
        subject = self._subject
        try:
            saved = learnt.read(subject.path) if before is None else before
            if saved is not None:
                judge = self._judge_of(saved)
                if note := judge.restore(saved):
                    log.info("drift", extra={**self._of, "note": note})
                self._on_disk = self._on_disk or before is None
                self._offset_s = self._offset_s if saved.offset_s is None else saved.offset_s
                return judge
        except (OSError, ValueError) as exc:
            facts = {"path": str(subject.path), "reason": str(exc)}
            log.warning("what was learnt of drift cannot be used: it is learnt anew", extra=facts)
        return Judge(subject.reference, self._slots, subject.sha256)

    def _judge_of(self, saved: Saved) -> Judge:
        """One in the places of what was saved. Raises ValueError where that is of something else."""
        subject = self._subject
        if saved.window_s != subject.window_s:
            raise ValueError(f"it is of windows of {saved.window_s:g} s, now they are of {subject.window_s:g} s")
        if not learnt.same_scale(subject.reference.features, saved.inputs.features):
            raise ValueError("it is of other features than the model's")
        return Judge(subject.reference, self._slots, subject.sha256, saved.inputs.features)

    def _save(self) -> None:
        if self._look_whether_gone():
            return
        try:
            learnt.write(self._subject.path, self.learnt())
        except OSError as exc:
            facts = {"path": str(self._subject.path), "reason": str(exc)}
            log.warning("what was learnt of drift is not kept", extra=facts)
            return
        self._on_disk = True
        self._metrics.inc("drift_writes")


def _picture(places: Places, feature: int, learned: Array, now: Array | None) -> dict[str, Any]:
    """`then`: what was learnt here, or else the sample; shares of all that is not missing."""
    own = places.of(learned, feature)[:-1]
    then = places.then(feature) if not own.any() else own / own.sum()
    found: dict[str, Any] = {"name": places.features[feature].name, "then": _rounded(then), "learned": bool(own.any())}
    if now is not None and (known := places.of(now, feature)[:-1]).any():
        found["now"] = _rounded(known / known.sum())
    if feature in places.numbers:
        found["edges"] = [float(f"{e:.6g}") for e in places.edges(feature)]
    else:
        found["categories"] = [*places.labels(feature), "other"]
    return found


def _rounded(shares: Array) -> list[float]:
    return [round(float(s), 4) for s in np.asarray(shares)]
