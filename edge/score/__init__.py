"""`edge-score MODEL IN -o OUT`: what a model would have said of an archive, by the pipeline that the device runs.

An archive is cut into parts (`plan`), each is read in batches (`read`), scored (`kernel`) and written whole or not at
all (`run`, `output`), in this process or in several (`local`). Nothing here is imported by `edge-run`.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from edge.score.door import Scorer
    from edge.score.mlflow import log_mlflow, save_mlflow
    from edge.score.spark import spark_udf

__all__ = ["Scorer", "log_mlflow", "save_mlflow", "spark_udf"]

_MODULES = {"Scorer": "door", "log_mlflow": "mlflow", "save_mlflow": "mlflow", "spark_udf": "spark"}


def __getattr__(name: str) -> object:
    # Lazy: pyarrow and the engines are imported where they are used.
    if name not in _MODULES:
        raise AttributeError(f"module 'edge.score' has no attribute {name!r}")
    found: object = getattr(import_module(f"edge.score.{_MODULES[name]}"), name)
    return found
