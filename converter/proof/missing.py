"""Which features may be absent: those with which both the original and the converted model answer alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np

from converter.artifact import Artifact, Reference
from converter.errors import REFUSES_ROWS, RowsRefusedError, SampleFileError
from converter.options import Options
from converter.proof import device, parity
from converter.rows.rows import Rows, is_missing
from edge.data.tensor import Array
from edge.errors import ModelError
from edge.model.manifest import Feature, Input

# Probing each feature alone takes two runs of the original for each; wide tables are tried as a whole.
EACH_ALONE = 64
PROBES = 16


def accepted(features: Sequence[Feature], reference: Reference, rows: Rows) -> tuple[Feature, ...]:
    """The features with `missing` set where the original takes a row that lacks it."""
    base = whole_rows(rows, features)
    if base is None:  # no row has everything, so the sample itself tells
        return tuple(msgspec.structs.replace(f, missing=_answers(reference, rows)) for f in features)
    names = [f.name for f in features]
    if _answers(reference, _lacking(base, names, features)):
        allowed = set(names)
    elif len(names) > EACH_ALONE:
        allowed = set()
    else:
        allowed = {n for n in names if _answers(reference, _lacking(base, [n], features))}
    return tuple(msgspec.structs.replace(f, missing=f.name in allowed) for f in features)


def proven(artifact: Artifact) -> Artifact:
    """The artifact with `missing` only where the converted model answers as the original does."""
    features = artifact.manifest.features
    base = whole_rows(artifact.rows, features)
    if base is None or not any(f.missing for f in features):
        return artifact
    with TemporaryDirectory(prefix="edge-convert-") as folder:
        engine = device.load(artifact, Path(folder))

        def alike(names: Sequence[str]) -> bool:
            rows = _lacking(base, names, features)
            try:
                question = replace(artifact, rows=rows, challenges=())
                return not parity.compare(question, engine, Options(), timed=False).reasons
            except ModelError:
                return False

        wrong: set[str] = set()
        for kind in ("number", "text"):
            alone = [f.name for f in features if f.missing and f.kind == kind]
            groups = [[n] for n in alone] if len(alone) <= EACH_ALONE else []
            # One that fails speaks for its kind: the others may only have missed the branch that asks for them.
            if alone and not all(alike(names) for names in [*groups, alone]):
                wrong.update(alone)
        engine.close()
    if not wrong:
        return artifact
    names = ", ".join(sorted(wrong)[:4]) + (", ..." if len(wrong) > 4 else "")
    return artifact.with_manifest(inputs=tuple(_without(i, wrong) for i in artifact.manifest.inputs)).noting(
        f"the model takes rows that lack {names}, the file refuses them: it would not answer them as the model does"
    )


def usable(artifact: Artifact) -> Artifact:
    """The artifact without the sample rows that the device will refuse: those that lack what may not be missing."""
    features = [f for f in artifact.manifest.features if not f.missing]
    keep = _complete(artifact.rows, features, artifact.manifest.features)
    dropped = int(np.sum(~keep))
    if not dropped:
        return artifact
    if dropped == len(artifact.rows):
        raise SampleFileError("every row of the sample lacks a value that the model needs; give whole rows")
    rows = artifact.rows.take(np.flatnonzero(keep))
    return replace(artifact, rows=rows).noting(
        f"{dropped} rows of the sample lack a value and were left out: the device refuses such rows, since the "
        "converted model would not answer them as the original does"
    )


def _without(one: Input, wrong: set[str]) -> Input:
    features = tuple(msgspec.structs.replace(f, missing=f.missing and f.name not in wrong) for f in one.features)
    return msgspec.structs.replace(one, features=features)


def _answers(reference: Callable[[Rows], Any], rows: Rows) -> bool:
    try:
        reference(rows)
    except (RowsRefusedError, *REFUSES_ROWS):  # scikit-learn's way to say that it takes no NaN
        return False
    return True


def whole_rows(rows: Rows, features: Sequence[Feature], most: int = PROBES) -> Rows | None:
    """Some of the rows that lack nothing; None where there is none."""
    whole = np.flatnonzero(_complete(rows, features, features))
    return rows.take(whole[:most]) if len(whole) else None


def _complete(rows: Rows, needed: Sequence[Feature], features: Sequence[Feature]) -> Array:
    """[rows] True where every needed feature is there."""
    keep = np.ones(len(rows), dtype=bool)
    places = {f.name: i for i, f in enumerate(features)}
    for feature in needed:
        if rows.table and feature.kind == "number":
            keep &= ~np.isnan(rows.numbers(feature.name))
        elif rows.table:
            keep &= np.array([not is_missing(v) for v in rows.arrays[feature.name]], dtype=bool)
        else:
            keep &= np.array([not is_missing(v) for v in rows.array[:, places[feature.name]]], dtype=bool)
    return keep


def _lacking(rows: Rows, names: Sequence[str], features: Sequence[Feature]) -> Rows:
    """The rows with those features absent."""
    if rows.table:
        missing = {n: np.array([None] * len(rows), dtype=object) for n in names}
        return replace(rows, arrays={**rows.arrays, **missing}, expected=None)
    array = np.array(rows.array, dtype=np.float64)
    array[:, [i for i, f in enumerate(features) if f.name in set(names)]] = np.nan
    return replace(rows, arrays=dict.fromkeys(rows.arrays, array), expected=None)
