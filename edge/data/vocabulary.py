"""The words that a manifest, a flag and a keyword of Python share."""

from __future__ import annotations

from typing import Literal, get_args

Task = Literal["classify", "detect", "regress", "anomaly", "segment", "keypoints", "text", "raw"]
Layout = Literal["NHWC", "NCHW"]
Color = Literal["RGB", "BGR", "GRAY"]
Resize = Literal["stretch", "letterbox", "letterbox-topleft", "crop"]
Resample = Literal["", "nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
CropRounding = Literal["down", "even"]
"""Where a middle begins that lies at half a pixel."""
Activation = Literal["", "softmax", "sigmoid"]
"""What turns scores into probabilities; "": nothing."""

TASKS: tuple[Task, ...] = get_args(Task)
OBJECTS: tuple[Task, ...] = ("detect", "keypoints")
"""Tasks whose predictions are objects, each with a box."""
SCORED: tuple[Task, ...] = (*OBJECTS, "classify", "anomaly", "text")
"""Tasks whose predictions have a score."""
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
COLORS: tuple[Color, ...] = get_args(Color)
RESIZES: tuple[Resize, ...] = get_args(Resize)
