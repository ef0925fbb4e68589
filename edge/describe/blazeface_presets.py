"""The anchors of MediaPipe's detectors: which strides a count of boxes stands for."""

from __future__ import annotations

_LAYOUTS = (
    ((8, 2), (16, 6)),  # faces at short range, palms
    ((16, 2), (32, 6)),  # faces of the back camera
    ((8, 2), (16, 2), (32, 6)),  # poses
    ((4, 1),),  # faces at full range
)


def layout(count: int, width: int, height: int) -> tuple[tuple[int, int], ...] | None:
    """Pairs of a stride and its anchors to a cell, for `count` boxes of an input of this size; None: none fits."""
    for strides in _LAYOUTS:
        if sum((width // s) * (height // s) * each for s, each in strides) == count:
            return strides
    return None
