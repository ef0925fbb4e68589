"""A model file as a model of MLflow: `edge.score.save_mlflow`, `edge.score.log_mlflow`.

MLflow's `pyfunc` keeps the file and loads it by `_load_pyfunc` of this module, so `mlflow.pyfunc.load_model` and
`mlflow models serve` need nothing of it but edge-run installed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from edge import __version__
from edge.app import assembly
from edge.app.loading import Loaded
from edge.errors import ConfigError, EdgeError, needs
from edge.score import files
from edge.score.door import Scorer
from edge.score.kernel import Kernel

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.models.model import ModelInfo

CONTENT = "content"
"""The column of a model that takes files: what stands in each, as bytes; in JSON base64."""


def save_mlflow(model: str | Path, folder: str | Path, **more: Any) -> None:
    """Writes a model of MLflow's to a folder that is not there yet. `more`: what `mlflow.pyfunc.save_model` takes.

    Raises ModelError; ConfigError for a model that takes windows, or where MLflow is not installed.
    """
    pyfunc = _pyfunc()
    with _said(model) as said:
        pyfunc.save_model(str(folder), **{**said, **more})


def log_mlflow(model: str | Path, name: str, **more: Any) -> ModelInfo:
    """Logs it to the run that is under way. `more`: what `mlflow.pyfunc.log_model` takes, `registered_model_name` for
    one. Raises as `save_mlflow` does."""
    pyfunc = _pyfunc()
    with _said(model) as said:
        return pyfunc.log_model(name=name, **{**said, **more})


class Predictor:
    """What `mlflow.pyfunc.load_model` wraps. One thread at a time."""

    def __init__(self, path: Path) -> None:
        self._loaded = assembly.load(path).loaded
        self._features = [f.name for f in self._loaded.features]
        self._kernel = Kernel(self._loaded, batch=1)
        self._scorer = Scorer(path)

    def predict(self, rows: pd.DataFrame | Any, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """A row of results for each row, with the columns of docs/SCORE.md. An array has its columns in the model's
        order. Raises MlflowException for rows that the model does not take."""
        import pandas as pd
        from mlflow.exceptions import MlflowException

        try:
            frame = rows if isinstance(rows, pd.DataFrame) else self._named(pd.DataFrame(rows))
            if self._features:
                return _frame(self._scorer(pa.Table.from_pandas(frame, preserve_index=False)))
            if list(frame.columns) != [CONTENT]:
                raise ConfigError(
                    f"{self._loaded.path.name} takes files: one column {CONTENT!r} with bytes belongs there"
                )
            found = self._kernel.samples([bytes(content) for content in frame[CONTENT]])
            return _frame(pa.Table.from_batches([found.batch]))
        except (EdgeError, pa.ArrowException, TypeError) as exc:
            raise MlflowException.invalid_parameter_value(str(exc)) from exc

    def _named(self, frame: pd.DataFrame) -> pd.DataFrame:
        plain = all(isinstance(name, int) for name in frame.columns)
        return frame.set_axis(self._features, axis=1) if plain and len(self._features) == frame.shape[1] else frame


def _frame(table: pa.Table) -> pd.DataFrame:
    """With None where there is nothing: NaN would stand in the JSON of `mlflow models serve`, which knows none."""
    frame = table.to_pandas(integer_object_nulls=True)
    empty = [name for name in frame.columns if frame[name].isna().any()]
    return frame.assign(**{name: frame[name].astype(object).where(frame[name].notna(), None) for name in empty})


def _load_pyfunc(path: str) -> Predictor:
    """MLflow calls it with the folder that was saved. Raises ModelError."""
    (model,) = (p for p in Path(path).iterdir() if p.suffix in (".onnx", ".tflite"))
    return Predictor(model)


@contextmanager
def _said(model: str | Path) -> Iterator[dict[str, Any]]:
    """Arguments for MLflow; the folder among them is there for as long as this lasts."""
    loaded = assembly.load(Path(model)).loaded
    signature = _signature(loaded)
    with tempfile.TemporaryDirectory(prefix="edge-score-") as folder:
        for name, content in files.of(loaded).items():
            path = Path(folder, "model", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        yield {
            "loader_module": __name__,
            "data_path": str(Path(folder, "model")),
            "pip_requirements": [f"edge-run[score]=={__version__}", "pandas"],
            "signature": signature,
            "metadata": {"edge_model": loaded.manifest.name, "edge_sha256": loaded.sha256},
        }


def _signature(loaded: Loaded) -> ModelSignature:
    """Columns in and out. Numbers are of any kind: MLflow would refuse whole numbers where `double` is said."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema
    from mlflow.types.schema import AnyType

    kernel = Kernel(loaded, batch=1)
    if kernel.in_order:
        raise ConfigError(f"{loaded.path.name}: it takes windows, or keeps a state: MLflow's rows are single ones")
    features = loaded.features
    inputs = [ColSpec(_KINDS[f.kind] or AnyType(), f.name) for f in features] or [ColSpec("binary", CONTENT)]
    outputs = [ColSpec(_WORDS.get(f.type) or AnyType(), f.name) for f in kernel.schema]
    return ModelSignature(Schema(inputs) if all(i.name for i in inputs) else None, Schema(outputs))


_KINDS = {"number": "", "text": "string"}
_WORDS = {pa.string(): "string", pa.float64(): "double", pa.bool_(): "boolean"}


def _pyfunc() -> Any:
    try:
        import mlflow.pyfunc
    except ImportError as exc:
        raise needs("a model of MLflow's", "mlflow", "score-mlflow") from exc
    return mlflow.pyfunc
