"""`edge-score MODEL IN -o OUT`: what a model would have said of an archive, by the pipeline that the device runs.

An archive is cut into parts (`plan`), each is read in batches (`read`), scored (`kernel`) and written whole or not at
all (`run`, `output`), in this process or in several (`local`). Nothing here is imported by `edge-run`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from edge.score.door import Scorer
    from edge.score.spark import spark_udf

__all__ = ["Scorer", "spark_udf"]


def __getattr__(name: str) -> object:
    # Lazy: pyarrow and the engines are imported where they are used.
    if name == "Scorer":
        from edge.score.door import Scorer

        return Scorer
    if name == "spark_udf":
        from edge.score.spark import spark_udf

        return spark_udf
    raise AttributeError(f"module 'edge.score' has no attribute {name!r}")
