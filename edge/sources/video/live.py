"""A live source: a reader thread of its own takes every picture, the newest is what is given.

A driver or a network stack can hang in `read` or `open` longer than any timeout it promises, and a thread in C
code cannot be ended. So the reader can be abandoned: after `stall_s` without a picture the source is called
unavailable, `close` gives the reader a moment and then leaves it behind. It holds the device alone and closes it
itself when it wakes. It is a daemon for one reason: a reader that never wakes must not keep the process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol, TypeAlias, runtime_checkable

from edge.data.sample import EncodedImage, Image, Sample
from edge.data.tensor import Array
from edge.errors import UnavailableError
from edge.plugins.protocols import Clock

Taken: TypeAlias = Array | EncodedImage
"""A picture as a device gives it: height x width (x channels), uint8, or the bytes of a file, not decoded."""


class Device(Protocol):
    """What a reader reads. All methods are called by the reader's thread; `to_rgb` by the capture thread.

    What one may be able to do beside: `PolledDevice`.
    """

    def read(self) -> Taken | None:
        """The next picture; None where the device is gone. Raises UnavailableError where it can say why."""

    def to_rgb(self, pixels: Array) -> Array:
        """What `read` gave, as RGB, height x width x 3, uint8. Not called for an `EncodedImage`."""

    def close(self) -> None: ...


@runtime_checkable
class PolledDevice(Protocol):
    """Capability of a device that gives a picture whenever it is asked: it is asked from time to time."""

    interval_s: float


class Reader:
    """One life of a device, from its opening to its end."""

    def __init__(self, name: str, start: Callable[[], Device], clock: Clock) -> None:
        self._start, self._clock = start, clock
        self._changed = threading.Condition()
        self._newest: tuple[Taken, Device, int, int] | None = None
        self._failure: str | None = None
        self._opened = False
        self._stop = False
        self._thread = threading.Thread(target=self._run, name=f"reader-{name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            device = self._start()
        except UnavailableError as exc:
            self._end(str(exc))
            return
        try:
            with self._changed:
                self._opened = True
                self._changed.notify_all()
            self._read_all(device)
        except UnavailableError as exc:
            self._end(str(exc))
        finally:
            device.close()
            self._end("it gives no more pictures")

    def _read_all(self, device: Device) -> None:
        pause_s = device.interval_s if isinstance(device, PolledDevice) else 0.0
        while not self._stop:
            began_s = time.monotonic()
            pixels = device.read()
            if pixels is None:
                return
            with self._changed:
                self._newest = (pixels, device, self._clock.monotonic_ns(), self._clock.time_ns())
                self._changed.notify_all()
                if pause_s:
                    self._changed.wait_for(lambda: self._stop, max(0.0, began_s + pause_s - time.monotonic()))

    def _end(self, reason: str) -> None:
        with self._changed:
            self._failure = self._failure or reason
            self._changed.notify_all()

    def wait_opened(self, timeout_s: float) -> None:
        """Returns when the device is open, or still opening after `timeout_s`. Raises UnavailableError."""
        with self._changed:
            self._changed.wait_for(lambda: self._opened or self._failure, timeout_s)
            if not self._opened and self._failure is not None:
                raise UnavailableError(self._failure)

    def take(self, timeout_s: float) -> tuple[Taken, Device, int, int] | None:
        """The newest picture, each at most once; None after `timeout_s`. Raises UnavailableError after the last."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._failure, timeout_s)
            newest, self._newest = self._newest, None
            if newest is None and self._failure is not None:
                raise UnavailableError(self._failure)
            return newest

    def leave(self, timeout_s: float) -> bool:
        """Asks the reader to end; False where it had to be left behind."""
        with self._changed:
            self._stop = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()


class LiveSource:
    """The newest picture of a device; it is opened again, with a new reader, after it went away."""

    live = True

    def __init__(self, name: str, start: Callable[[], Device], clock: Clock, stall_s: float = 10.0) -> None:
        """`name` is told in results: no passwords. `start` opens the device, in the reader's thread."""
        self._name, self._start, self._clock, self._stall_s = name, start, clock, stall_s
        self._reader: Reader | None = None
        self._last_s = 0.0

    def open(self) -> None:
        self.close()
        self._reader = Reader(self._name, self._start, self._clock)
        self._last_s = time.monotonic()
        try:
            self._reader.wait_opened(2.0)
        except UnavailableError as exc:
            raise UnavailableError(f"{self._name}: {exc}") from exc

    def read(self, timeout_s: float) -> Sample | None:
        if self._reader is None:
            raise UnavailableError(f"{self._name} is not open")
        try:
            newest = self._reader.take(timeout_s)
        except UnavailableError as exc:
            raise UnavailableError(f"{self._name}: {exc}") from exc
        if newest is None:
            if time.monotonic() - self._last_s > self._stall_s:
                raise UnavailableError(f"{self._name}: no picture for {self._stall_s:g} s")
            return None
        self._last_s = time.monotonic()
        pixels, device, captured_ns, time_ns = newest
        payload = pixels if isinstance(pixels, EncodedImage) else Image(device.to_rgb(pixels))
        return Sample(payload, self._name, captured_ns, time_ns)

    def close(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.leave(0.5)
