"""Where the manifest sits in a model file, and the file's identity.

ONNX: the metadata key `edge.manifest`, which the engine hands out. TFLite: a zip archive appended to the
flatbuffer (TFLite ignores what follows it, and TFLite Metadata does the same). A sidecar `model.onnx.json`
beside the file overrides both.
"""

from __future__ import annotations

import hashlib
import logging
import mmap
import struct
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from edge.data import codec, magic
from edge.errors import ModelError, SampleError
from edge.model.manifest import ONNX_KEY, TFLITE_ENTRY, Manifest, decode

log = logging.getLogger("edge.model")

MAX_MANIFEST_BYTES = 64 * 2**20
PIECE = 2**20


def read_head(path: Path, size: int = 64) -> bytes:
    """The first bytes of a model file. Raises ModelError where there is none, or an empty one."""
    try:
        with path.open("rb") as file:
            head = file.read(size)
    except FileNotFoundError:
        raise ModelError(f"{path}: there is no such file; check the path") from None
    except IsADirectoryError:
        raise ModelError(f"{path} is a folder; a model is an .onnx or a .tflite file") from None
    except OSError as exc:
        raise ModelError(f"{path}: {exc.strerror}") from exc
    if not head:
        raise ModelError(f"{path.name}: the file is empty; copy or convert it again")
    return head


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


def read_manifest(path: Path, metadata: Mapping[str, str]) -> Manifest | None:
    """The manifest of a model file, or None for a model of somebody else's.

    `metadata` is what the engine says the file holds. Raises ModelError for one that cannot be read.
    """
    sidecar = path.with_name(path.name + ".json")
    where, text = sidecar.name, _read_sidecar(sidecar)
    if text is None and ONNX_KEY in metadata:
        where, text = f"{path.name}, metadata {ONNX_KEY!r}", metadata[ONNX_KEY].encode()
    if text is None:
        where, text = f"{path.name}, entry {TFLITE_ENTRY!r}", read_zip_entry(path, TFLITE_ENTRY)
    if text is None:
        return None
    try:
        if where == sidecar.name:  # which people write
            codec.refuse_twice(text)
        return decode(text)
    except (ValueError, SampleError) as exc:
        fix = "re-run edge-convert"
        if where == sidecar.name:
            fix = f"mend it; without it, edge-run --model {path.name} --describe prints a whole one"
        raise ModelError(f"{where}: the manifest cannot be read: {exc}; {fix}") from exc


def _read_sidecar(sidecar: Path) -> bytes | None:
    """None also of an empty one: a shell has made it by the time that `--describe > model.onnx.json` reads."""
    try:
        text = sidecar.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise ModelError(f"{sidecar}: {exc.strerror}; mend or remove it") from exc
    if not text:
        log.warning("the sidecar is empty and says nothing", extra={"path": str(sidecar)})
    return text or None


def read_zip_entry(path: Path, name: str) -> bytes | None:
    """An entry of the zip archive appended to a .tflite file; None where there is none."""
    import zipfile  # for a file that does not say of itself what it is

    if not zipfile.is_zipfile(path):
        if magic.is_tflite(read_head(path)) and _is_cut_off(path):
            raise ModelError(
                f"{path.name}: the archive behind the model (its labels, its manifest) is cut off: copy the file again"
            )
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            info = archive.NameToInfo.get(name)
            if info is None or info.file_size > MAX_MANIFEST_BYTES:
                return None
            return archive.read(info)
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as exc:
        raise ModelError(f"{path.name}: the appended archive cannot be read: {exc}") from exc


def _is_cut_off(path: Path) -> bool:
    """True where an archive begins behind a model and does not end: its last entry has a header, the file no index."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        at = mapped.rfind(b"PK\x03\x04")
        if at < 0 or at + 30 > len(mapped):
            return False
        version, method, length = struct.unpack_from("<4xHxxH16xH", mapped, at)
        name = mapped[at + 30 : at + 30 + length]
    # Weights may hold the four bytes too, but not a version, a method and a name behind them.
    return version <= 63 and method in (0, 8) and 0 < len(name) < 256 and name.decode("latin-1").isprintable()
