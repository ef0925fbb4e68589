"""Which engine loads a model file: by its content, as engines declare it, or by a suffix that a stranger has."""

from __future__ import annotations

from pathlib import Path

from edge.data import magic
from edge.errors import ConfigError, ModelError
from edge.model.container import read_head
from edge.plugins import registry
from edge.plugins.declarations import EngineInfo
from edge.plugins.protocols import Engine, EngineOptions

GROUP = "edge.engines"


def find(path: Path, name: str = "auto") -> tuple[str, EngineInfo]:
    """The engine for a file and its name. A suffix that is a stranger's goes before content, which may look like
    another's.

    Raises ModelError for a file that none reads, ConfigError for a name that there is not or that reads other files.
    """
    begin = read_head(path)
    if path.name == "saved_model.pb":  # begins as an ONNX file may
        raise ModelError(f"{path}: this is a part of a SavedModel; run edge-convert on the folder {path.parent.name}")
    if name != "auto":
        info = registry.declared(EngineInfo, name)
        if not info.reads(begin):
            raise _other(path, begin, name, info)
        return name, info
    registered = registry.name_for(GROUP, path.suffix)
    if registered is not None and not registry.is_own(GROUP, registered):
        return registered, registry.declared(EngineInfo, registered)
    engine = _reading(begin)
    if engine is None:
        bundled = _bundled(path) if begin.startswith(magic.ZIP) else []
        if bundled:
            raise ModelError(
                f"{path.name}: this is a bundle of MediaPipe that holds {', '.join(bundled)}; take out the one to run: "
                f"unzip {path.name} {bundled[0]}"
            )
        known = " or ".join(info.files for _, info in registry.all_declared(EngineInfo) if info.files)
        raise ModelError(f"{path.name}: {magic.description(begin, path.suffix)}; a model is {known}")
    return engine


def _bundled(path: Path) -> list[str]:
    """The .tflite files of an archive, as MediaPipe's .task is one; none where it is damaged."""
    import zipfile  # for what is no model

    try:
        with zipfile.ZipFile(path) as archive:
            return [n for n in archive.namelist()[:100] if n.endswith(".tflite")]
    except (zipfile.BadZipFile, OSError, ValueError):
        return []


def load(path: Path, options: EngineOptions, name: str = "auto") -> Engine:
    """Loads a file with its engine, whose library it imports. Raises ModelError, ConfigError."""
    name, info = find(path, name)
    return registry.checked(GROUP, name, info.library().load(path, options))


def _reading(begin: bytes) -> tuple[str, EngineInfo] | None:
    for name, info in registry.all_declared(EngineInfo):
        if info.reads(begin):
            return name, info
    return None


def _other(path: Path, begin: bytes, name: str, info: EngineInfo) -> ConfigError | ModelError:
    engine = _reading(begin)
    if engine is None:
        seen = magic.description(begin, path.suffix)
        return ModelError(f"{path.name}: {seen}; --engine {name} reads {info.files or 'others'}")
    what = engine[1].files or f"a file of {engine[0]}"
    return ConfigError(f"--engine {name}: {path.name} is {what}; leave --engine out, or say {engine[0]}")
