"""MLflow: a model of the registry (`models:/name/1`, `models:/name@alias`), of a run, or a folder with an MLmodel.

The folder holds a framework's own file; the exporter for that one does the work. Where the tracking store is say
the usual variables (MLFLOW_TRACKING_URI, MLFLOW_REGISTRY_URI, ...).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from converter import plugins
from converter.artifact import Artifact
from converter.errors import UnrecognisedError, UnsupportedError
from converter.options import Options
from converter.plugins import ExporterInfo
from converter.quiet import quiet
from converter.rows import files
from converter.rows.rows import Rows
from converter.source import Probe, Source
from converter.sources.recognise import recognise
from edge.errors import needs, one_line
from edge.model import identity

# Flavour to the exporter; None where the content decides. The order says which one of several is taken.
_FLAVOURS: dict[str, str | None] = {
    "xgboost": "xgboost", "lightgbm": "lightgbm", "catboost": "catboost", "sklearn": "sklearn", "keras": None,
    "tensorflow": None, "pytorch": "torch", "onnx": "onnx",
}  # fmt: skip
# What to do with the model of a flavour that has no exporter here.
_OPTIMUM = "export it with Optimum (optimum-cli export onnx), and convert or run that file"
_WAYS_OUT = {
    "transformers": _OPTIMUM, "sentence_transformers": _OPTIMUM,
    "spark": "export its pipeline with onnxmltools (convert_sparkml), and convert or run that file",
    "statsmodels": "train the like of it with scikit-learn (LinearRegression, PoissonRegressor, TweedieRegressor)",
    "prophet": "its forecast hangs on the date alone: make it where it was trained and send the numbers, or train a "
    "regressor of scikit-learn on features of the time",
    "paddle": "export it with paddle2onnx, and convert or run that file",
}  # fmt: skip
_CODE = "python_function"
_KEYS = ("pickled_model", "data", "model_data", "saved_model_dir")
_FILES = ("model.keras", "model.pt2", "model.onnx", "model.h5", "model.pth", "model.skops", "model.pkl", "model")


def export(source: Source, rows: Rows | None, options: Options) -> Artifact:
    """The artifact of what an MLflow model holds. Raises ModelError where there is none, UnsupportedError."""
    if source.path is not None:
        return _from_folder(source.path, source.name, rows, options)
    with TemporaryDirectory(prefix="edge-convert-") as folder:
        return _from_folder(_download(source.uri, Path(folder)), source.uri, rows, options)


def _download(uri: str, folder: Path) -> Path:
    artifacts, errors = _library("mlflow.artifacts"), _library("mlflow.exceptions")
    try:
        with quiet():
            return Path(artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder)))
    except ImportError as exc:
        raise needs("this MLflow store", exc.name or "sqlalchemy", "convert-mlflow") from None
    except (errors.MlflowException, OSError, ValueError) as exc:
        raise UnrecognisedError(
            f"{uri}: MLflow has it not: {one_line(exc)}; does MLFLOW_TRACKING_URI name the right store?"
        ) from exc


def _library(name: str) -> Any:
    try:
        with quiet():
            return importlib.import_module(name)
    except ImportError as exc:
        raise needs("the MLflow exporter", (exc.name or "mlflow").partition(".")[0], "convert-mlflow") from None


def _from_folder(folder: Path, name: str, rows: Rows | None, options: Options) -> Artifact:
    mlmodel = _read_yaml(folder / "MLmodel", name)
    flavours = mlmodel.get("flavors")
    known = [f for f in _FLAVOURS if isinstance(flavours, Mapping) and f in flavours]
    if not isinstance(flavours, Mapping) or not known:
        raise UnsupportedError(f"{name}: {_no_way(list(flavours) if isinstance(flavours, Mapping) else [])}")
    flavour = known[0]
    inner = recognise(_model_file(folder, flavours[flavour], name), _FLAVOURS[flavour])
    if rows is None and flavour == "pytorch":
        rows = _input_example(folder, mlmodel)
    artifact = plugins.exporter(inner.framework).export(inner, rows, options)
    registered = folder / "registered_model_meta"
    meta = _read_yaml(registered, name) if registered.is_file() else {}
    run = str(mlmodel.get("run_id") or "")
    path = inner.file
    artifact = artifact.with_manifest(
        name=str(meta.get("model_name") or artifact.manifest.name), version=str(meta.get("model_version") or "1")
    )
    return artifact.with_provenance(source_sha256=identity.sha256(path) if path.is_file() else "").noting(
        f"from MLflow, flavour {flavour}, {path.name}" + (f", run {run}" if run else "")
    )


def _no_way(flavours: list[str]) -> str:
    """Why a model of those flavours is not converted, and what to do."""
    known = f"the converter knows {', '.join(_FLAVOURS)}"
    own = [f for f in flavours if f != _CODE]
    if own:
        way_out = next((_WAYS_OUT[f] for f in own if f in _WAYS_OUT), "train the like of it with one of those")
        return f"the flavour {', '.join(own)} has no way to ONNX or TFLite here; {known}: {way_out}"
    if flavours:
        return (
            f"it is Python code alone (flavour {_CODE}), which no file for a device can hold; {known}: log the model "
            "that the code calls with its own flavour, and do the rest of the code before or behind it"
        )
    return f"MLmodel names no flavour; {known}: log the model again"


def _read_yaml(path: Path, name: str) -> dict[str, Any]:
    yaml = _library("yaml")
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise UnrecognisedError(f"{name}: {path.name} cannot be read: {one_line(exc)}") from exc
    if not isinstance(content, dict):
        raise UnrecognisedError(f"{name}: {path.name} does not describe an MLflow model")
    return content


def _model_file(folder: Path, flavour: Mapping[str, Any], name: str) -> Path:
    """The framework's own file or SavedModel folder in an MLflow folder."""
    file_name = next((str(flavour[k]) for k in _KEYS if isinstance(flavour.get(k), str)), "")
    path = folder / file_name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise UnrecognisedError(f"{name}: MLmodel names a file outside of its folder ({file_name})")
    for candidate in (path, path / "model"):
        if candidate.is_file() or (candidate / "saved_model.pb").is_file():
            return candidate
    inside = [path / f for f in _FILES if (path / f).is_file()]
    if not inside:
        raise UnrecognisedError(f"{name}: there is no model file in it ({file_name or 'none named'})")
    return inside[0]


def _input_example(folder: Path, mlmodel: Mapping[str, Any]) -> Rows | None:
    """The rows that MLflow kept with the model: a pickled module alone does not say what it takes."""
    if not mlmodel.get("saved_input_example_info"):
        return None
    models, errors = _library("mlflow.models"), _library("mlflow.exceptions")
    try:
        with quiet():
            example = models.Model.load(str(folder)).load_input_example(str(folder))
    except (errors.MlflowException, OSError, ValueError, KeyError, TypeError):
        return None  # then the exporter asks for --sample
    return None if example is None else replace(files.of(example), source="sample")


def form_of(probe: Probe) -> str:
    """The form of an MLflow model's folder."""
    return "mlflow" if (probe.path / "MLmodel").is_file() else ""


EXPORTER = ExporterInfo(
    edge_api=1, export=export, recognise=form_of, schemes=("models:/", "runs:/"), distributions=("mlflow",)
)
