"""Reads what a foreign model says of itself: in its own metadata, its graph, and the files beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from edge.data import magic
from edge.data.vocabulary import Task
from edge.describe import neighbours, onnx_graph, properties
from edge.describe.metadata import Metadata, Pictures
from edge.model import labels as label_files
from edge.model.container import read_head

if TYPE_CHECKING:
    from edge.describe.tflite_metadata import TfliteMetadata

_LABEL_KEYS = ("names", "labels", "classes", "class_names", "label", "id2label", "class_labels")
_TASKS: dict[str, Task] = {
    "detect": "detect", "segment": "detect", "pose": "keypoints", "classify": "classify", "obb": "detect",
    "semantic": "segment", "depth": "raw",
}  # fmt: skip
_MASK_COEFFICIENTS = 32


def read_metadata(path: Path, embedded: Mapping[str, str]) -> Metadata:
    """`embedded` is what the engine says the file holds. Reads the file at `path` and what lies beside it."""
    if path.is_file() and magic.is_tflite(read_head(path)):
        from edge.describe import tflite_metadata  # and zipfile, for these files

        metadata = _from_tflite(tflite_metadata.read(path))
    else:
        metadata, beginning = _from_onnx(embedded), onnx_graph.beginning(path)._asdict()
        metadata = replace(metadata, **(beginning | {"color": metadata.color or beginning["color"]}))
    config = neighbours.read(path)
    if metadata.kind:
        return metadata
    return replace(
        metadata,
        family=config.family,
        kind=config.kind,
        task=metadata.task or config.task,
        activation=config.activation or metadata.activation,
        sample_rate=metadata.sample_rate or config.sample_rate,
        standardises=config.standardises,
        anomaly=config.anomaly,
        pictures=metadata.pictures or config.pictures,
        pictures_from=metadata.pictures_from or config.file,
        size=metadata.size or (config.pictures.size if config.pictures else None),
        warnings=(*metadata.warnings, *config.warnings),
    )


def _from_onnx(embedded: Mapping[str, str]) -> Metadata:
    written = _ultralytics(embedded)
    if written is not None:
        return written
    labels = label_files.Reading()
    for key, text in embedded.items():
        if key.lower() in _LABEL_KEYS:
            labels = label_files.read_text(text)
    doubts = (f"its metadata: {labels.doubt}",) if labels.doubt else ()
    characters = tuple(embedded.get("character", "").split("\n")) if embedded.get("character") else ()
    said = properties.read(embedded)
    labelled = labels.names or said.get("labels", ())
    doubts += said.get("warnings", ())
    producer = embedded.get("producer", "").lower()
    return Metadata(**(said | {"producer": producer, "labels": labelled, "characters": characters, "warnings": doubts}))


def _from_tflite(notes: TfliteMetadata) -> Metadata:
    keys = {"input_keys": notes.input_keys, "output_keys": notes.output_keys, "warnings": notes.warnings}
    for name in ("metadata.json", "temp_meta.txt"):
        text = notes.files.get(name, "")
        value = label_files.literal(text)
        written = _ultralytics(value) if isinstance(value, dict) else None
        if written is not None:
            return replace(written, **keys)
        if value is None and (doubt := label_files.read_text(text).doubt):
            keys["warnings"] = (
                *notes.warnings,
                f"{name} in it is left out: {doubt}; --task and --labels say what it is",
            )
    picture = next((i for i in notes.inputs if i.image), None)
    thresholds = [o.threshold for o in notes.outputs if o.threshold is not None]
    normalised = picture is not None and bool(picture.mean or picture.std)
    return Metadata(
        producer="tflite",
        description=notes.description,
        license=notes.license,
        labels=notes.labels,
        pictures=Pictures(mean=picture.mean, std=picture.std) if picture is not None and normalised else None,
        pictures_from="TFLite Metadata" if normalised else "",
        color=notes.color,
        scales_itself=notes.scales_itself,
        input_range=notes.input_range,
        sample_rate=next((i.sample_rate for i in notes.inputs if 0 < i.sample_rate <= 10_000_000), 0),
        threshold=thresholds[0] if thresholds else None,
        detection_outputs=notes.detection_outputs,
        detection_scores=notes.detection_scores,
        **keys,  # type: ignore[arg-type]
    )


def _value(raw: object) -> Any:
    if not isinstance(raw, str):
        return raw
    value = label_files.literal(raw)
    return raw if value is None else value


def _ultralytics(metadata: Mapping[str, Any]) -> Metadata | None:
    """The keys that Ultralytics' exporter writes: names, task, imgsz, stride, kpt_shape, head (8.4), channels."""
    if not {"names", "stride"} <= set(metadata):
        return None
    kind = str(metadata.get("task", "detect"))
    image = _value(metadata.get("imgsz", ""))
    size = None
    if isinstance(image, (list, tuple)) and len(image) == 2 and all(isinstance(v, int) and v > 0 for v in image):
        size = (image[1], image[0])
    points = _value(metadata.get("kpt_shape", ""))
    keypoints = (0, 0)
    if isinstance(points, (list, tuple)) and len(points) == 2 and all(isinstance(v, int) for v in points):
        keypoints = (points[0], points[1])
    said = metadata["names"]
    labels = label_files.read_text(said) if isinstance(said, str) else label_files.Reading(label_files.from_value(said))
    doubts = (f"its metadata: {labels.doubt}; --labels names the classes",) if labels.doubt else ()
    unknown = () if kind in _TASKS else (f"the task {kind!r} is not known here: its outputs are told as they are",)
    return Metadata(
        producer="ultralytics",
        description=str(metadata.get("description", "")),
        license=str(metadata.get("license", "")),
        task=_TASKS.get(kind, "raw"),
        kind=kind,
        head=str(metadata.get("head", "")),
        labels=labels.names,
        size=size,
        extras=_MASK_COEFFICIENTS if kind == "segment" else 0,
        keypoints=keypoints,
        warnings=(*doubts, *unknown),
    )
