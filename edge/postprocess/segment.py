"""Segmentation: which label covers how much of the picture.

One output: scores [1, C, H, W] or [1, H, W, C] (option `axis` 1 or 3; 1 channel is a mask of one label against
the rest), or the class of each pixel (`axis` null). Padding of a letterbox is not counted.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from edge.data.result import Segmentation
from edge.data.sample import ModelInput
from edge.data.tensor import Array, Tensors, TensorSpec
from edge.describe.head import Evidence, Head, HeadInfo, OutputProbe
from edge.errors import SampleError
from edge.model.manifest import Manifest, Output


class Segmenter:
    """Largest area first; a label that covers nothing is left out."""

    def __init__(self, manifest: Manifest, name: str, axis: int | None) -> None:
        self._name, self._axis = name, axis
        self._labels = manifest.labels
        self._threshold = 0.5 if manifest.threshold is None else manifest.threshold
        self._logits = manifest.activation == "sigmoid"
        image = next((i for i in manifest.inputs if i.kind == "image"), None)
        self._image, self._planar = (image.name if image else ""), image is not None and image.layout == "NCHW"

    def __call__(self, outputs: Tensors, model_input: ModelInput) -> list[Segmentation]:
        classes = self.mask(outputs, model_input)
        count = np.bincount(classes.ravel())
        order = [i for i in np.argsort(-count, kind="stable").tolist() if count[i]]
        return [
            Segmentation(
                labels=[self._labels[i] if i < len(self._labels) else str(i) for i in order],
                areas=[round(float(count[i] / classes.size), 6) for i in order],
            )
        ]

    def mask(self, outputs: Tensors, model_input: ModelInput) -> Array:
        """The class of each pixel that the picture covers, [H, W] int64. Raises SampleError."""
        return self._inner(self.classes(np.asarray(outputs[self._name])), model_input)

    def classes(self, values: Array) -> Array:
        """The class of each pixel, [H, W]. Raises SampleError for another shape."""
        axis = self._axis
        if axis is None:
            flat = (
                values.reshape(values.shape[-2:])
                if values.ndim >= 2 and values.size == np.prod(values.shape[-2:])
                else None
            )
        elif values.ndim == 4 and values.shape[0] == 1:
            flat = self._best(values[0], axis - 1)
        else:
            flat = None
        if flat is None:
            raise SampleError(f"the output {self._name!r} has the shape {list(values.shape)}, which is no mask")
        return np.clip(flat, 0, 65_535).astype(np.int64)

    def _best(self, scores: Array, axis: int) -> Array:
        if scores.shape[axis] > 1:
            return np.asarray(scores.argmax(axis=axis))
        one = np.take(scores, 0, axis=axis)
        level = np.log(self._threshold / (1 - self._threshold)) if self._logits else self._threshold
        return np.asarray(one >= level)

    def _inner(self, classes: Array, model_input: ModelInput) -> Array:
        """Without the padding: the part of the mask that the picture covers."""
        frame, tensor = model_input.frame, model_input.tensors.get(self._image)
        if frame is None or tensor is None:
            return classes
        height, width = tensor.shape[-2:] if self._planar else tensor.shape[-3:-1]
        x, y = classes.shape[1] / width, classes.shape[0] / height
        left, top = max(0, round(frame.offset_x * x)), max(0, round(frame.offset_y * y))
        right = min(classes.shape[1], round((frame.offset_x + frame.width * frame.scale_x) * x))
        bottom = min(classes.shape[0], round((frame.offset_y + frame.height * frame.scale_y) * y))
        return classes[top : max(bottom, top + 1), left : max(right, left + 1)]


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> Segmenter:
    """Raises ModelError where there is no output for a mask."""
    known = {s.name: s for s in specs}
    name = manifest.output_of("mask", list(known))
    if "axis" in manifest.decoder_options:
        axis = manifest.decoder_options["axis"]
    else:
        shape = known[name].shape or ()
        axis = None if known[name].dtype.startswith(("int", "uint")) else 3 if _last(shape) else 1
    return Segmenter(manifest, name, None if axis is None else int(axis))


def _last(shape: tuple[int | str | None, ...]) -> bool:
    first, last = (shape[1], shape[-1]) if len(shape) == 4 else (0, 0)
    return isinstance(last, int) and (not isinstance(first, int) or last < first)


# --- recognised -------------------------------------------------------------------------------------------------


def recognise(probe: OutputProbe) -> Head | None:
    """Scores for each pixel, or the class of each pixel, at the input's size or a whole fraction of it."""
    if probe.metadata.kind == "semantic":
        return _semantic(probe)
    if probe.metadata.kind:
        return None
    name, values = next(iter(probe.outputs.items()))
    if len(probe.outputs) > 1 and any(a.shape != values.shape for a in probe.outputs.values()):
        return None  # several of one shape are one mask and what training added (U-2-Net)
    mask = (Output(name=name, role="mask"),)
    if values.ndim == 4:
        for axis, sides in ((1, values.shape[2:]), (3, values.shape[1:3])):
            if _is_fraction(probe, sides):
                head = _of_channels(probe, values, mask, axis)
                if head is not None:
                    return head
    flat = values.shape[-2:] if values.ndim in (2, 3, 4) and set(values.shape[:-2]) <= {1} else ()
    if values.dtype.kind in "iu" and flat and _is_fraction(probe, flat):
        return Head("segment", "segment", mask, {"axis": None})
    return None


def _semantic(probe: OutputProbe) -> Head | None:
    """Ultralytics says that it is one: scores [1, C, H, W], turned round in some formats, or classes [1, H, W].

    A model of one class gives one score above or below 0, or classes 0 and 1: its name is of 1.
    """
    if len(probe.outputs) != 1:
        return None
    ((name, values),) = probe.outputs.items()
    outputs = (Output(name=name, role="mask"),)
    alone = probe.labels == 1
    classes = 2 if alone else 0
    axis = None
    if values.ndim == 4 and values.dtype.kind == "f":
        axis = 3 if values.shape[3] == probe.labels != values.shape[1] else 1
        classes = classes or values.shape[axis]
    activation: Literal["", "sigmoid"] = "sigmoid" if axis is not None and values.shape[axis] == 1 else ""
    return Head(
        "segment", "segment", outputs, {"axis": axis}, Evidence.METADATA, "yolo", classes, activation=activation,
        background=alone,
    )  # fmt: skip


def _of_channels(probe: OutputProbe, values: Array, mask: tuple[Output, ...], axis: int) -> Head | None:
    channels = values.shape[axis]
    if channels == 1:
        return _one_channel(probe, values, mask, axis)
    if not 2 <= channels <= 300 or values.dtype.kind != "f":
        return None
    if channels == 3 and not _are_classes(probe, values, axis):
        return None
    if channels % 3 == 0 and channels > 15 and channels // 3 - 5 in (probe.labels, 80):
        return Head("raw", "raw", evidence=Evidence.NUMBERS, warning=(
            f"{channels} channels are a grid of YOLOv5 whose boxes still need their anchors, which the file does not "
            "hold: export it with its decoder"
        ))  # fmt: skip
    warning = "" if probe.labels in (channels - 1, channels, channels + 1) else (
        f"{channels} numbers for each pixel are taken for the scores of {channels} classes (--task raw, where they are "
        "maps of something else)"
    )  # fmt: skip
    return Head("segment", "segment", mask, {"axis": axis}, Evidence.LIKELY, "", channels, warning=warning)


def _are_classes(probe: OutputProbe, values: Array, axis: int) -> bool:
    """Three channels may be a picture: they are classes where labels or probabilities say so."""
    return probe.labels in (2, 3) or bool(np.allclose(values.sum(axis=axis), 1, atol=0.02))


def _one_channel(probe: OutputProbe, values: Array, mask: tuple[Output, ...], axis: int) -> Head | None:
    """One label against the rest: probabilities, or numbers on both sides of 0. Others may be depth, or a picture."""
    low, high = float(values.min()), float(values.max())
    probabilities = low >= 0 and high <= 1.001
    if probe.channels == 1 or not (probabilities or low < 0 < high):
        return None
    activation: Literal["", "sigmoid"] = "" if probabilities else "sigmoid"
    return Head(
        "segment", "segment", mask, {"axis": axis}, Evidence.LIKELY, "", 2, activation=activation, background=True,
        warning="one number for each pixel is taken for a mask of one label (--task raw, where it is a depth or a map "
        "of anomalies)",
    )  # fmt: skip


def _is_fraction(probe: OutputProbe, sides: tuple[int, ...]) -> bool:
    height, width = sides
    if min(height, width) < 16:
        return False
    return any(abs(probe.height - height * k) <= k and abs(probe.width - width * k) <= k for k in (1, 2, 4, 8))


HEAD = HeadInfo(
    edge_api=1, create=create, recognise=recognise, honours=frozenset({"labels", "threshold", "activation"})
)
