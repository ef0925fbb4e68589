"""Masks of single objects.

Ultralytics' segmentation models give coefficients of shared prototypes: a mask is the sum of the prototypes, each times
its coefficient, cut to the object's box, scaled to the model's input, and what is above 0 belongs to the object
(`ultralytics/utils/ops.py`, process_mask).
DETR and RF-DETR give a plane of logits for each query: what is above 0 once scaled is the object's, in its box or not
(`transformers`, post_process_instance_segmentation).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edge.data.sample import Frame
from edge.data.tensor import Array
from edge.errors import SampleError, needs
from edge.postprocess.detect.boxes import to_frame

LEAST_CORNERS = 3


def polygons(
    prototypes: Array, coefficients: Array, corners: Array, size: tuple[int, int], frame: Frame
) -> Sequence[Mapping[str, Any]]:
    """The outlines of each mask, the largest first, in pixels of the frame.

    `prototypes` [1, E, h, w] or [1, h, w, E], `coefficients` [N, E], `corners` [N, 4] in pixels of the model's input of
    `size` (width, height). Raises SampleError where they do not belong together.
    """
    planes = prototypes[0] if prototypes.ndim == 4 and len(prototypes) == 1 else prototypes
    count = coefficients.shape[1]
    if planes.ndim == 3 and planes.shape[0] != count and planes.shape[2] == count:
        planes = planes.transpose(2, 0, 1)
    if planes.ndim != 3 or planes.shape[0] != count:
        raise SampleError(f"prototypes of the shape {list(prototypes.shape)} for {count} coefficients of a mask")
    height, width = planes.shape[1:]
    scale = np.array((width / size[0], height / size[1]) * 2)
    outlines = []
    for row, box in zip(coefficients, corners * scale, strict=True):
        mask = np.tensordot(row, planes, axes=1).astype(np.float32)
        outlines.append({"polygons": _outlines(_cut(mask, box), size, frame)})
    return outlines


def planes(logits: Array, size: tuple[int, int], frame: Frame) -> Sequence[Mapping[str, Any]]:
    """The outlines of each mask [N, h, w], the largest first, in pixels of the frame. `size`: of the model's input."""
    return [{"polygons": _outlines(np.asarray(mask, np.float32), size, frame)} for mask in logits]


def _cut(mask: Array, box: Array) -> Array:
    """The mask with 0 outside of the box: a pixel is inside where x_min <= x < x_max."""
    x, y = np.arange(mask.shape[1]), np.arange(mask.shape[0])[:, None]
    return np.asarray(mask * ((x >= box[0]) & (x < box[2]) & (y >= box[1]) & (y < box[3])))


def _outlines(mask: Array, size: tuple[int, int], frame: Frame) -> list[list[tuple[float, float]]]:
    try:
        import cv2
    except ImportError:
        raise needs("a mask of an object", "OpenCV", "vision") from None
    whole = cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR) > 0
    outlines, _ = cv2.findContours(whole.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    solid = sorted((c for c in outlines if len(c) >= LEAST_CORNERS), key=cv2.contourArea, reverse=True)
    limit = np.array((frame.width, frame.height))
    placed = (np.clip(to_frame(c.reshape(-1, 2), frame), 0, limit).round(1).tolist() for c in solid)
    return [[(x, y) for x, y in points] for points in placed]
