"""A sink made of a store that takes results a row each, many at a time.

Each `write` is whole or not there: the rows are confirmed when it returns. A store that refuses some of them for what
they hold says so by SampleError; the sink finds out which by halves, so that those beside a bad row are stored. What
waits, is kept on disk and is sent again is the outbox's business. So every row may come again, and a store drops it by
its `id`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec

from edge.errors import ConfigError, SampleError, UnavailableError
from edge.plugins.protocols import Entry, SinkEvents
from edge.plugins.reach import Reached

WINDOW = 256
MOST_BYTES = 4_000_000
"""Of results in one `write`, where each is smaller."""


class Record(msgspec.Struct, frozen=True):
    """A result on its way to a store. `payload` is its JSON; `id` is unique, `seq` counts within `stream`."""

    key: int
    id: str
    seq: int
    payload: bytes

    @property
    def stream(self) -> str:
        """What the `id` begins with: device, model and boot."""
        return self.id.rpartition("/")[0]


class PartlyRefusedError(SampleError):
    """Of what was written `left` is not there, because of at least one of them; the others are."""

    def __init__(self, reason: str, left: Sequence[Record]) -> None:
        super().__init__(reason)
        self.left = left


class PartlyAwayError(UnavailableError):
    """Of what was written `left` may not be there; the others are."""

    def __init__(self, reason: str, left: Sequence[Record]) -> None:
        super().__init__(reason)
        self.left = left


class Store(Protocol):
    """Another system. Belongs to one thread, that of the sink's outbox; no call waits longer than ten seconds."""

    def connect(self) -> None:
        """May be called again after `close`. Raises UnavailableError; ConfigError for a secret that cannot be read."""

    def write(self, records: Sequence[Record]) -> None:
        """Stores all; the other side has them when it returns.

        Raises UnavailableError, or SampleError where at least one of them can never be stored. Others of them may be
        there all the same, for they may be written again. A store that knows which are there says so:
        `PartlyAwayError`, `PartlyRefusedError`.
        """

    def reach(self) -> Reached:
        """As `ReachableSink.reach`, of a store that is not connected."""

    def close(self) -> None: ...


class StoreSink:
    """`most` rows go in one `write`, `window` in one turn of the outbox."""

    durable = True
    batch = 1  # each row has a key of its own, by which a refused one is told from those beside it
    batch_bytes = 0

    def __init__(self, store: Store, *, window: int = WINDOW, most: int = WINDOW) -> None:
        self.window = window
        self._most = most
        self._store = store
        self._events: SinkEvents | None = None

    def open(self, events: SinkEvents) -> None:
        self._events = events
        try:
            self._store.connect()
        except (ConfigError, UnavailableError) as exc:
            self._store.close()
            raise UnavailableError(str(exc)) from exc  # a secret's file is being changed: no reason to end the service

    def send(self, entry: Entry) -> None:
        for _, reason in self.send_all([entry]):
            raise SampleError(reason)

    def send_all(self, entries: Sequence[Entry]) -> list[tuple[int, str]]:
        """The key and the reason of each that is refused for good. What is stored is confirmed once, at the end."""
        stored = [e.key for e in entries if e.message.kind != "result"]
        records = [_record(e) for e in entries if e.message.kind == "result"]
        try:
            return [refused for some in _chunks(records, self._most) for refused in self._write(some, stored)]
        finally:
            if stored and self._events is not None:
                self._events.confirmed(stored)

    def _write(self, records: Sequence[Record], stored: list[int]) -> list[tuple[int, str]]:
        """Adds the keys of what is stored, also where it raises UnavailableError."""
        try:
            self._store.write(records)
        except PartlyAwayError as exc:
            stored += _without(exc.left, records)
            raise
        except SampleError as exc:
            left = exc.left if isinstance(exc, PartlyRefusedError) else records
            stored += _without(left, records)
            if len(left) == 1:
                return [(left[0].key, str(exc))]
            half = len(left) // 2
            return self._write(left[:half], stored) + self._write(left[half:], stored)
        stored += [r.key for r in records]
        return []

    def reach(self) -> Reached:
        """Asks the store."""
        try:
            return self._store.reach()
        finally:
            self._store.close()

    def close(self) -> None:
        self._store.close()


def _without(left: Sequence[Record], records: Sequence[Record]) -> list[int]:
    """The keys of all but these."""
    not_there = {r.key for r in left}
    return [r.key for r in records if r.key not in not_there]


class _Named(msgspec.Struct):
    id: str = ""


_NAMES = msgspec.json.Decoder(_Named)


def _record(entry: Entry) -> Record:
    message = entry.message
    return Record(entry.key, _NAMES.decode(message.payload).id or f"?/{message.seq}", message.seq, entry.payload)


def _chunks(records: Sequence[Record], most: int) -> Iterator[Sequence[Record]]:
    begin = size = 0
    for end, record in enumerate(records):
        size += len(record.payload)
        if end > begin and (end - begin == most or size > MOST_BYTES):
            yield records[begin:end]
            begin, size = end, len(record.payload)
    if begin < len(records):
        yield records[begin:]
