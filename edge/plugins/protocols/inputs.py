"""Where samples come from, and what time it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from edge.data.sample import Sample


class Clock(Protocol):
    """Time, passed in so that tests never sleep."""

    def monotonic_ns(self) -> int:
        """Nanoseconds that never jump; only differences mean something."""

    def time_ns(self) -> int:
        """The system's clock, in nanoseconds since 1970 (UTC)."""


@runtime_checkable
class Source(Protocol):
    """Where samples come from. All methods are called by one thread: the capture thread of a live source or of
    pictures, else the thread that infers.

    What a source may be able to do beside: `AcknowledgingSource`, `RememberingSource`, `LoopSource`,
    `ReadySource`, `RepeatingSource`, `WakeableSource`.
    """

    live: bool
    """True: only the newest sample matters, older ones may be dropped (a camera)."""

    def open(self) -> None:
        """Raises UnavailableError (try later) or ConfigError (never will)."""

    def read(self, timeout_s: float) -> Sample | None:
        """The next sample, or None when none came within `timeout_s` seconds.

        Raises EndOfStream after the last one, SampleError for one that cannot be read, UnavailableError
        when the thing at the other end went away, SourceError where a finite source breaks off.
        """

    def close(self) -> None: ...


@runtime_checkable
class AcknowledgingSource(Protocol):
    """Capability of a source whose other side keeps what was not acknowledged, and sends it again."""

    def ack(self, sample: Sample) -> None:
        """Called once for each sample, from any thread, when it is safe or was skipped."""


@runtime_checkable
class RememberingSource(Source, Protocol):
    """Capability of a source that knows a sample again by its `origin`, in a later life of the process too."""

    def remember(self, origins: Iterable[bytes]) -> None:
        """Before `open`: these were inferred by an earlier life, and their results are on disk."""


@runtime_checkable
class WakeableSource(Protocol):
    """Capability of a source whose `read` waits for what may never come: the end need not wait for it."""

    def wake(self) -> None:
        """A `read` that waits returns None at once, or the next one that would wait. From any thread, open or not."""


@runtime_checkable
class ReadySource(Protocol):
    """Capability of a source whose samples are all there, as those of a file are."""

    ready: bool
    """True: `read` never waits, and gives None only where nothing can be had for a while."""


@runtime_checkable
class RepeatingSource(Source, Protocol):
    """Capability of a source that gives again what was under way when the process died, as a broker that was not
    answered does, or a folder that is read anew."""

    repeats: bool
    """True: samples have a `digest`, the same in each life. One that kills the process is left out then."""
