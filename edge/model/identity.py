"""What tells a model's file from every other.

Imports little: at start a file is hashed while numpy is being imported.
"""

from __future__ import annotations

import hashlib
import mmap
from functools import lru_cache
from pathlib import Path

from edge.data import magic

PIECE = 2**20


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal. A file that has not changed since is read once."""
    status = path.stat()
    return _sha256(path, (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))


@lru_cache(maxsize=8)
def _sha256(path: Path, version: tuple[int, ...]) -> str:
    digest = hashlib.sha256()
    # One buffer, read again and again: fresh memory for each piece takes as long as to hash it.
    piece = memoryview(bytearray(min(PIECE, version[2] + 1)))
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(piece):
            digest.update(piece[:size])
    return digest.hexdigest()


def identity(path: Path) -> str:
    """What tells this model from every other: its file's SHA-256; where weights lie in other files, the SHA-256 of
    that and of theirs, by name. Raises ModelError, OSError."""
    own, others = sha256(path), external_files(path)
    if not others:
        return own
    digest = hashlib.sha256(own.encode())
    for name in others:
        file = path.parent / name
        digest.update(f"\n{name} {sha256(file) if file.is_file() else 'missing'}".encode())
    return digest.hexdigest()


_LOCATION = b"\n\x08location\x12"
"""An entry of a tensor's `external_data`, in protobuf, up to the length of the file's name:
https://onnx.ai/onnx/repo-docs/ExternalData.html"""


def external_files(path: Path) -> tuple[str, ...]:
    """The names of the files beside an .onnx file that hold weights of it, sorted. Raises OSError."""
    locations: set[str] = set()
    with path.open("rb") as file:
        if not magic.is_onnx(file.read(64)):
            return ()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            at = content.find(_LOCATION)
            while at >= 0:
                at += len(_LOCATION)
                name = _text(content, at)
                # A name that leads out of the folder is refused by the engine.
                if name and not Path(name).is_absolute() and ".." not in Path(name).parts:
                    locations.add(name)
                at = content.find(_LOCATION, at)
    return tuple(sorted(locations))


def _text(content: mmap.mmap, at: int) -> str:
    """A protobuf text: its length, of one or two bytes, and UTF-8."""
    head = content[at : at + 2] + b"\0\0"  # the file may end here
    size, start = head[0], at + 1
    if size & 0x80:
        size, start = size & 0x7F | head[1] << 7, at + 2
    return content[start : start + size].decode("utf-8", "replace")
