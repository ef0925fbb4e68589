"""A spool in memory, for `--durability none`: bounded, in order, gone with the process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from edge.data.message import Message
from edge.data.units import SECOND_NS
from edge.plugins.contexts import SpoolContext
from edge.plugins.declarations import SpoolInfo
from edge.plugins.protocols import Clock, Entry
from edge.telemetry.clock import SystemClock


class _Held(NamedTuple):
    message: Message
    size: int
    stored_ns: int
    since_ns: int


class MemorySpool:
    """Keeps the newest `max_bytes` of payload, none older than `max_age_s` where that is given.

    Keys are consecutive, so finding the entries after a key needs no search; `_oldest` is the lowest key
    that may still be held.
    """

    durable = False

    def __init__(self, max_bytes: int, max_age_s: float | None = None, clock: Clock | None = None) -> None:
        self._max_bytes = max_bytes
        self._max_age_ns = None if max_age_s is None else int(max_age_s * SECOND_NS)
        self._clock = clock or SystemClock()
        self._held: dict[int, _Held] = {}
        self._oldest = self._next = 1
        self._bytes = 0
        self.dropped = 0
        self.dropped_by: dict[str, int] = {"full": 0, "age": 0}
        self.damaged = 0

    def open(self) -> None:
        """Nothing to open: what was there before `close` is still there."""

    def append(self, messages: Sequence[Message]) -> list[int]:
        """Keeps all, dropping the oldest where they are too many."""
        stored_ns, since_ns = self._clock.time_ns(), self._clock.monotonic_ns()
        keys = list(range(self._next, self._next + len(messages)))
        self._next += len(messages)
        for key, message in zip(keys, messages, strict=True):
            size = size_of(message)
            if size > self._max_bytes:
                self._drop("full")  # it would never fit: it costs nobody else the place
            else:
                self._held[key] = _Held(message, size, stored_ns, since_ns)
                self._bytes += size
        self._skip_gap()
        while self._bytes > self._max_bytes:
            self._drop_oldest("full")
        self._drop_aged()
        return keys

    def after(self, key: int, limit: int) -> list[Entry]:
        """At most `limit` entries younger than `key`, oldest first."""
        self._drop_aged()
        entries: list[Entry] = []
        candidate = max(key + 1, self._oldest)
        while candidate < self._next and len(entries) < limit:
            held = self._held.get(candidate)
            if held is not None:
                entries.append(Entry(candidate, held.message))
            candidate += 1
        return entries

    def remove(self, keys: Iterable[int]) -> None:
        """Forgets these; unknown keys are ignored."""
        for key in keys:
            held = self._held.pop(key, None)
            if held is not None:
                self._bytes -= held.size
        self._skip_gap()

    def origins(self, limit: int) -> list[bytes]:
        """None: what waits here does not outlive the process."""
        return []

    def __len__(self) -> int:
        return len(self._held)

    @property
    def bytes(self) -> int:
        """Bytes of payload, reply topic and correlation data that wait."""
        return self._bytes

    @property
    def oldest_ns(self) -> int | None:
        """When the oldest entry came, on the system's clock; None where nothing waits."""
        held = self._held.get(self._oldest)
        return None if held is None else held.stored_ns

    def close(self) -> None:
        """Keeps what waits: a closed spool may be opened again."""

    def _drop_oldest(self, reason: str) -> None:
        self._bytes -= self._held.pop(self._oldest).size
        self._drop(reason)
        self._skip_gap()

    def _drop(self, reason: str) -> None:
        self.dropped += 1
        self.dropped_by[reason] += 1

    def _drop_aged(self) -> None:
        if self._max_age_ns is None:
            return
        limit = self._clock.monotonic_ns() - self._max_age_ns
        while (held := self._held.get(self._oldest)) is not None and held.since_ns < limit:
            self._drop_oldest("age")

    def _skip_gap(self) -> None:
        while self._oldest < self._next and self._oldest not in self._held:
            self._oldest += 1


def size_of(message: Message) -> int:
    """The bytes a message counts for: payload, words and, where it answers an asker, topic and correlation data."""
    reply = message.reply
    if reply is None:
        return message.size
    return message.size + len(reply.topic.encode()) + len(reply.correlation or b"")


def create(context: SpoolContext) -> MemorySpool:
    """Needs no path: what waits is gone with the process."""
    return MemorySpool(context.max_bytes, context.max_age_s)


SPOOL = SpoolInfo(edge_api=1, create=create)
