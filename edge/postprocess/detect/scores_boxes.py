"""Two outputs, decoded: scores [1, N, C] and boxes [1, N, 4] (UltraFace and many SSD exports).

Options: `box_format` (xyxy), `normalized` (true: shares of the input), `background` (the column that is no
class), `activation` (softmax or sigmoid, where the scores are not probabilities yet).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edge.data.result import Detection
from edge.data.sample import ModelInput
from edge.data.scores import activate
from edge.data.tensor import Array, Tensors, TensorSpec
from edge.describe.head import DETECTS, Evidence, Head, HeadInfo, OutputProbe
from edge.errors import SampleError
from edge.model.manifest import Manifest, Output
from edge.postprocess.detect import boxes
from edge.postprocess.detect.boxes import Candidates, Detections, best_class


class ScoresBoxes:
    """Reads the two outputs."""

    def __init__(self, manifest: Manifest, names: dict[str, str]) -> None:
        options = manifest.decoder_options
        self._names = names
        self._form = str(options.get("box_format", "xyxy"))
        self._normalized = bool(options.get("normalized", True))
        self._background = options.get("background")
        self._activation = str(options.get("activation", manifest.activation))
        self._finish = Detections(manifest, threshold=0.5)
        self.threshold = self._finish.threshold

    def __call__(self, outputs: Tensors, model_input: ModelInput) -> list[Detection]:
        by_class = activate(boxes.rows(outputs, self._names["scores"]), self._activation)
        places = boxes.rows(outputs, self._names["boxes"], 4)
        if len(by_class) != len(places):
            raise SampleError(f"{len(by_class)} scores for {len(places)} boxes")
        best, classes = best_class(by_class, self._background)
        which = np.flatnonzero(best >= self._finish.threshold)
        corners = boxes.corners(places[which], self._form)
        if self._normalized:
            corners = corners * np.array(self._finish.size(model_input) * 2, dtype=np.float32)
        return self._finish(Candidates(corners, best[which], classes[which]), model_input)


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> ScoresBoxes:
    """Raises ModelError where the outputs do not fit."""
    return ScoresBoxes(manifest, boxes.roles(manifest, specs, ("scores", "boxes")))


# --- recognised -------------------------------------------------------------------------------------------------


def recognise(probe: OutputProbe) -> Head | None:
    """[1, N, C] and [1, N, 4] of decoded boxes; those of UltraFace by the cells of its strides."""
    three = {n: a for n, a in probe.ranked(3).items() if a.dtype.kind == "f"}
    if len(three) != 2 or len(probe.outputs) != 2:
        return None
    places = [n for n, a in three.items() if a.shape[2] == 4]
    if len(places) == 2:
        places = [n for n in places if "box" in n.lower() or "loc" in n.lower()]
    if len(places) != 1:
        return None
    (scores,) = (n for n in three if n != places[0])
    values, decoded = three[scores], three[places[0]]
    rows, columns = values.shape[1:]
    if rows != decoded.shape[1] or rows < 10 or columns > 2000:
        return None
    form = _box_format(decoded[0])
    if form is None:
        return None  # offsets from anchors that the file does not hold
    options: dict[str, Any] = {} if form == "xyxy" else {"box_format": form}
    options |= _scores(values, columns)
    if np.abs(decoded).max() > 4:
        options["normalized"] = False
    outputs = (Output(name=scores, role="scores"), Output(name=places[0], role="boxes"))
    ultraface = rows == _ultraface_boxes(probe.width, probe.height)
    faces = columns == 2 and "background" in options
    preset = "ultraface" if ultraface or faces else "tflite-detection" if probe.layout == "NHWC" else "stretched-guess"
    labels = ("background", "face") if faces else ()
    evidence = Evidence.NUMBERS if ultraface else Evidence.LIKELY
    nms, threshold = (0.3, 0.7) if preset == "ultraface" else (None, None)
    background = options.get("background") == 0
    return Head(
        "detect", "scores-boxes", outputs, options, evidence, preset, columns, nms=nms, threshold=threshold,
        labels=labels, background=background, warning="" if ultraface else _doubt(form),
    )  # fmt: skip


def _scores(values: Array, columns: int) -> dict[str, Any]:
    """What stands in the way from scores to probabilities of objects."""
    if columns > 1 and bool(np.allclose(values.sum(axis=2), 1, atol=0.02)):
        return {"background": 0}
    if values.min() < 0 or values.max() > 1:
        return {"activation": "sigmoid"} if columns == 1 else {"activation": "softmax", "background": 0}
    return {}


def _box_format(places: Array) -> str | None:
    """How decoded boxes [N, 4] are written, by what noise gives; None where they are no boxes."""
    if ((places[:, 2:] >= places[:, :2]).all(axis=1)).mean() > 0.95:
        return "xyxy"
    return "cxcywh" if (places >= 0).all() else None


def _doubt(form: str) -> str:
    """The other forms that such boxes may have, which a run cannot tell."""
    taken, others = {
        "xyxy": ("corners x, y, x, y (xyxy)", "y, x, y, x (yxyx)"),
        "cxcywh": ("centre and size (cxcywh)", "corner and size (xywh), or corners in any order,"),
    }[form]
    return (
        f"boxes are taken for {taken}; {others} may look alike: decoder_options.box_format of a sidecar says which "
        "(--describe writes one), --task raw gives the numbers"
    )


def _ultraface_boxes(width: int, height: int) -> int:
    """Boxes of Linzaer's detector: 3, 2, 2 and 3 to a cell of the strides 8, 16, 32 and 64."""
    return sum(each * -(-width // s) * -(-height // s) for s, each in ((8, 3), (16, 2), (32, 2), (64, 3)))


HEAD = HeadInfo(edge_api=1, create=create, recognise=recognise, honours=DETECTS)
