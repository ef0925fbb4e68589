"""Kept pictures as COCO (https://cocodataset.org/#format-data), what the model said as annotations to be mended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from edge.capture.about import About
from edge.capture.read import Kept, label_of, outlines_of
from edge.data.vocabulary import OBJECTS

TASKS = (*OBJECTS, "classify", "anomaly")
"""What has a place in it: a class of the whole picture is a box around all of it."""


def document(about: About, samples: Iterable[Kept]) -> dict[str, Any]:
    """All of it; no images where no sample is a picture of a known size."""
    names = list(about.names)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    points = 0
    for sample in samples:
        if not sample.file or not sample.width or not sample.height:
            continue
        number = len(images) + 1
        when = str(sample.result.get("time", ""))
        image = {"id": number, "file_name": sample.file, "width": sample.width, "height": sample.height}
        images.append({**image, "date_captured": when, "sample": sample.id, "reasons": sample.reasons})
        for found in _annotations(about.task, sample):
            label = found.pop("label")
            if label not in names:
                names.append(label)
            points = max(points, len(found.get("keypoints", ())) // 3)
            about_it = {"id": len(annotations) + 1, "image_id": number, "category_id": names.index(label) + 1}
            annotations.append({**about_it, **found})
    keypoints = {"keypoints": [str(n) for n in range(points)], "skeleton": []} if points else {}
    categories = [{"id": n, "name": name, "supercategory": "", **keypoints} for n, name in enumerate(names, 1)]
    info = {"description": "kept by edge-run --capture", "version": "1"}
    return {"info": info, "licenses": [], "images": images, "annotations": annotations, "categories": categories}


def _annotations(task: str, sample: Kept) -> Iterator[dict[str, Any]]:
    whole = (0.0, 0.0, float(sample.width), float(sample.height))
    for prediction in sample.predictions[: 1 if task in ("classify", "anomaly") else None]:
        label = label_of(task, prediction)
        box = _within(prediction.get("box"), sample) if task in OBJECTS else whole
        if label is not None and box is not None:
            yield {"label": label, "score": prediction.get("score"), **_shape(box, prediction)}


def _within(box: Any, sample: Kept) -> tuple[float, float, float, float] | None:
    """Cut at the edges of the picture; None where nothing is left of it."""
    if not isinstance(box, list) or len(box) != 4:
        return None
    x_min, x_max = (min(max(0.0, float(v)), sample.width) for v in (box[0], box[2]))
    y_min, y_max = (min(max(0.0, float(v)), sample.height) for v in (box[1], box[3]))
    return (x_min, y_min, x_max, y_max) if x_max > x_min and y_max > y_min else None


def _shape(box: tuple[float, float, float, float], prediction: dict[str, Any]) -> dict[str, Any]:
    x_min, y_min, x_max, y_max = box
    width, height = x_max - x_min, y_max - y_min
    found: dict[str, Any] = {
        "bbox": [x_min, y_min, width, height],
        "area": width * height,
        "iscrowd": 0,
        "segmentation": [
            [v for point in outline for v in point[:2]] for outline in outlines_of(prediction) if len(outline) > 2
        ],
    }
    if points := prediction.get("keypoints"):
        found["keypoints"] = [v for x, y, score in points for v in ((x, y, 2) if score > 0 else (0, 0, 0))]
        found["num_keypoints"] = sum(score > 0 for _, _, score in points)
    return found
