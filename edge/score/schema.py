"""Which columns a model's results have, by its task (docs/SCORE.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
import numpy as np
import pyarrow as pa

from edge.app.loading import Loaded
from edge.data.tensor import Array
from edge.data.vocabulary import OBJECTS
from edge.errors import ConfigError
from edge.plugins.columns import Column, Columns, Words
from edge.postprocess import regress
from edge.score import arrow

ERROR = "error"
"""Why a row has no result; null where it has one."""
_POINTS = pa.list_(pa.list_(pa.float64()))
_DETECTION = pa.struct(
    [
        ("index", pa.int32()),
        ("label", pa.string()),
        ("score", pa.float64()),
        ("box", pa.list_(pa.float64())),
        ("keypoints", _POINTS),
        ("angle", pa.float64()),
        ("corners", _POINTS),
        ("polygons", pa.list_(_POINTS)),
    ]
)

Values: TypeAlias = Callable[[Sequence[Any]], Mapping[str, Any]]
"""What the predictions of one result are in these columns; a column that is not named is null."""


class ResultColumns(msgspec.Struct, frozen=True):
    """Names and types, the values of a single result, and those that the summary counts: `label` is the column of
    classes, `numbers` are columns of numbers."""

    fields: tuple[pa.Field, ...]
    values: Values
    label: str = ""
    numbers: tuple[str, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """Of the columns, `error` among them."""
        return frozenset([*(f.name for f in self.fields), ERROR])

    def arrays(self, found: Columns) -> list[pa.Array]:
        """As Arrow has them, in order. Raises KeyError where a postprocessor gives other columns."""
        return [_array(found.values[f.name], f.type, found.empty) for f in self.fields]

    def classes(self, found: Columns) -> dict[str, int] | None:
        """How often each class stands there; None where each row has to be looked at for that."""
        column = found.values.get(self.label)
        if not isinstance(column, Words):
            return None
        codes = column.codes if found.empty is None else column.codes[~found.empty]
        counted: Counter[str] = Counter()
        for word, count in zip(column.words, np.bincount(codes).tolist(), strict=False):
            counted[word] += count
        return {word: count for word, count in counted.items() if count}

    def of_rows(self, predictions: Sequence[Sequence[Any] | None]) -> list[pa.Array]:
        """The same of results one by one; None: there is no result."""
        rows = [{} if p is None else self.values(p) for p in predictions]
        columns = [[row.get(f.name) for row in rows] for f in self.fields]
        return [arrow.of_values(values, f.type) for f, values in zip(self.fields, columns, strict=True)]


def of(loaded: Loaded) -> ResultColumns:
    """By the task of the model. Raises ModelError."""
    task = loaded.manifest.task
    if task == "classify":
        classes = _fields(("label", pa.string()), ("index", pa.int32()), ("score", pa.float64()))
        return ResultColumns(classes, _first, "label", ("score",))
    if task == "anomaly":
        anomaly = _fields(("score", pa.float64()), ("is_anomaly", pa.bool_()))
        return ResultColumns(anomaly, _first, "is_anomaly", ("score",))
    if task == "regress":
        return _of_regression(loaded)
    if task in OBJECTS:
        boxes = _fields(("count", pa.int32()), ("predictions", pa.list_(_DETECTION)))
        return ResultColumns(boxes, _detections, "predictions")
    if task == "segment":
        areas = _fields(("labels", pa.list_(pa.string())), ("areas", pa.list_(pa.float64())))
        return ResultColumns(areas, _first)
    if task == "text":
        return ResultColumns(_fields(("text", pa.string()), ("score", pa.float64())), _first, "", ("score",))
    return ResultColumns(_fields(("predictions", pa.string())), _json)


def require_apart(kept: Sequence[str], columns: ResultColumns) -> None:
    """Raises ConfigError where a column that is kept has the name of one of the results'."""
    twice = next((name for name in kept if name in columns.names or kept.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(
            f"--columns {twice}: the results would have two columns {twice!r}; give it another name: "
            f"--columns {twice}=my_{twice}"
        )


def _of_regression(loaded: Loaded) -> ResultColumns:
    named = [name for name, _ in regress.named(loaded.manifest, loaded.engine.outputs)]
    fixed = all(isinstance(d, int) for s in loaded.engine.outputs for d in (s.shape or (None,))[1:])
    if not fixed or len(set(named)) < len(named) or ERROR in named:
        return ResultColumns(_fields(("predictions", pa.string())), _json)
    return ResultColumns(_fields(*((name, pa.float64()) for name in named)), _by_name, "", tuple(named))


def _fields(*pairs: tuple[str, pa.DataType]) -> tuple[pa.Field, ...]:
    return tuple(pa.field(name, kind) for name, kind in pairs)


def _first(predictions: Sequence[Any]) -> Mapping[str, Any]:
    """The best, or the only one."""
    return msgspec.structs.asdict(predictions[0]) if predictions else {}


def _by_name(predictions: Sequence[Any]) -> Mapping[str, Any]:
    return {p.name: float(p.value) for p in predictions}


def _detections(predictions: Sequence[Any]) -> Mapping[str, Any]:
    return {"count": len(predictions), "predictions": msgspec.to_builtins(list(predictions))}


def _json(predictions: Sequence[Any]) -> Mapping[str, Any]:
    return {"predictions": msgspec.json.encode(predictions).decode()}


def _array(column: Column, kind: pa.DataType, empty: Array | None) -> pa.Array:
    if isinstance(column, Words):
        made = arrow.of_words(column.codes, column.words, empty)
    else:
        # Whole numbers are places among the classes.
        narrow = pa.types.is_int32(kind) and column.dtype.kind == "i"
        made = arrow.from_numpy(column.astype(np.int32) if narrow else column, empty)
    return made if made.type == kind else made.cast(kind)
