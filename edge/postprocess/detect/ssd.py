"""SSD with anchors from the manifest: boxes are offsets from anchors, scores still need their activation.

Outputs: boxes [1, N, 4] and scores [1, N, C]. The formula is that of the TensorFlow object detection API,
`faster_rcnn_box_coder`: centre = offset / scale * anchor size + anchor centre, size = exp(offset / scale) *
anchor size. Options: `anchors` (N lists of y, x, height, width as shares of the input, centre first), `scale`
(y, x, height, width: 10 10 5 5), `order` ("yx", or "xy" where offsets and anchors begin with x), `activation`
(sigmoid), `background`.
"""

from __future__ import annotations

import numpy as np

from edge.data.result import Detection
from edge.data.sample import ModelInput
from edge.data.scores import activate
from edge.data.tensor import Array, Tensors, TensorSpec
from edge.describe.head import DETECTS, HeadInfo
from edge.errors import ModelError, SampleError
from edge.model.manifest import Manifest
from edge.postprocess.detect import boxes
from edge.postprocess.detect.boxes import Candidates, Detections, best_class


class Ssd:
    """Reads the two outputs and adds the anchors."""

    def __init__(self, manifest: Manifest, names: dict[str, str], anchors: Array) -> None:
        options = manifest.decoder_options
        self._names, self._anchors = names, anchors
        self._scale = np.array(options.get("scale", (10, 10, 5, 5)), dtype=np.float32)
        self._form = "yxyx" if options.get("order", "yx") == "yx" else "xyxy"
        self._activation = str(options.get("activation", "sigmoid"))
        self._background = options.get("background", 0)
        self._finish = Detections(manifest)
        self.threshold = self._finish.threshold

    def __call__(self, outputs: Tensors, model_input: ModelInput) -> list[Detection]:
        by_class = activate(boxes.rows(outputs, self._names["scores"]), self._activation)
        offsets = boxes.rows(outputs, self._names["boxes"], 4)
        if not len(by_class) == len(offsets) == len(self._anchors):
            raise SampleError(f"{len(offsets)} boxes and {len(by_class)} scores for {len(self._anchors)} anchors")
        best, classes = best_class(by_class, self._background)
        which = np.flatnonzero(best >= self._finish.threshold)
        anchor, scaled = self._anchors[which], offsets[which] / self._scale
        centre = scaled[:, :2] * anchor[:, 2:] + anchor[:, :2]
        with np.errstate(over="ignore"):
            half = np.exp(scaled[:, 2:]) * anchor[:, 2:] / 2
        corners = boxes.corners(np.concatenate((centre - half, centre + half), axis=1), self._form)
        corners = corners * np.array(self._finish.size(model_input) * 2, dtype=np.float32)
        return self._finish(Candidates(corners, best[which], classes[which]), model_input)


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> Ssd:
    """Raises ModelError where the outputs do not fit or the anchors are missing."""
    anchors = np.array(manifest.decoder_options.get("anchors", ()), dtype=np.float32)
    if anchors.ndim != 2 or anchors.shape[1] != 4:
        raise ModelError(
            f"{manifest.name}: the decoder 'ssd' needs decoder_options.anchors, N lists of y, x, height, width; "
            f"it was given the shape {list(anchors.shape)}"
        )
    return Ssd(manifest, boxes.roles(manifest, specs, ("boxes", "scores")), anchors)


# Not recognised: its anchors are in no file but a manifest.
HEAD = HeadInfo(edge_api=1, create=create, honours=DETECTS)
