"""Which framework a model comes from, told by its content and never by unpickling it.

Each exporter recognises its own files (`ExporterInfo.recognise`); here are only the two containers that hold an object
of any framework, skops files and pickles, and objects in memory: for those the class says it.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from converter import plugins
from converter.errors import UnrecognisedError
from converter.source import Probe, Source
from converter.sources import pickles
from edge.data import magic


def recognise(model: Any, framework: str | None = None) -> Source:
    """The source of a path, a URI or a native object; `framework` overrides what was found.

    Raises UnrecognisedError for what is no model, ConfigError for an unknown `framework`.
    """
    if framework is not None:
        plugins.require_framework(framework)
    if not isinstance(model, (str, Path)):
        return _from_object(model, framework)
    source = _from_text(model, framework)
    return source if framework is None else replace(source, framework=framework)


def _from_object(value: Any, framework: str | None) -> Source:
    if framework is not None:
        return Source(framework, "object", value=value)
    for kind in type(value).__mro__:
        named = plugins.framework_of_module(kind.__module__)
        if named:
            return Source(named, "object", value=value)
    kind = type(value)
    raise UnrecognisedError(
        f"{kind.__module__}.{kind.__name__} is no model that the converter knows; it knows those of {_known()}"
    )


def _known() -> str:
    return ", ".join(name for name, info in plugins.exporters() if info.packages)


def _from_text(text: str | Path, framework: str | None) -> Source:
    if isinstance(text, str):
        for name, info in plugins.exporters():
            if text.startswith(info.schemes):
                return Source(name, name, uri=text)
    path = Path(text)
    if not path.exists():
        raise UnrecognisedError(f"{path}: there is no such file or folder; check the path")
    if path.name == "saved_model.pb":  # begins as an ONNX file may; the weights lie beside it
        path = path.parent
    probe = Probe(path)
    if not path.is_dir() and not probe.head:
        raise UnrecognisedError(f"{path.name}: the file is empty; save or copy the model again")
    return _from_probe(probe, framework)


def _from_probe(probe: Probe, framework: str | None) -> Source:
    path = probe.path
    if _is_compressed_pickle(probe):
        return _from_pickle(path, framework)
    for name, info in plugins.exporters():
        form = info.recognise(probe)
        if form:
            return Source(name, form, path)
    if "schema.json" in probe.members:
        return Source(framework or _inside_skops(path), "skops", path)
    if pickles.is_pickle(probe.head):  # after the exporters: a bare file of torch.save begins as a pickle
        return _from_pickle(path, framework)
    if framework is not None:  # the user says what it is; the exporter sees whether that is so
        return Source(framework, "", path)
    raise UnrecognisedError(_no_model(probe))


def _no_model(probe: Probe) -> str:
    name = probe.path.name
    if probe.path.is_dir():
        return f"{probe.path}: a folder with neither MLmodel (MLflow) nor saved_model.pb (TensorFlow) in it"
    if {"network.pt", "model_params.json"} <= set(probe.members):
        return (
            f"{name}: weights of pytorch-tabnet (save_model), which say nothing of the network; load_model them, and "
            "torch.save(model.network, 'network.pth') writes a file that converts"
        )
    if probe.members:
        inside = ", ".join(probe.members[:3])
        return f"{name}: a zip archive, but not of skops, Keras or PyTorch ({inside}); give the model file in it"
    if probe.json is not None:
        return f"{name}: JSON, but not an XGBoost model (it has no 'learner'); give the model file"
    known = sorted({s for _, info in plugins.exporters() for s in info.suffixes})
    other = magic.other(probe.head, probe.path.suffix)
    seen = f"this is {other}" if other else f"it begins with {probe.head[:8].hex(' ')}"
    return (
        f"{name}: no model file that the converter knows ({seen}); it knows {', '.join(known)}, skops files and pickles"
    )


def _is_compressed_pickle(probe: Probe) -> bool:
    if not pickles.is_compressed(probe.head):
        return False
    try:
        return pickles.is_pickle(pickles.decompress(probe.path.read_bytes())[:4])
    except UnrecognisedError as exc:
        raise UnrecognisedError(f"{probe.path.name}: {exc}") from exc


def _from_pickle(path: Path, framework: str | None) -> Source:
    imports = pickles.list_globals(path)
    return Source(framework or _framework_of(imports, path), "pickle", path, globals=imports)


def _inside_skops(path: Path) -> str:
    """The framework of the object in a skops file, told by its schema."""
    try:
        with zipfile.ZipFile(path) as archive:
            module = json.loads(archive.read("schema.json")).get("__module__", "")
    except (zipfile.BadZipFile, OSError, ValueError, AttributeError) as exc:
        raise UnrecognisedError(
            f"{path.name}: a skops file that is cut short or damaged ({exc}); copy it again"
        ) from exc
    return plugins.framework_of_module(str(module)) or "sklearn"


def _framework_of(imports: tuple[str, ...], path: Path) -> str:
    for name in imports:
        framework = plugins.framework_of_module(name)
        if framework:
            return framework
    raise UnrecognisedError(
        f"{path.name}: a pickle of no model that the converter knows; it would import "
        f"{', '.join(imports[:5]) or 'nothing'}; it knows those of {_known()}: save the model in it by itself, or "
        "train the like of it with one of those"
    )
