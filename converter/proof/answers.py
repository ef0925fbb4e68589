"""What a model's outputs say: roles, classes, probabilities, accuracy."""

from __future__ import annotations

import numpy as np

from converter.errors import SampleFileError
from edge.compare.answers import plain
from edge.data.tensor import Array, Tensors
from edge.model.manifest import Manifest

# Scores that are no further apart are equal but for the order in which they were summed up.
_EQUAL = 1e-12
_ENOUGH = 8


def roles(manifest: Manifest, role: str) -> list[str]:
    """The names of the outputs that have a role."""
    return [o.name for o in manifest.outputs if o.role == role]


def published(outputs: Tensors, manifest: Manifest) -> dict[str, Array]:
    """The outputs with scores as probabilities: what the device will say."""
    published_outputs = dict(outputs)
    for name in roles(manifest, "scores"):
        if name not in published_outputs or not manifest.activation:
            continue
        scores = published_outputs[name].astype(np.float64)
        if manifest.activation == "sigmoid":
            published_outputs[name] = 1.0 / (1.0 + np.exp(-scores))
        else:
            flat = scores.reshape(len(scores), -1)
            powers = np.exp(flat - flat.max(axis=1, keepdims=True))
            published_outputs[name] = (powers / powers.sum(axis=1, keepdims=True)).reshape(scores.shape)
    return published_outputs


def classes_of(outputs: Tensors, manifest: Manifest) -> Array | None:
    """The class of each row as text: the label output, the argmax of the scores, or the side of the threshold."""
    if manifest.task == "anomaly":
        score = next((outputs[n] for n in roles(manifest, "score")), None)
        if score is None or manifest.threshold is None:
            return None
        return np.where(score.reshape(-1) > manifest.threshold, "anomaly", "normal").astype(object)
    if manifest.task != "classify":
        return None
    for name in roles(manifest, "label"):
        if name in outputs:
            return np.array([plain(v) for v in outputs[name].reshape(-1)], dtype=object)
    for name in roles(manifest, "scores"):
        if name in outputs and outputs[name].ndim >= 2:
            scores = outputs[name].reshape(len(outputs[name]), -1)
            names = class_values(manifest) or tuple(str(i) for i in range(max(2, scores.shape[1])))
            if scores.shape[1] == 1:  # of the second of two classes
                return np.array([names[int(s > border(manifest))] for s in scores[:, 0]], dtype=object)
            return np.array([names[i] for i in np.argmax(scores, axis=1)], dtype=object)
    return None


def border(manifest: Manifest) -> float:
    """The score of the second of two classes above which it is that one."""
    return 0.0 if manifest.activation == "sigmoid" else 0.5


def class_values(manifest: Manifest) -> tuple[str, ...]:
    """The classes in order, as the label output gives them."""
    given = next((o.values for o in manifest.outputs if o.role == "label" and o.values), ())
    return given or manifest.labels


def ties(before: Tensors, after: Tensors, manifest: Manifest, tolerance: float) -> Array:
    """[rows] True where the original's own scores hardly prefer its class to the one the file chose.

    Equal scores are no such tie where the original always takes the first of them: the file has to do the same. Nor are
    they where it takes another one than the first: its class comes from something that its scores do not show.
    """
    rows = len(next(iter(after.values())))
    if manifest.task == "anomaly":
        score = before[roles(manifest, "score")[0]].reshape(-1).astype(np.float64)
        return np.abs(score - (manifest.threshold or 0.0)) <= tolerance * max(1e-12, float(np.max(np.abs(score))))
    scores = next((before[n] for n in roles(manifest, "scores") if n in before and before[n].ndim == 2), None)
    values, old, new = class_values(manifest), classes_of(before, manifest), classes_of(after, manifest)
    if scores is not None and scores.shape[1] == 1:
        return np.asarray(np.abs(scores[:, 0] - border(manifest)) <= tolerance)
    if scores is None or old is None or new is None or scores.shape[1] != len(values):
        return np.zeros(rows, dtype=bool)
    known = np.array([a in values and b in values for a, b in zip(old, new, strict=True)])
    places = [[values.index(c) if c in values else 0 for c in classes] for classes in (old, new)]
    each = np.arange(rows)
    apart = np.abs(scores[each, places[0]] - scores[each, places[1]])
    equal = np.sum(scores >= scores.max(axis=1, keepdims=True) - _EQUAL, axis=1) > 1
    first = np.argmax(scores >= scores.max(axis=1, keepdims=True) - _EQUAL, axis=1)
    # A few may be equal, and in that order, by chance.
    decided = (np.array(places[0]) == first)[equal & known]
    by_order = len(decided) >= _ENOUGH and bool(np.all(decided))
    elsewhere = (apart == 0) & (np.array(places[0]) != np.argmax(scores, axis=1))
    return np.asarray(known & (apart <= tolerance) & ~(equal & (apart <= _EQUAL) & by_order) & ~elsewhere)


def accuracy(outputs: Tensors, classes: Array | None, expected: Array, manifest: Manifest) -> float | None:
    """The share of right classes; of a regression R squared (1 is perfect, 0 no better than the mean)."""
    if classes is not None:
        shown = dict(zip(class_values(manifest), manifest.labels, strict=False))
        right = [plain(e) in (c, shown.get(c)) for c, e in zip(classes, expected, strict=True)]
        return float(np.mean(right))
    names = roles(manifest, "value")
    if manifest.task != "regress" or not names:
        return None
    try:
        truth = expected.astype(np.float64).reshape(len(expected), -1)
    except ValueError:
        raise SampleFileError("--expect: the model predicts numbers, the expected answers are text") from None
    guess = outputs[names[0]].astype(np.float64).reshape(len(truth), -1)
    spread = float(np.sum((truth - truth.mean(axis=0)) ** 2))
    return 1.0 - float(np.sum((truth - guess) ** 2)) / spread if spread else None
