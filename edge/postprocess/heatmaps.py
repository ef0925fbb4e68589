"""Keypoints of one body as heatmaps: [1, K, h, w], the place of each point's maximum (HRNet, SimpleBaseline).

With the option `axis` 3 the points are the last dimension, [1, h, w, K], as in exports to TFLite.

As in HRNet (`lib/core/inference.py`, get_final_preds): a quarter of a cell towards the higher neighbour is added, and
the value at the maximum is the point's score. The body is one detection: its box holds the points that are seen.

Outputs of the roles "x" [1, K, w] and "y" [1, K, h] are SimCC's (RTMPose; `mmpose/codecs/utils/post_processing.py`,
get_simcc_maximum): a score for each column and each row, a few of them to a pixel. The lesser of the two maxima counts.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edge.data.result import Detection
from edge.data.sample import Frame, ModelInput
from edge.data.scores import Watch
from edge.data.tensor import Array, Tensors, TensorSpec
from edge.describe.head import Evidence, Head, HeadInfo, OutputProbe
from edge.errors import SampleError
from edge.model.manifest import Manifest, Output

SEEN = 0.2
_BODIES = (14, 16, 17, 18, 21, 23, 26, 68, 98, 106, 133)
"""Points of the usual sets: MPII, COCO, hands, Halpe, faces, whole bodies."""


class Heatmaps:
    """Reads one output, or two of SimCC's."""

    def __init__(self, manifest: Manifest, names: Mapping[str, str]) -> None:
        self._names = names
        self._last = manifest.decoder_options.get("axis") == 3
        self._threshold = SEEN if manifest.threshold is None else manifest.threshold
        self._label = manifest.labels[0] if len(manifest.labels) == 1 else "person"
        image = next((i for i in manifest.inputs if i.kind == "image"), None)
        self._image, self._planar = (image.name if image else ""), image is not None and image.layout == "NCHW"
        self._watch = Watch(manifest.name)

    def __call__(self, outputs: Tensors, model_input: ModelInput) -> list[Detection]:
        places, scores, cells = self._axes(outputs) if "x" in self._names else self._maps(outputs)
        if not np.isfinite(scores).all():
            raise SampleError(f"the model's output {next(iter(self._names.values()))!r} is not finite")
        tensor = model_input.tensors[self._image]
        height, width = tensor.shape[-2:] if self._planar else tensor.shape[-3:-1]
        frame = model_input.frame or Frame(width, height)
        x = (places[:, 0] * width / cells[0] - frame.offset_x) / frame.scale_x
        y = (places[:, 1] * height / cells[1] - frame.offset_y) / frame.scale_y
        x, y = np.clip(x, 0, frame.width), np.clip(y, 0, frame.height)
        scores = self._watch(scores)
        seen = scores >= self._threshold
        if not seen.any():
            return []
        box = (float(x[seen].min()), float(y[seen].min()), float(x[seen].max()), float(y[seen].max()))
        points = [(round(a, 2), round(b, 2), round(c, 4)) for a, b, c in np.stack((x, y, scores), axis=1).tolist()]
        return [Detection(0, self._label, round(float(scores[seen].mean()), 6), box, keypoints=points)]

    def _maps(self, outputs: Tensors) -> tuple[Array, Array, tuple[int, int]]:
        """Places [K, 2] in cells, scores [K], and how many cells there are in a row and in a column."""
        name = self._names["heatmaps"]
        maps = np.asarray(outputs[name])
        if maps.ndim != 4 or maps.shape[0] != 1:
            raise SampleError(f"the output {name!r} has the shape {list(maps.shape)}, which are no heatmaps")
        maps = maps.transpose(0, 3, 1, 2) if self._last else maps
        return *peaks(maps[0].astype(np.float64)), (maps.shape[3], maps.shape[2])

    def _axes(self, outputs: Tensors) -> tuple[Array, Array, tuple[int, int]]:
        x, y = (np.asarray(outputs[self._names[axis]]).astype(np.float64) for axis in "xy")
        if x.ndim != 3 or x.shape[0] != 1 or x.shape[:2] != y.shape[:2]:
            raise SampleError(f"columns {list(x.shape)} and rows {list(y.shape)} do not belong together")
        places = np.stack((x[0].argmax(axis=1), y[0].argmax(axis=1)), axis=1)
        return places, np.minimum(x[0].max(axis=1), y[0].max(axis=1)), (x.shape[2], y.shape[2])


def peaks(maps: Array) -> tuple[Array, Array]:
    """Column and row [K, 2], and value [K], of the maximum of each map [K, h, w]."""
    count, height, width = maps.shape
    best = maps.reshape(count, -1).argmax(axis=1)
    x, y = best % width, best // width
    scores = maps[np.arange(count), y, x]
    places = np.stack((x, y), axis=1).astype(np.float64)
    for at in np.flatnonzero((x > 0) & (x < width - 1) & (y > 0) & (y < height - 1)):
        around = maps[at, y[at] - 1 : y[at] + 2, x[at] - 1 : x[at] + 2]
        places[at] += 0.25 * np.sign((around[1, 2] - around[1, 0], around[2, 1] - around[0, 1]))
    return places, scores


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> Heatmaps:
    """Raises ModelError where there is no such output."""
    said = ("x", "y") if {"x", "y"} <= {o.role for o in manifest.outputs} else ("heatmaps",)
    return Heatmaps(manifest, {role: manifest.output_of(role, [s.name for s in specs]) for role in said})


def recognise(probe: OutputProbe) -> Head | None:
    """By SimCC's names; else as many maps as a body has points, at a quarter of the input: sure for the upright input
    of a person's crop."""
    if (axes := _simcc(probe)) is not None:
        return axes
    if len(probe.outputs) != 1 or probe.metadata.kind:
        return None
    ((name, values),) = probe.outputs.items()
    if values.ndim != 4 or values.dtype.kind != "f":
        return None
    options = {"axis": 3} if values.shape[3] in _BODIES and values.shape[1] not in _BODIES else {}
    values = values.transpose(0, 3, 1, 2) if options else values
    if values.shape[1] not in _BODIES:
        return None
    if values.shape[2:] != (probe.height // 4, probe.width // 4) or np.allclose(values.sum(axis=1), 1, atol=0.02):
        return None
    upright = probe.width * 4 == probe.height * 3
    if not upright and (values.min() < -0.5 or values.max() > 1.5):
        return None  # logits of classes
    evidence = Evidence.NUMBERS if upright else Evidence.LIKELY
    outputs = (Output(name=name, role="heatmaps"),)
    return Head("keypoints", "heatmaps", outputs, options, evidence, "imagenet-letterbox")


def _simcc(probe: OutputProbe) -> Head | None:
    x, y = probe.outputs.get("simcc_x"), probe.outputs.get("simcc_y")
    if x is None or y is None or len(probe.outputs) != 2 or x.ndim != 3 or x.shape[:2] != y.shape[:2]:
        return None
    outputs = (Output(name="simcc_x", role="x"), Output(name="simcc_y", role="y"))
    return Head("keypoints", "heatmaps", outputs, {}, Evidence.NAMES, "imagenet-letterbox")


HEAD = HeadInfo(edge_api=1, create=create, recognise=recognise, honours=frozenset({"threshold", "labels"}))
