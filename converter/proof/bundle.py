"""The manifest into the model file, and the file onto the disk: whole, or not at all."""

from __future__ import annotations

import contextlib
import io
import os
import re
import tempfile
import zipfile
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from converter.artifact import Artifact
from converter.errors import OutputError, SampleFileError
from converter.options import Options
from converter.proof.parity import class_values
from converter.sources.recognise import Source
from edge.errors import ConfigError, ModelError, needs
from edge.model import container
from edge.model.manifest import ONNX_KEY, TFLITE_ENTRY, Manifest, Provenance, encode

_EPOCH = (1980, 1, 1, 0, 0, 0)


def identify(artifact: Artifact, source: Source, options: Options) -> Artifact:
    """The artifact with name, version, task and labels in its manifest: passes that count right answers need them.

    Raises ConfigError for a task that the model has not.
    """
    own = artifact.manifest.task
    if options.task not in (None, "raw", own) and artifact.framework != artifact.target:
        raise ConfigError(f"--task {options.task}: this model's is {own}; leave --task out")
    named = artifact.with_manifest(
        name=options.name or artifact.manifest.name or name_of(source),
        version=options.version or artifact.manifest.version, task=options.task or artifact.manifest.task,
    )  # fmt: skip
    return _labelled(named, options.labels) if options.labels else named


def describe(artifact: Artifact, source: Source) -> Artifact:
    """The artifact with its provenance in the manifest."""
    before = artifact.manifest.provenance or Provenance()
    provenance = Provenance(
        framework=artifact.framework, versions=before.versions or versions_of(artifact.framework), source=source.name,
        source_sha256=before.source_sha256 or _sha256(source), passes=artifact.passes,
        created=datetime.now(UTC).isoformat(timespec="seconds"), notes=artifact.notes,
    )  # fmt: skip
    return artifact.with_manifest(provenance=provenance)


def _labelled(artifact: Artifact, labels: tuple[str, ...]) -> Artifact:
    """Other names for the classes: the label output goes on giving the values that it gave."""
    manifest = artifact.manifest
    known = class_values(manifest)
    if known and len(known) != len(labels):
        raise SampleFileError(
            f"--labels: {len(labels)} labels, but the model has {len(known)} classes: {', '.join(known)}"
        )
    from msgspec.structs import replace

    outputs = tuple(replace(o, values=known) if o.role == "label" else o for o in manifest.outputs)
    return artifact.with_manifest(labels=labels, outputs=outputs)


def name_of(source: Source) -> str:
    """A name for a model that nobody gave one."""
    text = source.path.stem if source.path else source.uri.partition("/")[2] or type(source.value).__name__
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-") or "model"


_DISTRIBUTIONS = {
    "sklearn": ("scikit-learn", "skl2onnx"), "xgboost": ("xgboost-cpu", "xgboost", "onnxmltools"),
    "lightgbm": ("lightgbm", "onnxmltools"), "catboost": ("catboost",),
    "torch": ("torch", "onnxscript", "litert-torch"), "keras": ("keras", "tensorflow", "tf2onnx"),
    "tensorflow": ("tensorflow", "tf2onnx"), "tflite": ("ai-edge-litert",),
}  # fmt: skip


def versions_of(framework: str) -> dict[str, str]:
    """Versions of the libraries that took part, by distribution."""
    found: dict[str, str] = {}
    for name in ("edge-run", *_DISTRIBUTIONS.get(framework, (framework,)), "onnx", "onnxruntime"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _sha256(source: Source) -> str:
    return container.sha256(source.path) if source.path is not None and source.path.is_file() else ""


def pack(artifact: Artifact) -> bytes:
    """The bytes of the file: the model with its manifest inside."""
    return {"onnx": _pack_onnx, "tflite": _pack_tflite}[artifact.target](artifact.model, artifact.manifest)


def _pack_onnx(model: bytes, manifest: Manifest) -> bytes:
    try:
        import onnx
    except ImportError:
        raise needs("writing an ONNX file", "onnx", "convert-sklearn") from None
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


def write(artifact: Artifact, path: Path) -> Path:
    """Writes the artifact to `path`, replacing what is there only once the whole file is on the disk.

    Raises ModelError for an artifact that parity has not seen, OutputError where the place cannot be written.
    """
    if artifact.comparison is None:
        raise ModelError(f"{path.name}: this artifact has not been compared with its original; use converter.convert")
    if path.suffix != f".{artifact.target}":
        raise OutputError(f"-o {path.name}: a model for {artifact.target} has to be named *.{artifact.target}")
    write_whole(path, pack(artifact))
    return path


def write_whole(path: Path, data: bytes) -> None:
    """Bytes to a file by way of a temporary one in the same folder: fsync, then rename. Raises OutputError."""
    temporary: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as exc:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise OutputError(
            f"{path}: cannot be written ({len(data)} bytes): {exc.strerror}; nothing was left there"
        ) from exc


def _umask() -> int:
    current = os.umask(0o077)
    os.umask(current)
    return current


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
