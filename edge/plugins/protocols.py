"""The seams: what a part must be to take its place. `edge.testing.checks` proves that it is.

Constructing is free, opening costs: `__init__` stores what it is given, `open()` touches hardware or
network and may be called again after `close()`, `close()` may be called twice or after a failed `open()`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import msgspec

from edge.data.message import Message
from edge.data.result import Prediction
from edge.data.sample import ModelInput, Payload, Sample
from edge.data.tensor import Array, Tensors, TensorSpec
from edge.errors import FatalError


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
    `WakeableSource`.
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


class Preprocessor(Protocol):
    """A sample to tensors. Called by one thread at a time; may keep state (a window).

    What one may be able to do beside: `AheadPreprocessor`, `BatchPreprocessor`, `FreePreprocessor`, `RowPreprocessor`.
    """

    def split(self, payload: Payload) -> Sequence[Payload]:
        """The samples that one decoded payload holds: a batch is cut along its first axis.

        Raises SampleError where the payload's form is none that the model takes.
        """

    def __call__(self, sample: Sample) -> ModelInput | None:
        """Raises SampleError. None: the window is not full yet."""


@runtime_checkable
class AheadPreprocessor(Protocol):
    """Capability of a preprocessor that works outside the interpreter's lock."""

    ahead: bool
    """True where it keeps no state: the next sample is prepared while the model runs."""


@runtime_checkable
class BatchPreprocessor(Protocol):
    """Capability of a preprocessor that makes the inputs of several samples at once."""

    def many(self, payloads: Sequence[Payload]) -> Sequence[ModelInput] | None:
        """Of payloads that `split` gave: the same as one by one, or None where it cannot or one of them is bad."""


@runtime_checkable
class PicturePreprocessor(Protocol):
    """Capability of a preprocessor that decodes pictures: `ModelInput.picture` where it keeps them."""

    keeps_pictures: bool


@runtime_checkable
class LookingPreprocessor(Protocol):
    """Capability of a preprocessor that decodes pictures: `look` is shown each as it was decoded, whole, in the thread
    that prepares; what it returns is `ModelInput.look`."""

    look: Callable[[Array], Array | None] | None


@runtime_checkable
class FreePreprocessor(Protocol):
    """Capability of a preprocessor that keeps nothing from sample to sample: a batch that takes long runs in pieces,
    with the samples of other senders between them."""

    by_row: bool
    """True: where a JSON array holds arrays or objects, each of its elements is a sample, as `split` has it. A long one
    is decoded by pieces, and not given to `split`."""


class Postprocessor(Protocol):
    """The outputs of one sample to predictions. Pure.

    What one may be able to do beside: `BatchPostprocessor`, `ComparingPostprocessor`,
    `ThresholdPostprocessor`.
    """

    def __call__(self, outputs: Tensors, model_input: ModelInput) -> Sequence[Prediction]:
        """`outputs` hold real values: what was quantised has been scaled. Raises SampleError."""


@runtime_checkable
class BatchPostprocessor(Protocol):
    """Capability of a postprocessor that reads the outputs of several samples at once."""

    def many(self, outputs: Tensors, count: int) -> Sequence[Sequence[Prediction]] | None:
        """Of `count` samples whose outputs lie along the first axis: the same as one by one, or None where it cannot
        or one of them is bad."""


@runtime_checkable
class ComparingPostprocessor(Protocol):
    """Capability of a postprocessor that compares outputs with the input."""

    compares: bool
    """True: an input that was quantised is given as the real values that it stands for, like the outputs; else it is
    given as the model got it."""


@runtime_checkable
class ThresholdPostprocessor(Protocol):
    """Capability of a detector that tells the same objects, and further ones, where its threshold is lower."""

    threshold: float
    """The lowest score that is told: the manifest's, or the detector's own where that says none."""


class EngineOptions(msgspec.Struct, frozen=True):
    """`threads` for one inference; `provider` is an execution provider's or a delegate's name.

    `own_file`: the caller made the file itself, so an engine that a damaged one could kill need not try it first.
    `instances`: so many threads call `infer` at once; an engine that runs one at a time may hold as many sessions.
    """

    threads: int = 1
    provider: str = "cpu"
    cache_dir: Path | None = None
    own_file: bool = False
    instances: int = 1


@runtime_checkable
class Engine(Protocol):
    """A loaded model, ready: what `EngineLibrary.load` returns."""

    name: str
    version: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    metadata: Mapping[str, str]
    """What the model file says of itself, as text by key."""

    def infer(self, tensors: Tensors) -> dict[str, Any]:
        """Runs the model once; safe from several threads, keeps nothing of what it is given.

        `tensors` hold the native dtypes of `inputs`. Raises SampleError where the model refuses them.
        """

    def close(self) -> None: ...


@runtime_checkable
class RepairingEngine(Protocol):
    """Capability of an engine that may mend a graph for it to run faster."""

    repairs: tuple[str, ...]
    """What was mended in this one, in a user's words."""


@runtime_checkable
class CouplingEngine(Protocol):
    """Capability of an engine that knows models whose rows of one batch change one another's outputs."""

    couples_rows: bool
    """True: samples of several senders never run together."""


@runtime_checkable
class RememberingEngine(Protocol):
    """Capability of an engine that knows models whose outputs depend on the samples before."""

    remembers: bool
    """True: nothing runs between the samples of one batch, and `reset` alone parts those of two senders."""


@runtime_checkable
class ResettableEngine(Protocol):
    """Capability of an engine whose models may keep something from sample to sample by themselves."""

    def reset(self) -> None:
        """Forgets it: another stream begins."""


class EngineLibrary(Protocol):
    """What loads models: a module, or an object of a class that derives from this one."""

    def load(self, path: Path, options: EngineOptions) -> Engine:
        """Raises ModelError for a file that cannot run, ConfigError for options that it cannot have."""

    def version(self) -> str:
        """The library's, before any model is loaded. Raises ConfigError where it is not installed."""

    def providers(self) -> Sequence[str]:
        """Names for `--provider` that work here, the usual one first."""
        return ("cpu",)

    def loads_at_once(self, path: Path, options: EngineOptions) -> bool:
        """False: `load` will fork a child to try the file in, so no other thread may import meanwhile.

        Raises OSError, ConfigError.
        """
        return True


class Entry(msgspec.Struct, frozen=True):
    """A message in a spool. `key` grows with age order and is the spool's own. `overtaken`: newer ones may have been
    sent before it."""

    key: int
    message: Message
    replayed: bool = False
    overtaken: bool = False


class Spool(Protocol):
    """Messages that wait, in order, bounded in bytes. All methods are called by one thread.

    When it is full the oldest go, and are counted in `dropped`. A damaged file is set aside at `open`.
    """

    durable: bool
    """True where what `append` was given survives a killed process and a power cut once it returned."""

    dropped: int

    damaged: int
    """Damaged files that were set aside; what was lost with them is in `dropped`, as far as it is known."""

    @property
    def dropped_by(self) -> Mapping[str, int]:
        """`dropped` by reason: "full", "age", "damaged"."""

    @property
    def oldest_ns(self) -> int | None:
        """When the oldest message came, on the system's clock; None where nothing waits. From any thread."""

    def open(self) -> None:
        """Raises SpoolError where it can never work, UnavailableError where it may work later."""

    def append(self, messages: Sequence[Message]) -> list[int]:
        """Stores all in one go and returns their keys, oldest first. Raises UnavailableError (disk full)."""

    def after(self, key: int, limit: int) -> list[Entry]:
        """At most `limit` entries younger than `key`, oldest first."""

    def remove(self, keys: Iterable[int]) -> None:
        """Forgets what was confirmed: `after` never returns it again; unknown keys are ignored.

        May be lazy on disk: after a crash a repeat is allowed. Raises UnavailableError.
        """

    def origins(self, limit: int) -> list[bytes]:
        """The newest `limit` origins of messages that wait and outlive the process. Raises UnavailableError."""

    def __len__(self) -> int:
        """Messages that wait. This and `bytes` may be asked from any thread."""

    @property
    def bytes(self) -> int:
        """Bytes of payload that wait."""

    def close(self) -> None: ...


class SinkEvents(Protocol):
    """What a sink tells its outbox, from any thread."""

    def confirmed(self, keys: Iterable[int]) -> None:
        """The other side has these."""

    def lost(self, reason: str) -> None:
        """The connection went; what was under way will be sent again after the next `open`."""

    def ready(self) -> None:
        """`open` is worth another try now."""


class Waker(Protocol):
    """Ends another thread's wait early."""

    def wake(self) -> None:
        """From any thread. What the caller wrote before is visible to the other thread when it has woken."""


class LoopWorker(Protocol):
    """Work that a thread with a loop of its own does in turns. Belongs to that thread."""

    def turn(self) -> float:
        """Does what is due without waiting; the seconds until it wants another turn, if nothing wakes it earlier."""

    def end(self) -> None:
        """The thread ends, after an error too: there will be no other turn."""


@runtime_checkable
class FallibleWorker(LoopWorker, Protocol):
    """Capability of a worker whose fatal error is its own: the others of the loop go on."""

    def failed(self, exc: FatalError) -> None:
        """A turn has raised it: there will be no other one."""


class Loop(Protocol):
    """A thread that waits for the network, and gives its workers a turn each time it has woken."""

    @property
    def waker(self) -> Waker: ...

    def attach(self, worker: LoopWorker, *, first: bool = False) -> None:
        """Before the thread starts. An exception of a turn ends the thread and the process, but for a fatal error of a
        `FallibleWorker`.

        Workers have their turns in the order in which they were attached, but for the one that is to be `first`: it
        makes what others send.
        """


@runtime_checkable
class LoopSource(Protocol):
    """Capability of a source whose samples come in a thread with a loop.

    Where the outboxes are workers of the same loop, and the model takes microseconds, `read` is called in that thread
    too, with no time to wait: at any moment by one thread.
    """

    loop: Loop


@runtime_checkable
class LoopSink(Protocol):
    """Capability of a sink that has a thread of its own: its outbox is that thread's worker.

    `open`, `send` and `close` are called, and `SinkEvents` are told, in that thread only: no lock is needed.
    """

    loop: Loop


@runtime_checkable
class Sink(Protocol):
    """Where results go. `open`, `send`, `close` are called by one thread, that of its outbox.

    What more a sink may be able to do: `BatchSink`, `ReplyingSink`, `LoopSink`, `ReachableSink` (`plugins/reach.py`).
    """

    window: int
    """Messages that may be under way, sent and not confirmed."""

    durable: bool
    """True where losing a message matters: its outbox keeps what is not confirmed, on disk if need be."""

    def open(self, events: SinkEvents) -> None:
        """Does not wait longer than ten seconds; a sink with a loop does not wait. Raises UnavailableError."""

    def send(self, entry: Entry) -> None:
        """Starts sending and returns; `events.confirmed` follows.

        Raises UnavailableError, or SampleError where this message can never be sent: it is dropped and counted.
        """

    def close(self) -> None: ...


@runtime_checkable
class BatchSink(Protocol):
    """Capability of a sink that takes many messages at once, and may join results in one message.

    With `batch` above 1 up to so many results have the same key, `batch_bytes` bytes of payload together: they go in
    one message, which `events.confirmed` confirms with one key. `window` counts messages.
    """

    batch: int

    @property
    def batch_bytes(self) -> int: ...

    def send_all(self, entries: Sequence[Entry]) -> Sequence[tuple[int, str]]:
        """As `send` for each; returns the key and the reason of each message that can never be sent.

        Raises UnavailableError.
        """


@runtime_checkable
class ReplyingSink(Protocol):
    """Capability of a sink that brings a result to its asker too: `entry.message.reply` says where.

    Only such a sink is given messages of the kind "answer", which are for the asker alone.
    """

    answers: bool
