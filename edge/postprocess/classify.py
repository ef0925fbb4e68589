"""Classes and their scores.

The scores come from one float output ([1, C], or any shape of C values; one value for a two-class model), from one
for each class, or from a sequence of maps (ZipMap). Where the model has an output of its own for the label, that
label comes first: a two-class SVC without probabilities gives scores whose argmax is the opposite of its label.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from edge.data.result import Classification
from edge.data.sample import ModelInput
from edge.data.scores import Watch, activate
from edge.data.tensor import STRING, Array, Tensors, TensorSpec
from edge.describe.head import HeadInfo
from edge.errors import ModelError, SampleError
from edge.model.manifest import Manifest
from edge.plugins.columns import Columns, Words

DEFAULT_TOP_K = 5
_SCORE = operator.itemgetter(0)
_NEAR = 1024
"""So far apart numbers of classes are looked up by place."""


class Classifier:
    """Sorts by score, cuts at the threshold and at `top_k`."""

    def __init__(self, manifest: Manifest, scores: str | None, label: str | None) -> None:
        self._scores = scores
        self._columns = tuple(o.name for o in manifest.outputs if o.role == "scores")
        self._label = label
        self._labels = manifest.labels
        self._shown = list(manifest.labels)
        """By class; one without a label is called by its number."""
        values = next((o.values for o in manifest.outputs if o.name == label and o.values), manifest.labels)
        self._index = {text: i for i, text in enumerate(values)}
        self._activation = manifest.activation
        self._threshold = manifest.threshold
        self._watch = Watch(manifest.name)
        self._top_k = (DEFAULT_TOP_K if manifest.top_k is None else manifest.top_k) or sys.maxsize

    def __call__(self, outputs: Tensors, model_input: ModelInput) -> list[Classification]:
        if self._scores is None:
            return [self._alone(self._label_of(outputs))]
        labels: Sequence[str] = self._labels
        raw = self._given(outputs)
        if isinstance(raw, (list, dict)):
            labels, scores = _from_map(raw)
            names: Sequence[str] = labels
            finite = bool(np.isfinite(scores).all())
        else:
            scores = self._probabilities(np.asarray(raw, dtype=np.float64).reshape(1, -1))
            names = self._names(scores.shape[1])
            finite = self._watch.finite
        if not finite:
            raise SampleError(f"the model's output {self._scores!r} is not finite")
        if self._label is None:
            return self._best_of(scores[0], names)
        label = self._label_of(outputs)
        first = self._place(label, labels, scores[0])
        if first is None:
            # Classes that nobody named, and not numbered from 0: the model's own label is all that is sure.
            return [Classification(index=int(scores.argmax()), label=label, score=round(float(scores.max()), 6))]
        return self._best_of(scores[0], names, first)

    def _given(self, outputs: Tensors) -> Any:
        """The scores as the model gives them; those of an output for each class side by side."""
        if len(self._columns) > 1:
            return np.column_stack([np.ravel(outputs[name]) for name in self._columns])
        return outputs[self._scores] if self._scores is not None else None

    def _place(self, label: str, labels: Sequence[str], scores: Array) -> int | None:
        """Which score is that of the model's own label."""
        if label in labels:
            return list(labels).index(label)
        first = self._index.get(label)
        return int(label) if first is None and label == str(int(scores.argmax())) else first

    def _label_of(self, outputs: Tensors) -> str:
        return _text(np.asarray(outputs[self._label or ""]).ravel()[:1].tolist()[0])

    def _alone(self, label: str) -> Classification:
        index = self._index.get(label, int(label) if label.isdigit() else -1)
        shown = self._labels[index] if label in self._index and index < len(self._labels) else label
        return Classification(index=index, label=shown, score=1.0)

    def many(self, outputs: Tensors, count: int) -> list[list[Classification]] | None:
        """Where the scores of each sample are a row."""
        scores = self._rows_of(outputs, count)
        if scores is None:
            return None
        if self._label is None:
            return self._best(scores)
        labels = np.asarray(outputs[self._label]).ravel().tolist()
        first = [self._place(_text(v), self._labels, row) for v, row in zip(labels, scores, strict=True)]
        return None if None in first else self._best(scores, first)

    def to_columns(self, outputs: Tensors, count: int) -> Columns | None:
        """The best class of each row: `label`, `index` and `score`."""
        scores = self._rows_of(outputs, count)
        if scores is None:
            return None
        index = self._first(scores) if self._label is None else self._own_first(outputs[self._label], scores)
        if index is None:
            return None
        best = scores[np.arange(count), index]
        empty = None if self._threshold is None else best < self._threshold
        if empty is not None and (scores[empty] >= self._threshold).any():
            return None  # another class than the model's own is reported
        names = self._names(scores.shape[1])[: scores.shape[1]]
        return Columns({"label": Words(index, names), "index": index, "score": best.round(6)}, empty)

    def _first(self, scores: Array) -> Array:
        """The best class of each row by its score."""
        reported = min(self._top_k, scores.shape[1])
        return scores.argmax(axis=1) if reported == scores.shape[1] else _order(scores, reported)[:, 0]

    def _own_first(self, own: Any, scores: Array) -> Array | None:
        """The class of each row that its own label says, where it has a score; None where that has to be looked at."""
        values, which = _distinct(np.asarray(own).ravel())
        known = {text: i for i, text in reversed([*enumerate(self._labels)])}
        texts = [_text(value) for value in values.tolist()]
        places = np.array([known.get(text, self._index.get(text, -1)) for text in texts])[which]
        unknown = np.flatnonzero(places < 0)
        highest = scores[unknown].argmax(axis=1)
        if any(texts[which[row]] != str(best) for row, best in zip(unknown.tolist(), highest.tolist(), strict=True)):
            return None
        places[unknown] = highest
        beyond = places >= scores.shape[1]
        return np.where(beyond, self._first(scores), places) if beyond.any() else places

    def _rows_of(self, outputs: Tensors, count: int) -> Array | None:
        """Probabilities, a row for each sample; None where the model gives none, or one that is no number."""
        raw = self._given(outputs)
        if not isinstance(raw, np.ndarray):
            return None
        scores = self._probabilities(np.asarray(raw, dtype=np.float64).reshape(count, -1))
        return scores if self._watch.finite else None

    def _probabilities(self, scores: Array) -> Array:
        """Rows of logits, or of what the model gives, to rows of probabilities."""
        scores = self._watch(activate(scores, self._activation) if self._activation else scores)
        if scores.shape[1] == 1 and len(self._labels) == 2:
            scores = np.concatenate([1.0 - scores, scores], axis=1)
        return scores

    def _names(self, count: int) -> list[str]:
        """Of so many classes, or more."""
        self._shown += map(str, range(len(self._shown), count))
        return self._shown

    def _best_of(self, scores: Array, names: Sequence[str], first: int | None = None) -> list[Classification]:
        """`_best` of a lone row, in half as many calls: after an inference each of them is read from memory anew."""
        count = min(self._top_k, len(scores))
        places = (-scores).argpartition(count - 1)[:count] if count < len(scores) else np.arange(len(scores))
        top = scores[places]
        found = sorted(zip(top.tolist(), top.round(6).tolist(), places.tolist(), strict=True), key=_SCORE, reverse=True)
        if first is not None and first < len(scores) and found[0][2] != first:
            own = (float(scores[first]), float(scores[first].round(6)), first)
            found = [own, *(one for one in found if one[2] != first)][:count]
        return [
            Classification(place, names[place], score)
            for exact, score, place in found
            if self._threshold is None or exact >= self._threshold
        ]

    def _best(self, scores: Array, first: Sequence[int | None] = ()) -> list[list[Classification]]:
        """The best of each row, best first; `first`: the class of each row that comes before all others."""
        size = scores.shape[1]
        order = _order(scores, min(self._top_k, size))
        for row, place in zip(order, first, strict=False):
            if place is not None and place < size and row[0] != place:
                row[:] = [place, *(i for i in row if i != place)][: len(row)]
        top = scores[_rows(scores), order]
        if self._threshold is not None:
            top[top < self._threshold] = np.nan
        names = self._names(size)
        return [
            [Classification(i, names[i], s) for i, s in zip(*row, strict=True) if s == s]
            for row in zip(order.tolist(), top.round(6).tolist(), strict=True)
        ]


def _distinct(own: Array) -> tuple[Array, Array]:
    """Values, and the place of each row's own among them. Sorting takes as long as a small model: numbers of classes
    are places nearly as they are."""
    if own.size and own.dtype.kind in "iu" and np.can_cast(own.dtype, np.int64):
        low, high = int(own.min()), int(own.max())
        if high - low < _NEAR:
            return np.arange(low, high + 1), own.astype(np.int64) - low
    return np.unique(own, return_inverse=True)


def _order(scores: Array, count: int) -> Array:
    """Of each row the places of the `count` highest, highest first."""
    lowest_first = -scores
    if count >= scores.shape[1]:
        return lowest_first.argsort(axis=1, kind="stable")
    # Not take_along_axis, which is a dozen calls: after an inference each of them is read from memory anew.
    rows = _rows(scores)
    part = lowest_first.argpartition(count - 1, axis=1)[:, :count]
    order: Array = part[rows, lowest_first[rows, part].argsort(axis=1, kind="stable")]
    return order


def _rows(scores: Array) -> Array:
    return np.arange(len(scores))[:, None]


def _text(label: Any) -> str:
    return label if isinstance(label, str) else str(label)


def _from_map(raw: Any) -> tuple[list[str], Array]:
    scores = raw[0] if isinstance(raw, list) and raw else raw
    if not isinstance(scores, dict):
        raise SampleError("the model's scores are several tensors, not one for each class; --task raw gives them")
    return [str(k) for k in scores], np.array([list(scores.values())], dtype=np.float64)


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> Classifier:
    """Finds the outputs by role, else by dtype and name. Raises ModelError where there is nothing to classify by."""
    roles = {o.role: o.name for o in manifest.outputs if o.role}
    scores, label = roles.get("scores"), roles.get("label")
    if scores is None and label is None:
        floats = [s for s in specs if s.dtype.startswith("float") or s.quantization or s.shape is None]
        texts = [s for s in specs if s.dtype in (STRING, "int64", "int32") and "label" in s.name.lower()]
        scores = floats[0].name if floats else None
        label = texts[0].name if texts else None
        if scores is None and label is None and specs:
            label = specs[0].name
    known = {s.name for s in specs}
    for name in (scores, label):
        if name is not None and name not in known:
            raise ModelError(
                f"the manifest names the output {name!r}, the file has {sorted(known)}; re-run edge-convert"
            )
    return Classifier(manifest, scores, label)


HEAD = HeadInfo(edge_api=1, create=create, honours=frozenset({"labels", "threshold", "top_k", "activation"}))
