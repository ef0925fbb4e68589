"""Reading a source: it is opened again where it went away, and a sample that cannot be read keeps its place."""

from __future__ import annotations

import logging
import threading
from typing import TypeAlias

import msgspec

from edge.data.sample import Sample
from edge.data.units import SECOND_NS
from edge.errors import EndOfStream, SampleError, SourceError, UnavailableError
from edge.plugins.protocols import Clock, Source
from edge.runtime.controls import Controls
from edge.runtime.frame_queue import Closed
from edge.runtime.options import RunnerOptions
from edge.telemetry.metrics import Metrics

log = logging.getLogger("edge.runner")


class Unreadable(msgspec.Struct, frozen=True):
    """A sample that the source could not read: it takes its place in the order, to be reported."""

    reason: str
    source: str


Read: TypeAlias = Sample | Unreadable


class SourceReader:
    """Belongs to the thread that reads; `ended`, `broken` and `in_source` may be read by any."""

    def __init__(
        self,
        source: Source,
        stop: threading.Event,
        *,
        clock: Clock,
        metrics: Metrics,
        options: RunnerOptions,
    ) -> None:
        """`stop`: nothing more is to be read."""
        self._source = source
        self._name = options.source_name
        self._clock = clock
        self._metrics = metrics
        self._backoff = options.backoff
        self._stop = stop
        self._controls = options.controls
        self._opened = self._is_up = self._away = False
        self._due_ns = 0
        self._put_away: Read | None = None
        self.in_source = False
        """The thread is inside the source's `read`, `open` or `close`: it may hang there."""
        self.ended = False
        """The source came to its end."""
        self.broken: SourceError | None = None
        """Why a finite source broke off."""

    @property
    def live(self) -> bool:
        """Whether only the newest of its samples matters."""
        return self._source.live

    @property
    def stopped(self) -> bool:
        """Nothing more is to be read."""
        return self._stop.is_set()

    def get(self, timeout_s: float, most: int = 1) -> list[Read]:
        """What there is to read, oldest first, `most` at most; nothing after `timeout_s`.

        Raises Closed at the end of the source, and after `stop`.
        """
        if self.ended or self.broken is not None or self._stop.is_set():
            raise Closed
        if self._controls is not None and self._controls.wanted.paused:
            return self._paused(self._controls, timeout_s)
        item = self._read(timeout_s)
        if item is not None and self._controls is not None and self._controls.holds:
            return self._put_by(item)
        items = []
        while item is not None:
            items.append(item)
            item = self._read(0) if len(items) < most else None
        if items:
            self._came(len(items))
            if self._controls is not None:
                self._controls.read()
        return items

    def _paused(self, controls: Controls, timeout_s: float) -> list[Read]:
        """The one sample that was asked for. What a live source has meanwhile is dropped, so that it is never old."""
        if controls.holds and not self._source.live:
            self._stop.wait(timeout_s)
            return []
        item = self._read(timeout_s)
        if item is None:
            return []
        if controls.holds:
            return self._put_by(item)
        self._came(1)
        controls.read()
        return [item]

    def _came(self, count: int) -> None:
        if self._due_ns:  # it had been away
            self._due_ns = 0
            self._backoff.reset()
        self._metrics.inc("samples_read", count)

    def _put_by(self, item: Read) -> list[Read]:
        """Came while it was waited for, and the pause before it: it is the first one afterwards, or a live one none."""
        if self._source.live:
            self._came(1)
            self._metrics.inc("dropped:paused")
        else:
            self._put_away = item
        return []

    def close(self) -> None:
        """Closes the source, whether it is open or not."""
        self.in_source = True
        try:
            self._source.close()
        finally:
            self.in_source = False

    def _read(self, timeout_s: float) -> Read | None:
        """What was put by, or the source's next."""
        item, self._put_away = self._put_away, None
        if item is not None:
            return item
        if self.ended or self.broken is not None or not (self._opened or self._is_due(timeout_s)):
            return None
        self.in_source = True
        try:
            if not self._opened:
                self._open()
            item = self._source.read(timeout_s)
        except SampleError as exc:
            item = Unreadable(str(exc), self._name)
        except EndOfStream:
            self.ended = True
            self._metrics.set("source_up", 0)
            log.info("source ended", extra={"source": self._name})
            return None
        except SourceError as exc:
            self.broken = exc
            self._metrics.set("source_up", 0)
            return None
        except UnavailableError as exc:
            self._lose(str(exc))
            return None
        finally:
            self.in_source = False
        if item is not None and not self._is_up:
            self._up()
        return item

    def _is_due(self, timeout_s: float) -> bool:
        """Waits until the source is worth another try, for `timeout_s` at most."""
        left_s = (self._due_ns - self._clock.monotonic_ns()) / SECOND_NS
        return left_s <= 0 or (not self._stop.wait(min(left_s, timeout_s)) and left_s <= timeout_s)

    def _open(self) -> None:
        self._source.open()
        self._opened = True
        if not self._source.live:
            self._up()

    def _up(self) -> None:
        """It is open, and a live one has given a picture or the like: a camera that opens may yet give none."""
        self._is_up = True
        self._metrics.set("source_up", 1)
        if self._away:
            self._away = False
            log.info("source available again", extra={"source": self._name})

    def _lose(self, reason: str) -> None:
        self._opened = self._is_up = False
        self.close()
        self._due_ns = self._clock.monotonic_ns() + int(self._backoff.next_s() * SECOND_NS)
        self._metrics.inc("source_unavailable")
        self._metrics.set("source_up", 0)
        if not self._away:
            self._away = True
            log.warning("source unavailable", extra={"source": self._name, "reason": reason})
