"""Keypoints of one body: [1, 1, K, 3], y, x and a score each, as shares of the input (MoveNet).

The body is one detection: its box holds the points that are seen, its score is their mean.
"""

from __future__ import annotations

import numpy as np

from edge.data.result import Detection
from edge.data.sample import Frame, ModelInput
from edge.data.scores import Watch
from edge.data.tensor import Tensors, TensorSpec
from edge.describe.head import Evidence, Head, HeadInfo, OutputProbe
from edge.errors import SampleError
from edge.model.manifest import Manifest, Output

SEEN = 0.2  # below this a joint of MoveNet is a guess


class Keypoints:
    """Reads one output."""

    def __init__(self, manifest: Manifest, name: str) -> None:
        self._name = name
        self._threshold = SEEN if manifest.threshold is None else manifest.threshold
        self._label = manifest.labels[0] if manifest.labels else "person"
        image = next((i for i in manifest.inputs if i.kind == "image"), None)
        self._watch = Watch(manifest.name)
        self._image, self._planar = (image.name if image else ""), image is not None and image.layout == "NCHW"

    def __call__(self, outputs: Tensors, model_input: ModelInput) -> list[Detection]:
        values = np.asarray(outputs[self._name])
        if values.size % 3 or values.shape[-1] != 3:
            raise SampleError(
                f"the output {self._name!r} has the shape {list(values.shape)}; points have three numbers"
            )
        points = values.reshape(-1, 3).astype(np.float64)
        tensor = model_input.tensors[self._image]
        height, width = tensor.shape[-2:] if self._planar else tensor.shape[-3:-1]
        frame = model_input.frame or Frame(width, height)
        x = (points[:, 1] * width - frame.offset_x) / frame.scale_x
        y = (points[:, 0] * height - frame.offset_y) / frame.scale_y
        if not np.isfinite(points).all():
            raise SampleError(f"the model's output {self._name!r} is not finite")
        x, y = np.clip(x, 0, frame.width), np.clip(y, 0, frame.height)
        scores = self._watch(points[:, 2])
        seen = scores >= self._threshold
        if not seen.any():
            return []
        box = (float(x[seen].min()), float(y[seen].min()), float(x[seen].max()), float(y[seen].max()))
        listed = [
            (round(a, 2), round(b, 2), round(c, 4))
            for a, b, c in zip(x.tolist(), y.tolist(), scores.tolist(), strict=True)
        ]
        return [Detection(0, self._label, round(float(scores[seen].mean()), 6), box, keypoints=listed)]


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> Keypoints:
    """Raises ModelError where there is no such output."""
    return Keypoints(manifest, manifest.output_of("keypoints", [s.name for s in specs]))


def recognise(probe: OutputProbe) -> Head | None:
    """MoveNet: one output [1, 1, K, 3]."""
    if len(probe.outputs) != 1:
        return None
    ((name, values),) = probe.outputs.items()
    if values.ndim == 4 and values.shape[:2] == (1, 1) and values.shape[3] == 3 and 5 <= values.shape[2] <= 200:
        return Head("keypoints", "keypoints", (Output(name=name, role="keypoints"),), {}, Evidence.NUMBERS, "movenet")
    return None


HEAD = HeadInfo(edge_api=1, create=create, recognise=recognise, honours=frozenset({"threshold", "labels"}))
