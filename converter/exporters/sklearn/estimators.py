"""What can be learned of a fitted scikit-learn estimator without importing scikit-learn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from converter.rows.rows import Rows
from converter.trees.tabular import spelt
from edge.data.tensor import Array
from edge.model.manifest import Feature

TEXT_VECTORIZERS = ("CountVectorizer", "TfidfVectorizer", "HashingVectorizer")


def histogram_trees(estimator: Any) -> list[Any]:
    """The trees of a fitted HistGradientBoosting, each with its `nodes`; none of another estimator.

    The one place that reads them: scikit-learn has no public name for them, and skl2onnx goes by the same one.
    """
    return [tree for stage in getattr(estimator, "_predictors", ()) for tree in stage]


def walk(model: Any, seen: set[int] | None = None) -> Iterator[Any]:
    """The estimator and every one it holds, fitted ones and parameters alike, each once."""
    seen = set() if seen is None else seen
    if id(model) in seen:
        return
    seen.add(id(model))
    if isinstance(model, dict):
        children: Iterator[Any] = iter(model.values())
    elif isinstance(model, (list, tuple)):
        children = iter(model)
    elif isinstance(model, np.ndarray):
        children = iter(model.ravel()) if model.dtype == object else iter(())
    elif hasattr(model, "get_params") and not isinstance(model, type):
        yield model
        children = iter(vars(model).values())
    elif type(model).__module__.startswith("sklearn.") and hasattr(model, "__dict__"):
        children = iter(vars(model).values())  # no estimator, but holds some: those of CalibratedClassifierCV
    else:
        return
    for child in children:
        yield from walk(child, seen)


def is_fitted(estimator: Any) -> bool:
    """False for what is there as a parameter alone: a VotingClassifier trains copies of what it was given."""
    return any(name.endswith("_") and not name.startswith("__") for name in vars(estimator))


def kind_of(estimator: Any) -> str:
    """The name of an estimator's class."""
    return type(estimator).__name__


def first_step(model: Any) -> Any:
    """The first estimator that a row meets: of a pipeline or a search, that inside it."""
    while True:
        if hasattr(model, "best_estimator_"):
            model = model.best_estimator_
        elif hasattr(model, "steps") and model.steps:
            model = next((s for _, s in model.steps if s not in (None, "passthrough")), model.steps[-1][1])
        elif hasattr(model, "regressor_") and hasattr(model, "transformer_"):
            model = model.regressor_  # of a TransformedTargetRegressor
        else:
            return model


def last_step(model: Any) -> Any:
    """The estimator that gives the answer."""
    while True:
        if hasattr(model, "best_estimator_"):
            model = model.best_estimator_
        elif hasattr(model, "steps") and model.steps:
            model = model.steps[-1][1]
        elif hasattr(model, "regressor_") and hasattr(model, "transformer_"):
            model = model.regressor_
        else:
            return model


def feature_names(model: Any, rows: Rows | None) -> tuple[str, ...]:
    """The features in the model's order: as it was trained, else as the sample's header, else x0, x1, ..."""
    trained = getattr(model, "feature_names_in_", None)
    if trained is not None:
        return spelt([str(n) for n in trained], rows)
    count = feature_count(model)
    if rows is not None and rows.table and (count is None or count == len(rows.names)):
        return rows.names
    if count is None and rows is not None and not rows.table:
        count = int(np.prod(rows.array.shape[1:]))
    return tuple(f"x{i}" for i in range(count or 1))


def feature_count(model: Any) -> int | None:
    """How many features a row has; None where the model does not say (text goes in)."""
    if kind_of(first_step(model)) in TEXT_VECTORIZERS:
        return 1
    count = getattr(model, "n_features_in_", None)
    return None if count is None else int(count)


def text_columns(model: Any, names: Sequence[str]) -> set[str]:
    """The features that the model takes as text: those whose encoder knows text categories, or is for documents."""
    first = first_step(model)
    if kind_of(first) in TEXT_VECTORIZERS:
        return set(names)
    texts: set[str] = set()
    for columns, operation in routes(first, names):
        for estimator in walk(operation):
            if kind_of(estimator) in TEXT_VECTORIZERS:
                texts.update(columns)
            categories = getattr(estimator, "categories_", None)
            if categories is not None and len(categories) == len(columns):
                texts.update(c for c, values in zip(columns, categories, strict=True) if has_text(values))
            statistics = getattr(estimator, "statistics_", None)
            if statistics is not None and len(statistics) == len(columns):
                texts.update(c for c, value in zip(columns, statistics, strict=True) if isinstance(value, str))
    return texts


def known_values(model: Any, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The texts that a feature may be, for those whose encoder refuses any other; ONNX would take it for none."""
    values_of: dict[str, tuple[str, ...]] = {}
    for columns, operation in routes(first_step(model), names):
        for estimator in walk(operation):
            categories = getattr(estimator, "categories_", None)
            if categories is None or len(categories) != len(columns):
                continue
            if getattr(estimator, "handle_unknown", "") == "error":
                for name, values in zip(columns, categories, strict=True):
                    values_of[name] = tuple(v for v in values if isinstance(v, str))
    return values_of


def dropped_columns(model: Any, names: Sequence[str]) -> set[str]:
    """The features that a ColumnTransformer in front lets no one see."""
    first = first_step(model)
    used = {c for columns, operation in routes(first, names) if operation != "drop" for c in columns}
    return set(names) - used


def has_text(values: Any) -> bool:
    """True where there is text among the values."""
    return np.asarray(values).dtype.kind in "US" or any(isinstance(v, str) for v in values)


def routes(first: Any, names: Sequence[str]) -> Iterator[tuple[list[str], Any]]:
    """The columns that each transformer of a ColumnTransformer sees; all of them for any other estimator."""
    if not hasattr(first, "transformers_"):
        yield list(names), first
        return
    for _, operation, columns in first.transformers_:
        yield column_names(columns, names), operation


def column_names(columns: Any, names: Sequence[str]) -> list[str]:
    """The names of columns given by name, place, slice or mask."""
    if isinstance(columns, slice):
        if isinstance(columns.start, str) or isinstance(columns.stop, str):
            start = names.index(columns.start) if columns.start is not None else 0
            stop = names.index(columns.stop) + 1 if columns.stop is not None else len(names)
            return list(names[start:stop])
        return list(names[columns])
    if isinstance(columns, (str, int, np.integer)):
        columns = [columns]
    if is_mask(columns):
        return [n for n, on in zip(names, columns, strict=True) if on]
    return [v if isinstance(v, str) else names[v] for v in columns]


def is_mask(columns: Any) -> bool:
    """True where each column is marked by True or False."""
    return np.ndim(columns) == 1 and len(columns) > 0 and all(isinstance(c, (bool, np.bool_)) for c in columns)


def wants_columns(model: Any, names: Sequence[str]) -> bool:
    """True where a ColumnTransformer asks for columns by name, or for all of them in another order.

    skl2onnx finds names among the inputs only, and takes a selection of all columns for no selection.
    """
    if selects_by_name(model):
        return True
    for columns, _ in routes(first_step(model), names):
        if columns != list(names) and sorted(columns) == sorted(names):
            return True
    return False


def selects_by_name(model: Any) -> bool:
    """True where a ColumnTransformer somewhere asks for columns by name."""
    return any(_by_name(columns) for e in walk(model) for _, _, columns in getattr(e, "transformers_", ()))


def _by_name(columns: Any) -> bool:
    if isinstance(columns, slice):
        return isinstance(columns.start, str) or isinstance(columns.stop, str)
    return isinstance(columns, str) or (np.ndim(columns) == 1 and any(isinstance(c, str) for c in columns))


def has_infrequent(encoder: Any) -> bool:
    """True where an encoder has put rare categories together."""
    return any(c is not None for c in getattr(encoder, "infrequent_categories_", ()))


def cluster_count(model: Any) -> int:
    """How many clusters or components a model tells apart."""
    last = last_step(model)
    centres = getattr(last, "cluster_centers_", getattr(last, "means_", None))
    return len(centres) if centres is not None else int(getattr(last, "n_clusters", 1))


def frame(rows: Rows, features: Sequence[Feature], *, named: bool) -> Any:
    """The rows as the framework takes them: a data frame where it was trained on one, else an array."""
    columns = {f.name: _values(rows, f, i) for i, f in enumerate(features)}
    if named:
        import pandas as pd

        return pd.DataFrame(columns)
    if all(f.kind == "number" for f in features):
        return np.stack(list(columns.values()), axis=1)
    return np.stack([c.astype(object) for c in columns.values()], axis=1)


def _values(rows: Rows, feature: Feature, place: int) -> Array:
    if feature.kind == "text":
        texts = rows.texts(feature.name) if rows.table else rows.array.reshape(len(rows), -1)[:, place].astype(str)
        return np.array([t if t else np.nan for t in texts], dtype=object)
    return rows.numbers(feature.name) if rows.table else rows.array[:, place].astype(np.float64)
