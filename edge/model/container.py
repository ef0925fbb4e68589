"""Where the manifest sits in a model file.

ONNX: the metadata key `edge.manifest`, which the engine hands out. TFLite: a zip archive appended to the
flatbuffer (TFLite ignores what follows it, and TFLite Metadata does the same). A sidecar `model.onnx.json`
beside the file overrides both.
"""

from __future__ import annotations

import logging
import mmap
import struct
from collections.abc import Mapping
from pathlib import Path

from edge.data import codec, magic
from edge.errors import ModelError, SampleError
from edge.model.manifest import ONNX_KEY, TFLITE_ENTRY, Manifest, decode

log = logging.getLogger("edge.model")

MAX_MANIFEST_BYTES = 64 * 2**20


def read_head(path: Path, size: int = 64) -> bytes:
    """The first bytes of a model file. Raises ModelError where there is none, or an empty one."""
    try:
        with path.open("rb") as file:
            head = file.read(size)
    except FileNotFoundError:
        raise ModelError(f"{path}: there is no such file; check the path") from None
    except IsADirectoryError:
        trained = any((path / name).exists() for name in ("saved_model.pb", "MLmodel"))
        way_out = " (run edge-convert on it)" if trained else ""
        raise ModelError(f"{path} is a folder{way_out}; a model is an .onnx or a .tflite file") from None
    except OSError as exc:
        raise ModelError(f"{path}: {exc.strerror}") from exc
    if not head:
        raise ModelError(f"{path.name}: the file is empty; copy or convert it again")
    return head


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
