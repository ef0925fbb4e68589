"""The registry of MLflow as the source of what a fleet gets: `models:/digits@champion`.

What is registered is either a model file, logged by `edge.score.log_mlflow`, which is taken as it is, or the model of a
framework, which `edge-convert` makes a file of, in a process of its own. Where the registry is say MLflow's variables.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from edge.errors import ConfigError, ModelError, UnavailableError, needs, one_line

SCHEME = "models:/"
LOADER = "edge.score.mlflow"
"""What MLflow loads a model by that `edge.score` has logged."""
_URI = re.compile(r"models:/+(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>[0-9]+))")
_AWAY = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED")


class Wanted(msgspec.Struct, frozen=True):
    """A version by its number, or the one that an alias names now."""

    name: str
    version: str = ""
    alias: str = ""

    @property
    def uri(self) -> str:
        return f"{SCHEME}{self.name}@{self.alias}" if self.alias else f"{SCHEME}{self.name}/{self.version}"


class Registered(msgspec.Struct, frozen=True):
    """A version in the registry; `run` is the one that logged it, `alias` that by which it was asked for."""

    name: str
    version: str
    run: str = ""
    alias: str = ""

    @property
    def uri(self) -> str:
        return f"{SCHEME}{self.name}/{self.version}"

    @property
    def origin(self) -> dict[str, str]:
        """As it is signed beside the release."""
        said = {"registry": self.uri, "alias": self.alias, "run": self.run}
        return {key: value for key, value in said.items() if value}


class Fetched(msgspec.Struct, frozen=True):
    """What the registry had: MLflow's folder, and what is in it."""

    folder: Path
    flavours: tuple[str, ...]
    ours: bool
    """It is a model file that `edge.score` logged."""


class Registry(Protocol):
    """Raises ConfigError for what is not there, UnavailableError where the registry is away."""

    def find(self, wanted: Wanted) -> Registered: ...

    def fetch(self, registered: Registered, folder: Path) -> Fetched: ...


def parse(uri: str) -> Wanted:
    """Raises ValueError."""
    match = _URI.fullmatch(uri)
    if match is None:
        raise ValueError("models:/NAME@ALIAS or models:/NAME/VERSION belongs there")
    return Wanted(match["name"], match["version"] or "", match["alias"] or "")


class Mlflow:
    """The registry that MLFLOW_TRACKING_URI and MLFLOW_REGISTRY_URI name."""

    def find(self, wanted: Wanted) -> Registered:
        mlflow = _mlflow()
        client = mlflow.MlflowClient()
        try:
            if wanted.alias:
                found = client.get_model_version_by_alias(wanted.name, wanted.alias)
            else:
                found = client.get_model_version(wanted.name, wanted.version)
        except (mlflow.exceptions.MlflowException, OSError) as exc:
            raise _told(wanted.uri, exc) from exc
        return Registered(wanted.name, str(found.version), str(found.run_id or ""), wanted.alias)

    def fetch(self, registered: Registered, folder: Path) -> Fetched:
        mlflow = _mlflow()
        try:
            path = Path(mlflow.artifacts.download_artifacts(artifact_uri=registered.uri, dst_path=str(folder)))
            flavours: Mapping[str, Any] = mlflow.models.Model.load(str(path)).flavors
        except (mlflow.exceptions.MlflowException, OSError, ValueError) as exc:
            raise _told(registered.uri, exc) from exc
        names = tuple(name for name in flavours if name != "python_function")
        ours = flavours.get("python_function", {}).get("loader_module") == LOADER
        return Fetched(path, names, ours)


def _mlflow() -> Any:
    try:
        import mlflow
        import mlflow.artifacts
        import mlflow.models
    except ImportError as exc:
        raise needs(f"{SCHEME}...", f"mlflow ({exc})", "fleet,convert-mlflow") from exc
    return mlflow


def _told(uri: str, exc: Exception) -> ConfigError | UnavailableError:
    way_out = "does MLFLOW_TRACKING_URI name the right registry?"
    if getattr(exc, "error_code", "INTERNAL_ERROR") in _AWAY:
        return UnavailableError(f"{uri}: the registry does not answer: {one_line(exc)}; {way_out}")
    return ConfigError(f"{uri}: the registry has it not: {one_line(exc)}; {way_out}")


class Conversion(msgspec.Struct, frozen=True):
    """How the model of a framework becomes a file. `sample` None: not at all."""

    sample: Path | None = None
    trust_pickle: bool = False
    force: bool = False


def model_file(registry: Registry, registered: Registered, folder: Path, conversion: Conversion) -> Path:
    """The model file of a version, in `folder`. Raises ConfigError, ModelError, UnavailableError."""
    fetched = registry.fetch(registered, folder)
    files = [p for p in sorted(fetched.folder.rglob("*")) if p.suffix in (".onnx", ".tflite") and p.is_file()]
    if fetched.ours or (conversion.sample is None and len(files) == 1):
        if len(files) != 1:
            raise ModelError(f"{registered.uri}: {len(files)} model files are in it; one belongs there")
        return files[0]
    if conversion.sample is None:
        kinds = ", ".join(fetched.flavours) or "another kind"
        raise ModelError(
            f"{registered.uri} is a model of {kinds}, no model file: --sample ROWS.csv has edge-convert make one; "
            f"or log what edge-convert {registered.uri} writes, by edge.score.log_mlflow"
        )
    return _converted(registered, folder / "converted.onnx", conversion)


def _converted(registered: Registered, out: Path, conversion: Conversion) -> Path:
    words = [registered.uri, "-o", str(out), "--sample", str(conversion.sample), "--version", registered.version]
    words += ["--trust-pickle"] * conversion.trust_pickle + ["--force"] * conversion.force
    done = subprocess.run(
        [sys.executable, "-m", "converter.cli", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        reason = next((line for line in said if "error:" in line), said[-1] if said else f"exit code {done.returncode}")
        raise ModelError(f"{registered.uri}: {' '.join(reason.split())[:600]}")
    return out
