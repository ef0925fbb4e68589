"""The manifest into the model file, and a file onto the disk: whole, or not at all."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from converter.errors import OutputError
from converter.options import Target
from edge.errors import Needing
from edge.model.manifest import ONNX_KEY, TFLITE_ENTRY, Manifest, encode
from edge.storage import atomic

_EPOCH = (1980, 1, 1, 0, 0, 0)


def pack(target: Target, model: bytes, manifest: Manifest) -> bytes:
    """The bytes of the file: the model with its manifest inside."""
    return {"onnx": _pack_onnx, "tflite": _pack_tflite}[target](model, manifest)


def _pack_onnx(model: bytes, manifest: Manifest) -> bytes:
    with Needing("writing an ONNX file", "onnx", "convert-sklearn"):
        import onnx
    proto = onnx.load_model_from_string(model)
    kept = {p.key: p.value for p in proto.metadata_props if p.key != ONNX_KEY}
    onnx.helper.set_model_props(proto, {**kept, ONNX_KEY: encode(manifest).decode()})
    return bytes(proto.SerializeToString())


def _pack_tflite(model: bytes, manifest: Manifest) -> bytes:
    entries: list[tuple[zipfile.ZipInfo, bytes]] = []
    if zipfile.is_zipfile(io.BytesIO(model)):  # TFLite Metadata, or a manifest of ours from before
        with zipfile.ZipFile(io.BytesIO(model)) as archive:
            infos = archive.infolist()
            entries = [(i, archive.read(i)) for i in infos if i.filename != TFLITE_ENTRY]
            model = model[: min((i.header_offset for i in infos), default=len(model))]
    out = io.BytesIO()
    out.write(model)
    with zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED) as archive:
        for info, data in entries:
            archive.writestr(info, data)
        archive.writestr(zipfile.ZipInfo(TFLITE_ENTRY, _EPOCH), encode(manifest), zipfile.ZIP_DEFLATED)
    return out.getvalue()


def write_whole(path: Path, data: bytes) -> None:
    """Bytes to a file, whole or not at all. Raises OutputError."""
    try:
        atomic.write(path, data)
    except OSError as exc:
        raise OutputError(
            f"{path}: cannot be written ({len(data)} bytes): {exc.strerror}; nothing was left there"
        ) from exc
