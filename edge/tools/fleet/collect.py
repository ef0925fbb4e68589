"""Kept samples are fetched from devices that permit it: `edge/capture/transfer.py` says how they speak.

One piece is asked for at a time, so a device sends no faster than it is fetched; what was begun goes on at its byte.
What a device says is believed as little as a stranger: names, sizes and what is written are bounded here.
"""

from __future__ import annotations

import os
import queue
import struct
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import paho.mqtt.client as paho

from edge.capture import transfer
from edge.capture.store import ABOUT, BLOCK, LOCK
from edge.capture.transfer import Asked, Told
from edge.data.names import topic_part
from edge.errors import ConfigError, EdgeError, UnavailableError
from edge.mqtt.messages import MqttOptions
from edge.mqtt.plain_client import begin, end, plain_client
from edge.mqtt.topics import Topics
from edge.storage import atomic
from edge.storage.lock import FileLock
from edge.tools.fleet import retained

NAME_MOST = 200
WAITING_MOST = 64
"""Messages that are read later: a device that sends without end fills no memory."""
TRIES = 3
PAGES_MOST = 10_000


class Limits(msgspec.Struct, frozen=True):
    """`most` bytes in all, `rate` bytes in a second, `patience_s` seconds for an answer."""

    most: int
    rate: int
    patience_s: float


class Device(msgspec.Struct, frozen=True):
    """A service that permits it."""

    device: str
    model: str
    topics: Topics

    @property
    def folder(self) -> str:
        """As its own folder is called."""
        return f"{self.device}.{self.model}.capture"


class _Permission(msgspec.Struct, frozen=True):
    """As much of `info` as is asked for here."""

    collect: bool = False


class Fetched(msgspec.Struct):
    """Of one device. `gone`: files that were dropped there before they were fetched; `reason` why it is not all."""

    files: int = 0
    bytes: int = 0
    there: int = 0
    gone: int = 0
    reason: str = ""


class SpentError(EdgeError):
    """No more bytes are to be fetched."""


def devices(broker: MqttOptions, prefix: str) -> list[Device]:
    """Those that permit it, by what they have retained. Raises UnavailableError."""
    heard = retained.listen(broker, prefix, Topics.info).payloads
    return [
        Device(device, model, Topics(f"{prefix}/{device}/{model}"))
        for (device, model), payload in sorted(heard.items())
        if _is_name(device) and _is_name(model) and _permits(payload)
    ]


class Collector:
    """Used by one thread; `open` before."""

    def __init__(self, broker: MqttOptions, limits: Limits) -> None:
        self._broker = broker
        self._limits = limits
        self._left = limits.most
        self._id = uuid.uuid4().hex[:12]
        self._number = 0
        self._came: queue.Queue[tuple[str, bytes]] = queue.Queue(WAITING_MOST)
        self._wanted = ""
        self._client = plain_client(broker)
        self._client.on_message = self._on_message

    def open(self) -> None:
        """Raises UnavailableError."""
        begin(self._client, self._broker, self._joined)

    def close(self) -> None:
        end(self._client)

    def collect(self, device: Device, out: Path, tell: Callable[[Fetched], None]) -> Fetched:
        """What the device has and `out` has not. Raises OSError of this disk; what goes wrong there is a reason."""
        if self._wanted:
            self._client.unsubscribe(self._wanted)
        self._wanted = device.topics.captured
        self._client.subscribe(self._wanted, qos=1)
        folder, done = out / device.folder, Fetched()
        lock = FileLock(folder / LOCK)
        if (other := lock.acquire(str(os.getpid()))) is not None:
            done.reason = f"{folder}: process {other or 'unknown'} collects into it; wait for that, or say another OUT"
            return done
        try:
            for name, size in self._files(device):
                done.there += 1
                self._fetch(device, folder / name, size, done)
                tell(done)
        except (UnavailableError, SpentError) as exc:
            done.reason = str(exc)
        finally:
            lock.release()
        return done

    def _files(self, device: Device) -> Iterator[tuple[str, int]]:
        after = ""
        for _ in range(PAGES_MOST):
            told, _data = self._ask(device, Asked("", after=after))
            if told.reason:
                raise UnavailableError(f"{device.folder}: {told.reason}")
            files = [(name, size) for name, size in told.files if transfer.is_name(name) and size > 0]
            yield from files
            if not told.more or not files or files[-1][0] == after:
                return
            after = files[-1][0]

    def _fetch(self, device: Device, file: Path, size: int, done: Fetched) -> None:
        """A file that is there does not change, but about.json."""
        part, before = Part(file), b""
        if file.name == ABOUT:
            part.drop()
            before = file.read_bytes() if file.exists() else b""
        elif file.exists() and file.stat().st_size == size:
            part.drop()  # of which a power cut has brought the name back
            return
        if (at := part.begun()) > size:
            part.drop()
            at = 0
        self._left -= max(0, BLOCK - size)
        while at < size:
            if self._left <= 0:
                raise SpentError(f"{self._limits.most / 1e6:.3g} MB were fetched; --most allows no more")
            told, data = self._ask(device, Asked("", file.name, at))
            if told.reason or told.size != size or not data:
                done.gone += 1
                part.drop()
                return
            data = data[: size - at]
            part.add(data)
            at += len(data)
            self._left -= len(data)
            done.bytes += len(data)
            time.sleep(len(data) / self._limits.rate)
        part.finish()
        done.files += not before or file.read_bytes() != before

    def _ask(self, device: Device, asked: Asked) -> tuple[Told, bytes]:
        """Asked again where nothing comes. Raises UnavailableError."""
        for _ in range(TRIES):
            self._number += 1
            asked = msgspec.structs.replace(asked, id=f"{self._id}-{self._number}")
            self._client.publish(device.topics.collect, msgspec.json.encode(asked), qos=0)
            end = time.monotonic() + self._limits.patience_s
            while (left := end - time.monotonic()) > 0:
                try:
                    topic, payload = self._came.get(timeout=left)
                except queue.Empty:
                    break
                if (found := _answer(topic == device.topics.captured, payload, asked)) is not None:
                    return found
        raise UnavailableError(
            f"{device.device}/{device.model} does not answer; what was fetched stays, and the rest is fetched next time"
        )

    def _joined(self) -> None:
        if self._wanted:  # the connection was lost meanwhile
            self._client.subscribe(self._wanted, qos=1)

    def _on_message(self, _client: paho.Client, _userdata: Any, message: paho.MQTTMessage) -> None:
        if len(message.payload) <= 2 * transfer.PIECE:
            with suppress(queue.Full):  # a flood: what is lost is asked for again
                self._came.put_nowait((message.topic, bytes(message.payload)))


def _is_name(part: str) -> bool:
    """As edge-run calls itself: no dot in it, so no folder is another device's as well."""
    return part == topic_part(part) and len(part) <= NAME_MOST


def _permits(payload: bytes) -> bool:
    said = retained.read(payload, _Permission)
    return said is not None and said.collect is True


def _answer(ours: bool, payload: bytes, asked: Asked) -> tuple[Told, bytes] | None:
    """None: it is somebody else's, or of a question that was given up."""
    if not ours:
        return None
    try:
        told, data = transfer.decode(payload)
    except ValueError:
        return None
    same = told.id == asked.id and told.file == asked.file and told.offset == asked.offset
    return (told, data) if same and len(data) <= transfer.PIECE else None


def chosen(devices: list[Device], names: tuple[str, ...], model: str | None) -> list[Device]:
    """Those that are meant. Raises ConfigError where one is named that does not permit it, or is not there."""
    found = [d for d in devices if (not names or d.device in names) and model in (None, d.model)]
    missing = [name for name in names if name not in {d.device for d in found}]
    if missing:
        there = ", ".join(dict.fromkeys(d.device for d in devices)) or "none"
        raise ConfigError(
            f"--device {missing[0]}: it permits no collecting, or is not there; edge-run --capture RULES "
            f"--capture-collect permits it; those that do: {there}"
        )
    return found


_HEAD = struct.Struct("<II")


class Part:
    """A file that is being fetched. It lies beside `file`, piece after piece, each behind its length and its checksum:
    what is not synced may come back from a power cut as anything, zeros among it, in a file of the right length. What
    does not bear its checksum, and all behind it, is fetched again. Every method raises OSError."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._path = file.with_name(f".{file.name}.part")

    def begun(self) -> int:
        """So many bytes of the file are there."""
        good = size = 0
        for piece in self._pieces():
            good += _HEAD.size + len(piece)
            size += len(piece)
        if self._path.exists():
            os.truncate(self._path, good)
        return size

    def add(self, piece: bytes) -> None:
        """The next bytes of the file."""
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "ab") as stream:
            stream.write(_HEAD.pack(len(piece), zlib.crc32(piece)) + piece)

    def finish(self) -> None:
        """All of it is there."""
        with atomic.replacing(self._file, 0o600) as whole:
            whole.writelines(self._pieces())
        self.drop()

    def drop(self) -> None:
        """Where it is not wanted any more; or was not there."""
        self._path.unlink(missing_ok=True)

    def _pieces(self) -> Iterator[bytes]:
        """Up to the first that is not as it was written."""
        if not self._path.exists():
            return
        with self._path.open("rb") as stream:
            while len(head := stream.read(_HEAD.size)) == _HEAD.size:
                size, checksum = _HEAD.unpack(head)
                piece = stream.read(size) if 0 < size <= self._path.stat().st_size else b""
                if not piece or len(piece) < size or zlib.crc32(piece) != checksum:
                    return
                yield piece
