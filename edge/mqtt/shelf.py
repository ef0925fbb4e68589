"""Inputs on disk, of a run that shares its connection with others.

MQTT has acknowledgements go in the order of the messages [MQTT-4.6.0], and a broker sends only so many that have none.
So on one connection a run that is slow, paused or at its end would hold up the inputs of all. What it has not done
within a second, or less where many wait, therefore goes on disk, in one transaction, and is acknowledged; what comes
for it then goes there too, until it has caught up. A run that keeps pace writes nothing. What is there is read in its
order, and taken away when its result is safe; what is there when the process dies is read by the next life.

It is bounded in bytes: past that the run's own oldest go, and it is told. No other run loses anything by that. While
the disk cannot be written nothing goes there: who reads is given what comes, behind what can still be read.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import msgspec

from edge.data.message import Message
from edge.data.sample import Reply, Sample
from edge.data.units import SECOND_NS
from edge.errors import FatalError
from edge.mqtt.loop_work import LOOK_AGAIN_S
from edge.mqtt.messages import Incoming
from edge.plugins.protocols import Clock, Entry

log = logging.getLogger("edge.mqtt")

PATIENCE_S = 1.0
"""How long the others wait for a run; as long as results wait for a broker before they go on disk."""
MOST_HELD = 8
LESS_PATIENCE_S = 0.1
"""The same where so many wait: RabbitMQ sends ten that are not acknowledged, mosquitto twenty, and none behind them."""
FEW = 16
"""So few in memory, and more are read."""
MANY = 64
MANY_BYTES = 8_000_000
MOST_COMING = 16_000
"""So many, and so many bytes, wait for a disk that fails; what comes beyond that, the broker sends again."""


class Disk(Protocol):
    """`GuardedSpool`. None: not now."""

    @property
    def opened(self) -> bool: ...
    @property
    def messages(self) -> int: ...
    @property
    def resting(self) -> bool: ...
    def open(self) -> bool: ...
    def origins(self, limit: int) -> list[bytes]: ...
    def save(self, messages: Sequence[Message]) -> list[int] | None: ...
    def after(self, key: int, limit: int) -> list[Entry] | None: ...
    def remove(self, key: int) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


class Reader(Protocol):
    """The source whose inputs these are."""

    def saved(self, delivery: Incoming) -> None:
        """It is on disk, and may be acknowledged."""

    def give(self, sample: Sample) -> None:
        """One that was read."""

    def held(self) -> int:
        """Messages of the connection that are done, and wait for others to be."""

    def waiting(self) -> tuple[int, int] | None:
        """How many samples, and how many bytes, are in memory; None where nothing reads them."""

    def tell(self, reason: str) -> None:
        """Something went wrong that whoever sends should know."""

    def place_again(self) -> None:
        """What found no place would find one now."""


class Held(msgspec.Struct, frozen=True):
    """The token of a sample that was read from disk."""

    key: int


class _Row(msgspec.Struct, frozen=True, array_like=True):
    """A sample as it lies there."""

    payload: bytes
    source: str
    time_ns: int
    topic: str | None
    correlation: bytes | None
    retained: bool
    digest: bytes
    redelivered: bool
    unkept: int


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Row)


class Shelf:
    """Belongs to the session's thread, and before that starts to the main thread; its worker."""

    def __init__(
        self,
        name: str,
        disk: Disk,
        clock: Clock,
        count: Callable[[str], None],
        lost: Callable[[], int],
        *,
        shares: bool,
    ) -> None:
        """`name` is the run's. `lost`: how many the disk had no room for, or lost. Without `shares` the connection is
        the run's own, and what lies there is of a life in which it was not."""
        self._name = name
        self._disk = disk
        self._clock = clock
        self._count = count
        self._lost = lost
        self._known_lost = 0
        self.shares = shares
        self.reader: Reader | None = None
        self._direct: dict[Incoming, Sample] = {}
        """In memory, not acknowledged and not on disk, in their order."""
        self._coming: deque[Sample] = deque()
        """Neither in memory for who reads, nor on disk yet."""
        self._coming_bytes = 0
        self._keys: dict[Incoming, int] = {}
        """In memory, on disk and acknowledged."""
        self._out: set[int] = set()
        """All in memory that are on disk."""
        self._bare: set[int] = set()
        """Those of them that had to make room there."""
        self._unread = False
        """There may be more on disk than in memory."""
        self._late = False
        """It could not be opened at the start: what lies there may be owed, whether or not more goes there."""
        self._last = 0
        self._done: set[bytes] = set()
        """What an earlier life has done with, of what still lies there."""
        self._numbers = itertools.count()
        self._boot = os.urandom(8)
        self._broken = self._told = self._told_lost = False

    def open(self, done: set[bytes]) -> list[bytes]:
        """The origins of what lies there, which has been acknowledged, or may have been. `done`: those whose results
        are on disk. Raises SpoolError."""
        if not self._disk.opened:
            self._unread = self._disk.open()
            self._late = not self._disk.opened
            self._known_lost = self._lost()
        self._done = done
        return self._disk.origins(4096)

    def mark(self) -> bytes:
        """What tells an input from all others, in later lives too."""
        return self._boot + next(self._numbers).to_bytes(8, "big")

    def takes(self, sample: Sample, *, full: bool) -> bool:
        """Whether it goes on disk, behind what is there. Else it goes to who reads. `full`: none may wait there."""
        if full or self._behind:
            self._coming.append(sample)
            self._coming_bytes += len(sample.payload)
            return True
        if self.shares:
            self._direct[sample.token] = sample
        return False

    def done(self, token: Incoming | Held) -> bool:
        """It is safe: whether it is yet to be acknowledged."""
        key = token.key if isinstance(token, Held) else self._keys.pop(token, None)
        if key is None:
            self._direct.pop(token, None)  # type: ignore[arg-type]
            return True
        self._out.discard(key)
        self._bare.discard(key)
        self._disk.remove(key)
        return False

    def refuses(self, *, full: bool) -> bool:
        """What comes finds no place, not here either: the disk fails. `full`: as for `takes`."""
        many = self._coming_bytes > MANY_BYTES or len(self._coming) >= MOST_COMING
        return (full or self._behind) and (self._broken or many)

    @property
    def waiting(self) -> int:
        """How many inputs are on disk, those too that were read from there and are not safe yet. From any thread."""
        return self._disk.messages

    @property
    def _behind(self) -> bool:
        return bool(self._coming or self._out) or self._unread

    # --- a worker of the session ------------------------------------------------------------------------

    def turn(self) -> float:
        if self._broken or self.reader is None:
            return LOOK_AGAIN_S
        patience_s = PATIENCE_S if self.reader.held() < MOST_HELD else LESS_PATIENCE_S
        due_s = self._patience_s(0.0 if self.reader.waiting() is None else patience_s)  # nobody reads: it has ended
        saves = self.shares and (bool(self._coming) or due_s <= 0.0)
        if not self._disk.resting:
            if not self._disk.opened and (saves or self._late):
                self._unread |= self._disk.open()
            self._disk.flush()
            if saves:
                self._save(self.reader)
        if self._unread:
            self._read(self.reader)
        if not self._unread:
            self._hand_over(self.reader)
        if not self._coming:
            self.reader.place_again()
        return LOOK_AGAIN_S if saves else min(due_s, LOOK_AGAIN_S)

    def end(self) -> None:
        self._disk.close()

    def failed(self, exc: FatalError) -> None:
        """What a run does not take now waits at the broker."""
        self._broken, self._unread = True, False
        text = "inputs that a run does not take cannot be kept, and hold up those of others"
        log.error(text, extra={"run": self._name, "reason": str(exc)})
        if self.reader is not None and self.reader.waiting() is not None:
            while self._coming:
                self._give(self.reader)

    def _patience_s(self, in_all: float) -> float:
        first = next(iter(self._direct.values()), None)
        if first is None:
            return LOOK_AGAIN_S
        return in_all - (self._clock.monotonic_ns() - first.captured_ns) / SECOND_NS

    def _save(self, reader: Reader) -> None:
        direct, coming = list(self._direct.values()), list(self._coming)
        keys = self._disk.save([_message(sample) for sample in (*direct, *coming)])
        if keys is None:
            return
        if not self._told:
            self._told = True
            text = (
                "a run is paused, at its end, or slower than its inputs come: they wait on disk, and hold up no other"
            )
            log.warning(text, extra={"run": self._name, "inputs": len(keys)})
        self._direct, self._coming, self._coming_bytes = {}, deque(), 0
        for sample, key in zip(direct, keys, strict=False):
            self._keys[sample.token] = key
            self._out.add(key)
            if not self._unread:  # else there is more before it: the disk could not be opened when the run began
                self._last = key
        self._unread |= bool(coming)
        for sample in (*direct, *coming):
            reader.saved(sample.token)
        self._look_for_lost(reader)

    def _look_for_lost(self, reader: Reader) -> None:
        """What has gone from the disk, the oldest first, is lost unless it is in memory."""
        gone, self._known_lost = self._lost() - self._known_lost, self._lost()
        if not gone:
            return
        entries = self._disk.after(0, 1)
        if entries is not None:
            oldest = entries[0].key if entries else self._last + 1
            bare = {key for key in self._out if key < oldest}
            gone -= len(bare - self._bare)
            self._bare = bare
        for _ in range(gone):
            self._count("dropped:input-shelf")
        if gone > 0 and not self._told_lost:
            self._told_lost = True
            reader.tell("inputs come faster than they are inferred, and the disk that they may take is full: the "
                        "oldest are dropped; see --spool-max")  # fmt: skip

    def _read(self, reader: Reader) -> None:
        for _ in self._room(reader):
            entries = self._disk.after(self._last, 1)
            if entries is None:
                return
            if not entries:
                self._unread = False
                self._done = set()
                return
            (entry,) = entries
            self._last = entry.key
            if entry.key in self._out:
                continue
            if entry.message.origin in self._done:
                self._disk.remove(entry.key)
                continue
            try:
                sample = self._sample(entry)
            except msgspec.DecodeError as exc:  # of another version: it must not end the process, at each start anew
                self._disk.remove(entry.key)
                self._count("dropped:input-shelf")
                log.error("an input on disk cannot be read", extra={"run": self._name, "reason": str(exc)})
                continue
            self._out.add(entry.key)
            reader.give(sample)

    def _hand_over(self, reader: Reader) -> None:
        """What could not be saved, in its order: nothing unread is before it."""
        for _ in self._room(reader) if self._coming else ():
            self._give(reader)
            if not self._coming:
                return

    def _give(self, reader: Reader) -> None:
        """The first of those that came."""
        sample = self._coming.popleft()
        self._coming_bytes -= len(sample.payload)
        if self.shares:
            self._direct[sample.token] = sample
        reader.give(sample)

    def _room(self, reader: Reader) -> Iterator[None]:
        """As often as there is room for another one."""
        waiting = reader.waiting()
        most = MANY if waiting is not None and waiting[0] < FEW else 0
        while waiting is not None and waiting[0] < most and waiting[1] < MANY_BYTES:
            yield
            waiting = reader.waiting()

    def _sample(self, entry: Entry) -> Sample:
        row = _decoder.decode(entry.message.payload)
        return Sample(
            row.payload,
            row.source,
            self._clock.monotonic_ns(),
            row.time_ns,
            None if row.topic is None else Reply(row.topic, row.correlation),
            Held(entry.key),
            entry.message.origin,
            row.retained,
            row.digest,
            redelivered=row.redelivered or entry.replayed,
            unkept=row.unkept,
        )


def _message(sample: Sample) -> Message:
    reply = sample.reply
    row = _Row(
        sample.payload,
        sample.source,
        sample.time_ns,
        None if reply is None else reply.topic,
        None if reply is None else reply.correlation,
        sample.retained,
        sample.digest or b"",
        sample.redelivered,
        sample.unkept,
    )
    return Message("result", _encoder.encode(row), 0, origin=sample.origin)
