"""Rows that the device would refuse: a missing value, or a text that the model does not know, where it takes none."""

from __future__ import annotations

import numpy as np

from converter.rows.rows import Rows, is_missing
from converter.rows.tensors import check_columns
from edge.data.tensor import Array
from edge.model.manifest import Feature, Manifest


def refused(rows: Rows, manifest: Manifest) -> Array:
    """bool [rows]. Raises SampleFileError where a column that the model takes is not there, or is no number."""
    out = np.zeros(len(rows), dtype=bool)
    features = manifest.features
    if rows.table:
        check_columns(rows, [f.name for f in features])
        for feature in features:
            out |= _refused(rows, feature)
    elif features and len(rows.arrays) == 1:
        array = np.asarray(rows.array)
        if array.ndim == 2 and array.shape[1] == len(features) and array.dtype.kind == "f":
            needed = [i for i, f in enumerate(features) if not f.missing]
            out |= np.isnan(array[:, needed]).any(axis=1)
    return out


def _refused(rows: Rows, feature: Feature) -> Array:
    if feature.kind == "number":
        return np.zeros(len(rows), bool) if feature.missing else np.isnan(rows.numbers(feature.name))
    texts = rows.texts(feature.name)
    gone = np.array([is_missing(t) for t in texts], dtype=bool)
    unknown = ~np.isin(texts.astype(str), feature.values) & ~gone if feature.values else np.zeros(len(rows), bool)
    return unknown if feature.missing else unknown | gone
