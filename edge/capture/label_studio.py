"""Kept samples as tasks of Label Studio, with what the model said as predictions to be mended:
https://labelstud.io/guide/tasks and https://labelstud.io/guide/predictions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from edge.capture.about import About
from edge.capture.read import Kept, label_of, outlines_of
from edge.data.vocabulary import OBJECTS

_NO_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def task(about: About, sample: Kept, folder: str) -> dict[str, Any]:
    """One; its picture is found by Label Studio's local storage, whose root is the folder above `folder`."""
    data: dict[str, Any] = {"sample": sample.id, "reasons": ", ".join(sample.reasons)}
    if sample.file:
        data["image"] = f"/data/local-files/?d={quote(folder)}/{quote(sample.file)}"
    else:
        data["row"] = _row(sample.row)
    model = sample.result.get("model", {})
    found = [{"id": f"r{n}", **one} for n, one in enumerate(_results(about.task, sample))]
    scores = [p["score"] for p in sample.predictions if isinstance(p.get("score"), (int, float))]
    score = {"score": min(scores) if about.task in OBJECTS else scores[0]} if scores else {}
    version = f"{model.get('name', '')} {model.get('version', '')}".strip()
    predictions = [{"model_version": version, **score, "result": found}] if found else []
    return {"data": data, "predictions": predictions}


def interface(about: About, *, pictures: bool) -> str:
    """The labelling interface that the predictions fit: XML."""
    shown = '<Image name="sample" value="$image"/>' if pictures else '<Table name="sample" value="$row"/>'
    named = [quoteattr(_text(label)) for label in about.names]
    if about.task in OBJECTS:
        inner = "".join(f"<Label value={name}/>" for name in named)
        kinds = [("box", "RectangleLabels"), ("outline", "PolygonLabels")]
        if about.task == "keypoints":
            kinds.append(("point", "KeyPointLabels"))
        control = "".join(f'<{tag} name="{name}" toName="sample">{inner}</{tag}>' for name, tag in kinds)
    elif about.task == "regress":
        control = '<Number name="number" toName="sample"/>'
    elif about.task in ("classify", "anomaly", "segment"):
        many = ' choice="multiple"' if about.task == "segment" else ""
        inner = "".join(f"<Choice value={name}/>" for name in named)
        control = f'<Choices name="label" toName="sample"{many}>{inner}</Choices>'
    else:
        control = '<TextArea name="text" toName="sample"/>'
    return f"<View>{shown}{control}</View>\n"


def _row(row: Any) -> dict[str, Any]:
    """A table shows names and values."""
    if isinstance(row, Mapping):
        return dict(row)
    return {str(n): value for n, value in enumerate(row if isinstance(row, list) else [row])}


def _results(task: str, sample: Kept) -> Iterator[dict[str, Any]]:
    if task in OBJECTS:
        if sample.width and sample.height:
            for prediction in sample.predictions:
                yield from _regions(prediction, sample)
        return
    for prediction in sample.predictions[:1]:
        if task in ("classify", "anomaly"):
            if (label := label_of(task, prediction)) is not None:
                yield _whole("label", "choices", {"choices": [_text(label)]})
        elif task == "segment" and prediction.get("labels"):
            yield _whole("label", "choices", {"choices": [_text(label) for label in prediction["labels"]]})
        elif task == "regress" and isinstance(prediction.get("value"), (int, float)):
            yield _whole("number", "number", {"number": prediction["value"]})
        elif task == "text" and isinstance(prediction.get("text"), str):
            yield _whole("text", "textarea", {"text": [prediction["text"]]})


def _whole(name: str, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"from_name": name, "to_name": "sample", "type": kind, "value": value}


def _regions(prediction: dict[str, Any], sample: Kept) -> Iterator[dict[str, Any]]:
    """Places in per cent of the picture."""
    label, box = label_of("detect", prediction), prediction.get("box")
    if label is None or not isinstance(box, list):
        return
    across, down = 100 / sample.width, 100 / sample.height
    size = {"original_width": sample.width, "original_height": sample.height, "image_rotation": 0}
    score = {"score": prediction["score"]} if isinstance(prediction.get("score"), (int, float)) else {}
    named = [_text(label)]
    outlines = outlines_of(prediction)
    for outline in outlines:
        points = [[x * across, y * down] for x, y in outline]
        yield {**_whole("outline", "polygonlabels", {"points": points, "polygonlabels": named}), **size, **score}
    if not outlines:
        x_min, x_max = (min(max(0.0, v * across), 100.0) for v in (box[0], box[2]))
        y_min, y_max = (min(max(0.0, v * down), 100.0) for v in (box[1], box[3]))
        place = {"x": x_min, "y": y_min, "width": x_max - x_min, "height": y_max - y_min, "rotation": 0}
        yield {**_whole("box", "rectanglelabels", {**place, "rectanglelabels": named}), **size, **score}
    for x, y, seen in prediction.get("keypoints") or ():
        if seen > 0:
            place = {"x": x * across, "y": y * down, "width": 0.5}
            yield {**_whole("point", "keypointlabels", {**place, "keypointlabels": named}), **size}


def _text(label: str) -> str:
    """A label of strangers, without what XML cannot hold."""
    return _NO_XML.sub("\ufffd", label)
