"""Results that a model may give, to try a template on before the first real one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from edge.data.result import (
    SCHEMA,
    Anomaly,
    Classification,
    Detection,
    Event,
    ModelRef,
    Nested,
    Raw,
    Regression,
    Result,
    Segmentation,
    Text,
    Timing,
)
from edge.data.vocabulary import OBJECTS

SEVERAL = 3


def results(task: str, labels: Sequence[str], values: Sequence[str], base: str, model: ModelRef) -> list[Result]:
    """Where nothing is found, where one object is, where several are, and with all that a result may have."""
    _, device, name = base.rsplit("/", 2)
    found = _found(task, tuple(labels) or ("label",), tuple(values) or ("value",))
    empty = Result(
        schema=SCHEMA,
        id=f"{device}/{name}/00000000/1",
        time="2026-01-02T03:04:05.678901Z",
        clock_synced=True,
        device=device,
        model=model,
        source="camera:0",
        seq=1,
        task=task,
        predictions=[],
        timing_ms=Timing(0.1, 1.25, 0.1),
    )
    event = Event("enter", 7, "label", zone="door")
    most = replace(
        empty, predictions=found, input_id="a/b 1", retained=True, counts={"door": {"label": 1}}, events=[event]
    )
    if task in ("regress", "raw", "anomaly", "segment"):  # these always find something
        return [replace(empty, predictions=found), most]
    return [empty, replace(empty, predictions=found[:1]), most]


def _found(task: str, labels: tuple[str, ...], values: tuple[str, ...]) -> list[Any]:
    names = [labels[i % len(labels)] for i in range(SEVERAL)]
    if task == "classify":
        return [Classification(i, name, 0.9 - i / 10) for i, name in enumerate(names)]
    if task in OBJECTS:
        plain = [Detection(i, name, 0.9 - i / 10, (1.0, 2.0, 30.0, 40.5)) for i, name in enumerate(names)]
        nothing = Nested("plate", "text", [])  # whatever a second model does, there may be none
        first = replace(plain[0], track_id=7, age=3, lost=1, zones=["door"], keypoints=[(1.0, 2.0, 0.5)], then=nothing)
        return [first, replace(plain[1], then=replace(nothing, predictions=[Text("AB 123", 0.9)])), *plain[2:]]
    if task == "regress":
        return [Regression(name, 21.5) for name in values]
    if task == "anomaly":
        return [Anomaly(0.7, True)]
    if task == "segment":
        return [Segmentation(list(labels[:SEVERAL]), [0.5, 0.3, 0.2][: len(labels)])]
    if task == "text":
        return [Text("AB 123", 0.9)] * SEVERAL
    return [Raw("output", [1, 2], "float32", [0.5, 1.5])]
