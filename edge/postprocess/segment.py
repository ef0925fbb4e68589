"""Segmentation: which label covers how much of the picture.

One output: scores [1, C, H, W] or [1, H, W, C] (option `axis` 1 or 3; 1 channel is a mask of one label against
the rest), or the class of each pixel (`axis` null). Padding of a letterbox is not counted.
"""

from __future__ import annotations

import numpy as np

from edge.data.result import Segmentation
from edge.data.sample import ModelInput
from edge.data.tensor import Array, Tensors, TensorSpec
from edge.errors import ModelError, SampleError
from edge.model.manifest import Manifest


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
    name = next((o.name for o in manifest.outputs if o.role == "mask"), specs[0].name if specs else "")
    if name not in known:
        raise ModelError(f"{manifest.name}: the manifest names the output {name!r}, the file has {', '.join(known)}")
    if "axis" in manifest.decoder_options:
        axis = manifest.decoder_options["axis"]
    else:
        shape = known[name].shape or ()
        axis = None if known[name].dtype.startswith(("int", "uint")) else 3 if _last(shape) else 1
    return Segmenter(manifest, name, None if axis is None else int(axis))


def _last(shape: tuple[int | str | None, ...]) -> bool:
    first, last = (shape[1], shape[-1]) if len(shape) == 4 else (0, 0)
    return isinstance(last, int) and (not isinstance(first, int) or last < first)
