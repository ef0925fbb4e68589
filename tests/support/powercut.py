"""A power cut, simulated: what a disk could hold if it had kept only what was synced, and some of the rest.

A child process runs the code under test with `diskshim.c` preloaded, which records every change it makes to the
disk. `PowerCut` takes that record up to any point and builds a folder that a cut at this point could leave:

- what was synced (`fsync`, `fdatasync` of the file) is there;
- of what was written since, each sector of 512 bytes is there or not, by chance, in any order: pages are torn;
- a file's length is one that it had since its last sync;
- names (created, renamed, removed, folders) are there once their folder was synced, and of those since, the
  first few are, by chance: a journal keeps their order. A file that was synced but whose name was not, is gone.

What this cannot show: a disk that lies about a sync, or damages what it is not writing (the spool tests damage
files on purpose for that); sectors written in part; a file system that applies names out of order; writes
through mmap or io_uring (the spool uses none); what the kernel itself does wrong.
"""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SECTOR = 512
_HEAD = struct.Struct("<4Q")


class Change(NamedTuple):
    """`kind`: c create, w write, t truncate, s sync, r rename, u unlink, m mkdir."""

    kind: str
    path: str
    to: str
    offset: int
    data: bytes


def build_shim(folder: Path) -> Path:
    """Compiles the shim; needs gcc."""
    shim = folder / "diskshim.so"
    source = Path(__file__).with_name("diskshim.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o", shim, source], check=True)
    return shim


def read_log(log: Path) -> list[Change]:
    """The changes, in order."""
    data, at, changes = log.read_bytes(), 0, []
    while at < len(data):
        kind = chr(data[at])
        path, to, offset, size = _HEAD.unpack_from(data, at + 1)
        at += 1 + _HEAD.size
        parts = data[at : at + path].decode(), data[at + path : at + path + to].decode()
        at += path + to
        changes.append(Change(kind, *parts, offset, data[at : at + size]))
        at += size
    return changes


class PowerCut:
    """The disk as the record goes on; `leave` may be called any number of times, never for an earlier moment."""

    def __init__(self, changes: list[Change], root: Path) -> None:
        self._changes = changes
        self._root = str(root)
        self._done = 0
        self._files: dict[int, _File] = {}
        self._names: dict[str, int] = {self._root: _FOLDER}
        self._durable = dict(self._names)
        self._pending: list[tuple[int, Change]] = []

    def leave(self, until: int, folder: Path, rng: random.Random) -> None:
        """What a cut after the first `until` changes leaves, into `folder`, which is emptied before."""
        while self._done < until:
            self._apply(self._done, self._changes[self._done])
            self._done += 1
        names = dict(self._durable)
        for number, change in self._pending[: rng.randint(0, len(self._pending))]:
            _name(names, number, change)
        likely = rng.choice((0.0, 0.1, 0.5, 0.9, 1.0))
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for path, number in sorted(names.items()):
            target = folder / path[len(self._root) :].lstrip("/")
            if not target.parent.is_dir():
                continue  # its folder is lost, and it with that
            if number == _FOLDER:
                target.mkdir(exist_ok=True)
            else:
                target.write_bytes(self._files[number].after_cut(rng, likely))

    def _apply(self, number: int, change: Change) -> None:
        inode = self._names.get(change.path)
        if change.kind in "wt":
            assert inode is not None, f"{change.path} was written before it was there"
            self._files[inode].since.append(change)
        elif change.kind == "s" and inode == _FOLDER:
            for entry in self._pending:
                if Path(entry[1].path).parent == Path(change.path):
                    _name(self._durable, *entry)
            self._pending = [e for e in self._pending if Path(e[1].path).parent != Path(change.path)]
        elif change.kind == "s":
            assert inode is not None, f"{change.path} was synced before it was there"
            self._files[inode].sync()
        else:
            if change.kind == "c":
                self._files[number] = _File()
            _name(self._names, number, change)
            self._pending.append((number, change))


_FOLDER = -1


def _name(names: dict[str, int], number: int, change: Change) -> None:
    if change.kind == "c":
        names[change.path] = number
    elif change.kind == "m":
        names[change.path] = _FOLDER
    elif change.kind == "u":
        names.pop(change.path, None)
    elif change.path in names:
        names[change.to] = names.pop(change.path)


class _File:
    """What of a file is on the disk for certain, and what was written to it since."""

    def __init__(self) -> None:
        self.synced = bytearray()
        self.since: list[Change] = []

    def sync(self) -> None:
        for change in self.since:
            if change.kind == "t":
                _resize(self.synced, change.offset)
            else:
                _put(self.synced, change.offset, change.data)
        self.since = []

    def after_cut(self, rng: random.Random, likely: float) -> bytes:
        content = bytearray(self.synced)
        sizes = [len(content)]
        size = len(content)
        for change in self.since:
            size = change.offset if change.kind == "t" else max(size, change.offset + len(change.data))
            sizes.append(size)
            if change.kind == "w":
                for start, sector in _sectors(change):
                    if rng.random() < likely:
                        _put(content, start, sector)
        _resize(content, rng.choice(sizes))
        return bytes(content)


def _sectors(change: Change) -> Iterator[tuple[int, bytes]]:
    start, end = change.offset, change.offset + len(change.data)
    while start < end:
        stop = min(end, (start // SECTOR + 1) * SECTOR)
        yield start, change.data[start - change.offset : stop - change.offset]
        start = stop


def _put(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset:
        _resize(content, offset)
    content[offset : offset + len(data)] = data


def _resize(content: bytearray, size: int) -> None:
    del content[size:]
    content.extend(bytes(size - len(content)))
