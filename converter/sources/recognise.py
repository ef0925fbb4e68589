"""Which framework a model comes from, told by its content and never by unpickling it."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from converter.errors import UnrecognisedError
from converter.sources import pickles
from edge.errors import ConfigError
from edge.plugins import registry

Form = Literal[
    "object", "skops", "pickle", "xgboost-json", "xgboost-ubj", "lightgbm-txt", "catboost-cbm", "pt2", "torchscript",
    "torch-zip", "keras", "hdf5", "saved-model", "onnx", "tflite", "mlflow",
]  # fmt: skip

GROUP = "converter.exporters"

# The first package of a pickled object's class, or of a native object's, and the exporter for it.
PACKAGES = {
    "sklearn": "sklearn", "imblearn": "sklearn", "xgboost": "xgboost", "lightgbm": "lightgbm",
    "catboost": "catboost", "torch": "torch", "torchvision": "torch", "keras": "keras", "tensorflow": "tensorflow",
    "onnx": "onnx",
}  # fmt: skip

_FRAMEWORKS: dict[Form, str] = {
    "skops": "sklearn", "xgboost-json": "xgboost", "xgboost-ubj": "xgboost", "lightgbm-txt": "lightgbm",
    "catboost-cbm": "catboost", "pt2": "torch", "torchscript": "torch", "torch-zip": "torch", "keras": "keras",
    "hdf5": "keras", "saved-model": "tensorflow", "onnx": "onnx", "tflite": "tflite", "mlflow": "mlflow",
}  # fmt: skip


# torch.save before it wrote zip archives: a pickle of its magic number comes first.
_OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


@dataclass(frozen=True, slots=True)
class Source:
    """A model before its conversion: a native `value`, or a `path` (for MLflow also a URI in `uri`).

    `framework` is the exporter's name. `globals` are what a pickle would import.
    """

    framework: str
    form: Form
    path: Path | None = None
    value: Any = None
    uri: str = ""
    globals: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.uri or (self.path.name if self.path else type(self.value).__name__)

    @property
    def file(self) -> Path:
        """The path of a source that is a file or folder."""
        if self.path is None:
            raise UnrecognisedError(f"{self.name}: a file belongs here")
        return self.path


def recognise(model: Any, framework: str | None = None) -> Source:
    """The source of a path, a URI or a native object; `framework` overrides what was found.

    Raises UnrecognisedError for what is no model, ConfigError for an unknown `framework`.
    """
    source = _from_text(model) if isinstance(model, (str, Path)) else _from_object(model)
    if framework is None:
        return source
    known = registry.names(GROUP)
    if framework not in known:
        raise ConfigError(f"--framework {framework}: there is none by that name; known: {', '.join(known)}")
    return Source(framework, source.form, source.path, source.value, source.uri, source.globals)


def _from_object(value: Any) -> Source:
    for kind in type(value).__mro__:
        framework = PACKAGES.get(kind.__module__.partition(".")[0])
        if framework is not None:
            return Source(framework, "object", value=value)
    kind = type(value)
    raise UnrecognisedError(
        f"{kind.__module__}.{kind.__name__} is no model that the converter knows; it knows those of "
        f"{', '.join(sorted(set(PACKAGES.values())))}"
    )


def _from_text(text: str | Path) -> Source:
    if isinstance(text, str) and text.startswith(("models:/", "runs:/")):
        return Source("mlflow", "mlflow", uri=text)
    path = Path(text)
    if not path.exists():
        raise UnrecognisedError(f"{path}: there is no such file or folder")
    if path.is_dir():
        return _from_folder(path)
    form = _form(path)
    if form == "skops":
        return Source(_inside_skops(path), form, path)
    if form != "pickle":
        return Source(_FRAMEWORKS[form], form, path)
    imports = pickles.list_globals(path)
    return Source(_framework_of(imports, path), form, path, globals=imports)


def _from_folder(path: Path) -> Source:
    if (path / "MLmodel").is_file():
        return Source("mlflow", "mlflow", path)
    if (path / "saved_model.pb").is_file():
        return Source("tensorflow", "saved-model", path)
    raise UnrecognisedError(f"{path}: a folder with neither MLmodel (MLflow) nor saved_model.pb (TensorFlow) in it")


def _form(path: Path) -> Form:
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        raise UnrecognisedError(f"{path.name}: the file is empty; save or copy the model again")
    if head.startswith(b"PK\x03\x04"):
        return _zip_form(path)
    if head[4:8] == b"TFL3":
        return "tflite"
    if head.startswith(b"CBM1"):
        return "catboost-cbm"
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "hdf5"
    if head.startswith((b"tree\n", b"tree\r\n")):
        return "lightgbm-txt"
    if head.startswith(b"{L") and b"learner" in head[:32]:
        return "xgboost-ubj"
    if head.lstrip().startswith(b"{"):
        return _json_form(path)
    if head.startswith(_OLD_TORCH):
        return "torch-zip"
    if pickles.is_pickle(head) or pickles.is_pickle(_inflated_head(path, head)):
        return "pickle"
    if _looks_like_onnx(head):
        return "onnx"
    raise UnrecognisedError(f"{path.name}: no model file that the converter knows (it begins with {head[:8].hex(' ')})")


def _inflated_head(path: Path, head: bytes) -> bytes:
    if any(head.startswith(magic) for magic, _ in pickles._COMPRESSED):
        return pickles.decompress(path.read_bytes())[:4]
    return b""


def _looks_like_onnx(head: bytes) -> bool:
    # As edge.model.container tells it: protobuf, field 1 (ir_version) first, or another field of ModelProto.
    return len(head) > 8 and ((head[0] == 0x08 and head[1] < 0x40) or head[0] in (0x12, 0x3A, 0x42, 0x72))


def _json_form(path: Path) -> Form:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as exc:
        raise UnrecognisedError(f"{path.name}: JSON that is cut short or damaged ({exc}); save it again") from exc
    if isinstance(content, dict) and "learner" in content:
        return "xgboost-json"
    raise UnrecognisedError(f"{path.name}: JSON, but not an XGBoost model (it has no 'learner'); give the model file")


def _zip_form(path: Path) -> Form:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError) as exc:
        raise UnrecognisedError(
            f"{path.name}: a zip archive that is cut short or damaged ({exc}); copy it again"
        ) from exc
    leaves = {n.partition("/")[2] for n in names}
    if "schema.json" in names:
        return "skops"
    if "config.json" in names and any(n.endswith(".weights.h5") for n in names):
        return "keras"
    if "archive_format" in leaves or "serialized_exported_program.json" in names:
        return "pt2"
    if "data.pkl" in leaves:
        scripted = any(leaf.startswith("code/") for leaf in leaves) or "constants.pkl" in leaves
        return "torchscript" if scripted else "torch-zip"
    raise UnrecognisedError(f"{path.name}: a zip archive, but not of skops, Keras or PyTorch ({', '.join(names[:3])})")


def _inside_skops(path: Path) -> str:
    """The framework of the object in a skops file, told by its schema."""
    try:
        with zipfile.ZipFile(path) as archive:
            module = json.loads(archive.read("schema.json")).get("__module__", "")
    except (zipfile.BadZipFile, OSError, ValueError, AttributeError) as exc:
        raise UnrecognisedError(
            f"{path.name}: a skops file that is cut short or damaged ({exc}); copy it again"
        ) from exc
    return PACKAGES.get(str(module).partition(".")[0], "sklearn")


def _framework_of(imports: tuple[str, ...], path: Path) -> str:
    for name in imports:
        framework = PACKAGES.get(name.partition(".")[0])
        if framework is not None:
            return framework
    raise UnrecognisedError(
        f"{path.name}: a pickle of no model that the converter knows; it would import "
        f"{', '.join(imports[:5]) or 'nothing'}"
    )
