"""What a foreign model says of itself, in one form, whoever wrote it."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.describe import tflite_metadata
from edge.model import labels as label_files
from edge.model.manifest import Task

_LABEL_KEYS = ("names", "labels", "classes", "class_names", "label", "id2label", "class_labels")
_TASKS: dict[str, Task] = {
    "detect": "detect", "segment": "detect", "pose": "keypoints", "classify": "classify", "obb": "raw",
}  # fmt: skip
_MASK_COEFFICIENTS = 32


@dataclass(frozen=True, slots=True)
class Notes:
    """Fields that nobody wrote are empty."""

    producer: str = ""
    description: str = ""
    license: str = ""
    task: Task | None = None
    labels: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    """Width and height."""
    style: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    scales_itself: bool = False
    threshold: float | None = None
    detection_outputs: tuple[str, ...] = ()
    extras: int = 0
    keypoints: tuple[int, int] = (0, 0)


def read_notes(path: Path, metadata: Mapping[str, str]) -> Notes:
    """`metadata` is what the engine says the file holds. Reads the .tflite file at `path` for more."""
    if path.suffix.lower() == ".tflite" or _is_tflite(path):
        return _from_tflite(tflite_metadata.read_notes(path))
    written = _ultralytics(metadata)
    if written is not None:
        return written
    labels: tuple[str, ...] = ()
    for key, text in metadata.items():
        if key.lower() in _LABEL_KEYS:
            labels = label_files.parse(text)
    return Notes(producer=metadata.get("producer", "").lower(), labels=labels)


def _is_tflite(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(8)[4:] == b"TFL3"
    except OSError:
        return False


def _from_tflite(notes: tflite_metadata.TfliteNotes) -> Notes:
    for name in ("metadata.json", "temp_meta.txt"):
        if name in notes.files:
            written = _ultralytics(_mapping(notes.files[name]))
            if written is not None:
                return written
    picture = next((i for i in notes.inputs if i.image), None)
    files = [f for o in notes.outputs for f in o.label_files] or [f for f in notes.files if "label" in f.lower()]
    labels = next((label_files.parse(notes.files[f]) for f in files if f in notes.files), ())
    thresholds = [o.threshold for o in notes.outputs if o.threshold is not None]
    return Notes(
        producer="tflite",
        description=notes.description,
        license=notes.license,
        labels=labels,
        mean=picture.mean if picture else (),
        std=picture.std if picture else (),
        scales_itself=notes.scales_itself,
        threshold=thresholds[0] if thresholds else None,
        detection_outputs=notes.detection_outputs,
    )


def _mapping(text: str) -> dict[str, Any]:
    """JSON, or the text of a Python dictionary (older Ultralytics). Empty where it is neither."""
    try:
        value = json.loads(text)
    except ValueError:
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}


def _value(raw: Any) -> Any:
    if not isinstance(raw, str):
        return raw
    try:
        return ast.literal_eval(raw)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return raw


def _ultralytics(metadata: Mapping[str, Any]) -> Notes | None:
    """The keys that Ultralytics' exporter writes (`engine/exporter.py`): names, task, imgsz, stride, kpt_shape."""
    if not {"names", "stride"} <= set(metadata):
        return None
    task = str(metadata.get("task", "detect"))
    image = _value(metadata.get("imgsz", ""))
    size = None
    if isinstance(image, (list, tuple)) and len(image) == 2 and all(isinstance(v, int) and v > 0 for v in image):
        size = (image[1], image[0])
    points = _value(metadata.get("kpt_shape", ""))
    keypoints = (0, 0)
    if isinstance(points, (list, tuple)) and len(points) == 2 and all(isinstance(v, int) for v in points):
        keypoints = (points[0], points[1])
    classifies = task == "classify"
    return Notes(
        producer="ultralytics",
        description=str(metadata.get("description", "")),
        license=str(metadata.get("license", "")),
        task=_TASKS.get(task),
        labels=label_files.from_value(_value(metadata["names"])),
        size=size,
        style="ultralytics-classify" if classifies else "yolo",
        mean=(),
        std=(255.0,),
        extras=_MASK_COEFFICIENTS if task == "segment" else 0,
        keypoints=keypoints,
    )
