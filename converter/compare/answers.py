"""A model file's answers to some rows, as the device would publish them: its best class, or its numbers."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import TracebackType

import numpy as np

from converter.errors import SampleFileError
from converter.proof import initial_state
from converter.proof.answers import class_values, classes_of, roles
from converter.proof.device import run
from converter.proof.parity import require_known_answers
from converter.quiet import quiet
from converter.rows.pictures import prepared
from converter.rows.rows import Rows, is_missing
from converter.rows.tensors import check_columns, feed
from edge.compare.answers import REFUSED, Answers, Classes, Numbers
from edge.data.tensor import Array
from edge.describe import describe
from edge.engines import choose
from edge.errors import ConfigError
from edge.model import container, identity
from edge.model.manifest import Feature, Manifest
from edge.plugins.protocols import EngineOptions

COMPARED = ("classify", "anomaly", "regress")


class ModelFile:
    """A model file, opened as the device opens it: by its manifest, else by what it says of itself.

    Raises ModelError for one that cannot be used, ConfigError for a task that has no answer to compare.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with quiet():
            engine = choose.load(path, EngineOptions())
        with contextlib.ExitStack() as unless_ready:
            unless_ready.callback(engine.close)
            found = container.read_manifest(path, engine.metadata)
            if found is None or not found.inputs:
                found = describe.describe(path, engine).manifest
            self.manifest = found
            self.sha256 = identity.identity(path)
            self._engine = initial_state.of(engine, found)
            _require_comparable(path, found)
            unless_ready.pop_all()

    def __enter__(self) -> ModelFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        self._engine.close()

    def answers(self, rows: Rows) -> Answers:
        """The answer to each row, one at a time where the file says so. Raises SampleFileError, ModelError."""
        ready = prepared(rows, self.manifest.inputs, self._engine.inputs)
        out = refused(ready, self.manifest)
        kept = np.flatnonzero(~out)
        if not len(kept):
            raise SampleFileError(f"{self.path.name}: the device would refuse every row of the sample (missing values)")
        tensors = feed(ready.take(kept), self.manifest.inputs)
        outputs = run(self._engine, tensors, singly=not self.manifest.batch_independent)
        if self.manifest.task == "regress":
            return Numbers(_spread(_numbers(outputs, self.manifest), kept, len(rows)))
        classes = classes_of(outputs, self.manifest)
        if classes is None:
            raise ConfigError(f"{self.path.name}: its outputs do not say which class they mean; name it with a sidecar")
        if rows.expected is not None:
            require_known_answers(rows.expected, classes, outputs, self.manifest)
        names = dict(zip(class_values(self.manifest), self.manifest.labels, strict=False))
        everywhere = np.full(len(rows), REFUSED, dtype=object)
        everywhere[kept] = classes
        return Classes(everywhere, np.array([names.get(c, c) for c in everywhere], dtype=object))

    def known_classes(self) -> tuple[set[str], set[str]]:
        """The classes that the file tells of, and their names."""
        values = class_values(self.manifest)
        return set(values), set(self.manifest.labels or values)


def _require_comparable(path: Path, manifest: Manifest) -> None:
    if manifest.task not in COMPARED:
        raise ConfigError(
            f"--compare {path.name}: its task is {manifest.task}; answers are compared of {', '.join(COMPARED)}"
        )
    if any(i.kind == "table" and i.window is not None for i in manifest.inputs):
        raise ConfigError(f"--compare {path.name}: it answers to windows of rows, and a sample's rows are single ones")
    if any(i.kind == "audio" for i in manifest.inputs):
        raise ConfigError(f"--compare {path.name}: it takes sound, and a sample is rows or pictures")


def _numbers(outputs: dict[str, Array], manifest: Manifest) -> Array:
    names = [n for n in roles(manifest, "value") if n in outputs] or list(outputs)[:1]
    first = outputs[names[0]]
    return first.astype(np.float64).reshape(len(first), -1)


def _spread(values: Array, at: Array, rows: int) -> Array:
    made = np.full((rows, values.shape[1]), np.nan)
    made[at] = values
    return made


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
