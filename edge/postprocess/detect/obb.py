"""Oriented boxes as Ultralytics exports them: centre, size, a score for each class, and the angle last.

[1, 4 + C + 1, N], in pixels of the input; the angle is in radians. With option `form` "end-to-end" [1, N, 7]: centre,
size, score, class, angle, and nothing left to suppress. What overlaps is told by the probabilistic IoU of Gaussian
boxes (Llerena et al., arXiv 2106.06072, eqs. 13 to 16), and what a better one overlaps goes, though that one goes, too
(Fast NMS, arXiv 1904.02689), as Ultralytics does it (`ultralytics/utils/nms.py`, fast_nms). A result has the `corners`,
the `angle` of the first edge and, as `box`, what the corners span.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edge.data.result import Detection
from edge.data.sample import Frame, ModelInput
from edge.data.tensor import Array, Tensors, TensorSpec
from edge.describe.head import DETECTS, END_TO_END_ROWS, Evidence, Head, HeadInfo, OutputProbe
from edge.errors import SampleError
from edge.model.manifest import Manifest, Output
from edge.postprocess.detect import boxes
from edge.postprocess.detect.boxes import Candidates, Detections, to_frame

THRESHOLD = 0.25
_EPS = 1e-7


class Oriented:
    """Reads one output of columns, or of rows."""

    def __init__(self, manifest: Manifest, name: str) -> None:
        self._name = name
        self._whole = manifest.decoder_options.get("form") == "end-to-end"
        self._normalized = bool(manifest.decoder_options.get("normalized", False))
        self._finish = Detections(manifest, suppress=not self._whole, threshold=THRESHOLD)
        self.threshold = self._finish.threshold

    def __call__(self, outputs: Tensors, model_input: ModelInput) -> list[Detection]:
        values = boxes.rows(outputs, self._name)
        rows = values if self._whole else values.T
        if rows.shape[1] < 6:
            raise SampleError(f"the output {self._name!r} has {rows.shape[1]} values a box, too few for its angle")
        if self._whole:
            scores, classes = rows[:, 4], np.rint(rows[:, 5]).astype(np.int64)
        else:
            scores, classes = rows[:, 4:-1].max(axis=1), rows[:, 4:-1].argmax(axis=1)
        which = np.flatnonzero(scores >= self._finish.threshold)
        places = rows[which][:, (0, 1, 2, 3, -1)].astype(np.float64)
        if self._normalized:
            places[:, :4] *= np.tile(self._finish.size(model_input), 2)
        shape = corners(places)
        hull = np.concatenate((shape.min(axis=1), shape.max(axis=1)), axis=1)
        candidates = self._finish.chosen(Candidates(hull, scores[which], classes[which], extras=places), _kept)
        assert candidates.extras is not None
        shapes = _shapes(candidates.extras, self._finish.frame(model_input))
        return self._finish.predictions(candidates, model_input, shapes)


def corners(places: Array) -> Array:
    """The four corners [N, 4, 2] of centre, size and angle [N, 5], clockwise from the top left at angle 0."""
    cos, sin = np.cos(places[:, 4])[:, None], np.sin(places[:, 4])[:, None]
    along = places[:, 2:3] / 2 * np.concatenate((cos, sin), axis=1)
    across = places[:, 3:4] / 2 * np.concatenate((-sin, cos), axis=1)
    centre = places[:, :2]
    return np.stack(
        (centre - along - across, centre + along - across, centre + along + across, centre - along + across), 1
    )


def _shapes(places: Array, frame: Frame) -> Sequence[Mapping[str, Any]]:
    shapes = []
    for points in to_frame(corners(places), frame):
        edge = points[1] - points[0]
        shapes.append({
            "corners": [(x, y) for x, y in points.round(2).tolist()],
            "angle": round(float(np.arctan2(edge[1], edge[0])), 4),
        })  # fmt: skip
    return shapes


def _kept(candidates: Candidates, limit: float) -> Array:
    """Indexes of boxes that no better one of their class covers, in order."""
    assert candidates.extras is not None
    covered = np.zeros(len(candidates.scores), dtype=bool)
    for at, box in enumerate(candidates.extras):
        same = at + 1 + np.flatnonzero(candidates.classes[at + 1 :] == candidates.classes[at])
        covered[same] |= overlap(box, candidates.extras[same]) >= limit
    return np.flatnonzero(~covered)


def overlap(box: Array, others: Array) -> Array:
    """Probabilistic IoU of one box [5] and others [N, 5]."""
    a1, b1, c1 = _covariance(box[None])
    a2, b2, c2 = _covariance(others)
    dx, dy = others[:, 0] - box[0], others[:, 1] - box[1]
    a, b, c = a1 + a2, b1 + b2, c1 + c2
    area = a * b - c * c
    first = (a * dy**2 + b * dx**2) / (area + _EPS) / 4
    second = -c * dx * dy / (area + _EPS) / 2
    root = np.sqrt(np.clip(a1 * b1 - c1 * c1, 0, None) * np.clip(a2 * b2 - c2 * c2, 0, None))
    third = np.log(area / (4 * root + _EPS) + _EPS) / 2
    distance = np.clip(first + second + third, _EPS, 100)
    return np.asarray(1 - np.sqrt(1 - np.exp(-distance) + _EPS))


def _covariance(places: Array) -> tuple[Array, Array, Array]:
    """Of the Gaussians that boxes stand for: variances along x and y, and the covariance."""
    a, b = places[:, 2] ** 2 / 12, places[:, 3] ** 2 / 12
    cos, sin = np.cos(places[:, 4]), np.sin(places[:, 4])
    return a * cos**2 + b * sin**2, a * sin**2 + b * cos**2, (a - b) * cos * sin


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> Oriented:
    """Raises ModelError where the outputs do not fit."""
    return Oriented(manifest, boxes.roles(manifest, specs, ("rows",))["rows"])


def recognise(probe: OutputProbe) -> Head | None:
    """By the metadata; else by a last row that holds angles, where all other rows are boxes and scores."""
    three = probe.ranked(3)
    if len(three) != 1 or len(probe.outputs) != 1 or probe.metadata.kind not in ("", "obb"):
        return None
    ((name, values),) = three.items()
    rows, columns = values.shape[1:]
    outputs = (Output(name=name, role="rows"),)
    stated = probe.metadata.kind == "obb"
    options: dict[str, Any] = {}
    if stated and columns == 7 and rows <= END_TO_END_ROWS:
        options["form"] = "end-to-end"
        lit = values[0, np.abs(values[0]).max(axis=1) > 0]  # the rest of the room for boxes says nothing of the scale
        places, classes = lit[:, :4], 0
    elif columns in (probe.cells(8, 16, 32), probe.cells(4, 8, 16)) or (stated and rows < columns):
        places, classes = values[0, :4].T, rows - 5
        if classes < 1 or not (stated or _has_angles(values[0]) or _may_have_angles(probe, values[0])):
            return None
    else:
        return None
    if np.abs(places).max() <= 2 if places.size else probe.layout == "NHWC":
        options["normalized"] = True
    evidence = Evidence.METADATA if stated else Evidence.NUMBERS
    return Head("detect", "obb", outputs, options, evidence, "yolo", classes)


def _has_angles(columns: Array) -> bool:
    """Angles lie from -pi/4 to 3/4 pi; scores from 0 to 1."""
    scores, angles = columns[4:-1], columns[-1]
    inside = bool(scores.size) and scores.min() >= -0.02 and scores.max() <= 1.02
    return bool(inside and angles.min() > -1 and angles.max() < 2.5 and (angles.min() < -0.05 or angles.max() > 1.05))


def _may_have_angles(probe: OutputProbe, columns: Array) -> bool:
    """Angles from 0 to 1 look like the scores of one class more, but noise has no such class; labels tell then."""
    scores, last = columns[4:-1], columns[-1]
    if not scores.size or min(columns[4:].min(), 0) < -0.02 or columns[4:].max() > 1.05:
        return False
    usual = float(np.median(scores, axis=1).max())
    return probe.labels != len(scores) + 1 and float(np.median(last)) > max(0.1, 4 * usual)


HEAD = HeadInfo(edge_api=1, create=create, recognise=recognise, honours=DETECTS)
