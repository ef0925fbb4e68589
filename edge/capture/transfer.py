"""How kept samples leave a device: only where it permits it, and only what was asked for, a piece at a time.

What is asked comes on `<base>/collect`, JSON: `{"id": "...", "after": ""}` lists files behind a name, `{"id": "...",
"file": "...", "offset": 0}` asks for a piece of one. It is answered on `<base>/captured`: a line of JSON, then the
bytes of the piece. `id` comes back, so several who ask at once tell their answers apart.

The files of a segment are listed before the lines that name them: whoever is broken off has no line without its file.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import msgspec

from edge.capture.store import ABOUT, OURS
from edge.errors import EdgeError, one_line

PIECE = 64 * 1024
"""Bytes of a file in one message."""
LISTED = 500
OFFSETS = 2**63
"""Of a file on Linux."""
LARGEST = 2_000
"""Bytes of what is asked."""


class RefusedError(EdgeError):
    """This is not given out."""


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`file` "": the list of those behind `after`."""

    id: str
    file: str = ""
    offset: int = 0
    after: str = ""


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """The line before the bytes. `size` of the whole file; `files`: names and sizes; `more`: there are further ones."""

    id: str
    file: str = ""
    offset: int = 0
    size: int = 0
    files: tuple[tuple[str, int], ...] = ()
    more: bool = False
    reason: str = ""


def parse(payload: bytes) -> Asked:
    """Raises RefusedError."""
    if len(payload) > LARGEST:
        raise RefusedError(f"it is too large; {LARGEST} bytes at most")
    try:
        asked = msgspec.json.decode(payload, type=Asked)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise RefusedError(f"not understood: {one_line(exc)}") from exc
    if len(asked.id) > 64:
        raise RefusedError("an id has 64 characters at most")
    return asked


def encode(told: Told, data: bytes = b"") -> bytes:
    return msgspec.json.encode(told) + b"\n" + data


def decode(payload: bytes) -> tuple[Told, bytes]:
    """Raises ValueError."""
    line, _, data = payload.partition(b"\n")
    try:
        return msgspec.json.decode(line, type=Told), data
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise ValueError(one_line(exc)) from exc


def is_name(name: str) -> bool:
    """Whether a kept file may be called so; neither a folder nor one that is being written."""
    return name == ABOUT or (OURS.fullmatch(name) is not None and not name.startswith(".") and name[-8:] != ".partial")


def answer(folder: Path, asked: Asked) -> bytes:
    """What is in the folder. Never raises: what cannot be given is a reason."""
    try:
        return _listed(folder, asked) if not asked.file else _piece(folder, asked)
    except RefusedError as exc:
        return encode(Told(asked.id, asked.file, reason=str(exc)))
    except OSError as exc:
        return encode(Told(asked.id, asked.file, reason=exc.strerror or str(exc)))


def _listed(folder: Path, asked: Asked) -> bytes:
    found: list[tuple[tuple[int, bool, str], str, int]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_name(entry.name) and entry.is_file(follow_symlinks=False):
                found.append((_place(entry.name), entry.name, entry.stat(follow_symlinks=False).st_size))
    behind = _place(asked.after) if is_name(asked.after) else (-1, False, "")
    rest = sorted(one for one in found if one[0] > behind)
    files = tuple((name, size) for _, name, size in rest[:LISTED])
    return encode(Told(asked.id, files=files, more=len(rest) > LISTED))


def _place(name: str) -> tuple[int, bool, str]:
    """The oldest first; of one segment the lines last."""
    match = re.match(OURS, name)
    return (int(match["number"]), name.endswith(".jsonl"), name) if match is not None else (0, False, name)


def _piece(folder: Path, asked: Asked) -> bytes:
    if not is_name(asked.file) or not 0 <= asked.offset < OFFSETS:
        raise RefusedError("there is no such file among what is kept")
    fd = os.open(folder / asked.file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode):
            raise RefusedError("there is no such file among what is kept")
        data = os.pread(fd, PIECE, asked.offset)
    finally:
        os.close(fd)
    return encode(Told(asked.id, asked.file, asked.offset, about.st_size), data)
