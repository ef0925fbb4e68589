"""`edge-score MODEL IN -o OUT`: what a model would have said of an archive, by the pipeline that the device runs.

An archive is cut into parts (`plan`), each is read in batches (`read`), scored (`kernel`) and written whole or not at
all (`run`, `output`), in this process or in several (`local`). Nothing here is imported by `edge-run`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from edge.score.door import Scorer

__all__ = ["Scorer"]


def __getattr__(name: str) -> object:
    # Lazy: pyarrow and the engines are imported where they are used.
    if name in __all__:
        from edge.score import door

        return getattr(door, name)
    raise AttributeError(f"module 'edge.score' has no attribute {name!r}")
