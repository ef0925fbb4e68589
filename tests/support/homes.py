"""Documents and results for the tests of Home Assistant."""

from __future__ import annotations

import json
from typing import Any

from edge.data import codec
from edge.data.result import ModelRef, Result, Timing
from edge.homeassistant.components import Results
from edge.homeassistant.document import Device, Document, document

PI = "Raspberry Pi 5 Model B Rev 1.0"
COCO = ("person", "bicycle", "car", "dog", "???", "fire hydrant", "fire-hydrant", "katze")


def made(task: str, name: str = "line3", model: str = "m", process_status: str = "", **known: Any) -> Document:
    device = Device(name, model, "2", "edge", "1.0", board=PI, serial="10000000abcdef", process_status=process_status)
    return document(device, Results(task, **known))


def said(found: Document) -> dict[str, Any]:
    """The document as it is published."""
    return json.loads(found.message().payload)


def result(task: str, *predictions: Any) -> bytes:
    when, ref, timing = "2026-01-02T03:04:05.000006Z", ModelRef("m", "1", "0" * 64), Timing(0.5, 2.0, 0.25)
    return codec.encode(Result(1, "d/m/b/1", when, True, "d", ref, "s", 1, task, list(predictions), timing))
