"""Where results wait, and where they go: spool and sink."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from edge.data.message import Message


class Entry(msgspec.Struct):
    """A message in a spool, or on its way to a sink. `key` grows with age order and is the spool's own, or the
    outbox's. `overtaken`: newer ones may have been sent before it. Whoever is given one changes nothing of it."""

    key: int
    message: Message
    replayed: bool = False
    overtaken: bool = False

    def __hash__(self) -> int:
        return hash((self.key, self.message))

    @property
    def payload(self) -> bytes:
        """The message's; of one that comes after an outage it says so."""
        return self.message.replayed() if self.replayed else self.message.payload


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

    def refused(self, key: int, reason: str) -> None:
        """The other side will never take this one: it is dropped, counted and told, and holds up none."""

    def lost(self, reason: str) -> None:
        """The connection went; what was under way will be sent again after the next `open`."""

    def ready(self) -> None:
        """`open` is worth another try now."""


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
