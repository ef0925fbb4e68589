"""Rows made up for an estimator from its scalers, thresholds and encoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from converter.exporters.sklearn import estimators, sentences
from converter.rows.rows import Rows
from converter.rows.synthetic import COUNT, SEED, spread_of
from edge.data.tensor import Array
from edge.model.manifest import Feature


def table_rows(model: Any, features: Sequence[Feature]) -> Rows:
    """A table of `COUNT` rows for an estimator: numbers around its scalers or thresholds, text from its encoders."""
    random = np.random.default_rng(SEED)
    centre, spread = _ranges(model, len(features))
    known = _categories(model, [f.name for f in features])
    texts = sentences.by_column(model, [f.name for f in features], random, COUNT)
    columns: dict[str, Array] = {}
    for place, feature in enumerate(features):
        values = known.get(feature.name)
        if values is not None:
            columns[feature.name] = np.array(
                [values[i] for i in random.integers(len(values), size=COUNT)], dtype=object
            )
        elif feature.kind == "text":
            words = np.array(["a few words of text"] * COUNT, dtype=object)
            columns[feature.name] = texts.get(feature.name, words)
        else:
            columns[feature.name] = random.normal(centre[place], spread[place], COUNT)
    return Rows(columns, table=True, source="generated")


def _ranges(model: Any, count: int) -> tuple[Array, Array]:
    """Centre and spread of each feature: from a scaler that sees all of them, else the thresholds of trees."""
    for estimator in estimators.walk(model):
        if _sees(estimator, "mean_", count) and _sees(estimator, "scale_", count):
            return np.asarray(estimator.mean_), np.asarray(estimator.scale_)
        if _sees(estimator, "data_min_", count):
            low, high = np.asarray(estimator.data_min_), np.asarray(estimator.data_max_)
            return (low + high) / 2, (high - low) / 2 + 1e-9
    return spread_of(list(_thresholds(model)), count)


def _sees(estimator: Any, attribute: str, count: int) -> bool:
    value = getattr(estimator, attribute, None)
    return value is not None and np.shape(value) == (count,)


def thresholds_of_features(model: Any) -> list[tuple[int, float]]:
    """(feature's place, number) pairs at which trees decide that see the features as they come; none behind a step."""
    first = estimators.first_step(model)
    return _thresholds(first) if first is estimators.last_step(model) and not hasattr(first, "transformers_") else []


def _thresholds(model: Any) -> list[tuple[int, float]]:
    pairs: list[tuple[int, float]] = []
    for estimator in estimators.walk(model):
        tree = getattr(estimator, "tree_", None)
        if tree is not None:
            inner = tree.feature >= 0
            pairs += list(zip(tree.feature[inner].tolist(), tree.threshold[inner].tolist(), strict=True))
        for grown in estimators.histogram_trees(estimator):
            nodes = grown.nodes[grown.nodes["is_leaf"] == 0]
            pairs += list(zip(nodes["feature_idx"].tolist(), nodes["num_threshold"].tolist(), strict=True))
    return pairs


def _categories(model: Any, names: Sequence[str]) -> dict[str, list[Any]]:
    by_column: dict[str, list[Any]] = {}
    for columns, operation in estimators.routes(estimators.first_step(model), names):
        for estimator in estimators.walk(operation):
            categories = getattr(estimator, "categories_", None)
            if categories is None or len(categories) != len(columns):
                continue
            for name, values in zip(columns, categories, strict=True):
                by_column[name] = [v for v in values if v is not None and v == v]
    return {name: values for name, values in by_column.items() if values}
