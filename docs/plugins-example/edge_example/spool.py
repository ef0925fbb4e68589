"""`--spool msgpack`: one small file, written whole at each change. For few results and short outages."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from edge.data.message import Message
from edge.errors import UnavailableError
from edge.plugins.contexts import SpoolContext
from edge.plugins.declarations import SpoolInfo
from edge.plugins.protocols import Entry


class _Held(msgspec.Struct):
    """`stored_ns` is when each message came, on the system's clock."""

    next_key: int = 1
    messages: dict[int, Message] = {}
    stored_ns: dict[int, int] = {}


class MsgpackSpool:
    durable = True

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path, self._max_bytes = path, max_bytes
        self._held = _Held()
        self.dropped_by: Mapping[str, int] = {"full": 0, "age": 0, "damaged": 0}
        self.dropped = self.damaged = 0

    def open(self) -> None:
        try:
            self._held = msgspec.msgpack.decode(self._path.read_bytes(), type=_Held)
        except FileNotFoundError:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except msgspec.MsgspecError:
            self._path.rename(self._path.with_suffix(".damaged"))
            self.damaged += 1
        except OSError as exc:
            raise UnavailableError(f"{self._path}: {exc.strerror}") from exc

    def append(self, messages: Sequence[Message]) -> list[int]:
        held = self._held
        keys = list(range(held.next_key, held.next_key + len(messages)))
        kept = {**held.messages, **dict(zip(keys, messages, strict=True))}
        size, dropped = sum(map(_size, kept.values())), 0
        for key in [k for k, m in kept.items() if _size(m) > self._max_bytes] + list(kept):
            if size <= self._max_bytes:
                break
            if key in kept:
                size -= _size(kept.pop(key))
                dropped += 1
        if messages:
            now_ns = time.time_ns()
            self._write(_Held(keys[-1] + 1, kept, {k: held.stored_ns.get(k, now_ns) for k in kept}))
        self.dropped += dropped
        self.dropped_by = {**self.dropped_by, "full": self.dropped}
        return keys

    def after(self, key: int, limit: int) -> list[Entry]:
        return [Entry(k, m) for k, m in self._held.messages.items() if k > key][:limit]

    def remove(self, keys: Iterable[int]) -> None:
        held, gone = self._held, set(keys)
        kept = {k: m for k, m in held.messages.items() if k not in gone}
        self._write(_Held(held.next_key, kept, {k: held.stored_ns[k] for k in kept}))

    def origins(self, limit: int) -> list[bytes]:
        return [m.origin for m in reversed(self._held.messages.values()) if m.origin is not None][:limit]

    @property
    def oldest_ns(self) -> int | None:
        return next(iter(self._held.stored_ns.values()), None)

    def __len__(self) -> int:
        return len(self._held.messages)

    @property
    def bytes(self) -> int:
        return sum(map(_size, self._held.messages.values()))

    def close(self) -> None:
        """Nothing stays open."""

    def _write(self, held: _Held) -> None:
        """The whole file or the old one, whenever the power goes."""
        partial = self._path.with_suffix(".partial")
        try:
            with partial.open("wb") as file:
                file.write(msgspec.msgpack.encode(held))
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self._path)
        except OSError as exc:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise UnavailableError(f"{self._path}: {exc.strerror}") from exc
        self._held = held


def _size(message: Message) -> int:
    reply = message.reply
    more = len(reply.topic.encode()) + len(reply.correlation or b"") if reply is not None else 0
    return len(message.payload) + more


def create(context: SpoolContext) -> MsgpackSpool:
    return MsgpackSpool(context.path.with_name(f"{context.path.name}.msgpack"), context.max_bytes)


SPOOL = SpoolInfo(edge_api=1, create=create)
