"""`--zone` and `--line` over a real broker: a thing walks through a zone and over a line, in a video made here."""

from __future__ import annotations

import json
from importlib import resources

import jsonschema
import numpy as np
import pytest
from support import onnxmodels
from support.processes import PATIENCE_S

cv2 = pytest.importorskip("cv2")

SIZE = 64
ZONE, LINE = "middle=0.25,0,0.6,0,0.6,1,0.25,1", "end=48,0,48,64"


@pytest.fixture
def film(tmp_path):
    """A red thing, 12 wide, goes from the left edge to the right; at the end nothing is left for two seconds."""
    path = tmp_path / "film.avi"
    out = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"FFV1"), 30.0, (SIZE, SIZE))
    for n in range(52 + 60):
        picture = np.zeros((SIZE, SIZE, 3), np.uint8)
        if n < 52:
            picture[34:54, n : n + 12, 2] = 255
        out.write(picture)
    out.release()
    return path


@pytest.fixture
def told(edge_run, client, broker, film, tmp_path):
    """What a subscriber hears of the whole film, with these flags."""

    def run(*flags: str):
        listener = client(broker.port, "edge/#")
        model = onnxmodels.blobs(tmp_path / "blobs.onnx", SIZE)
        process = edge_run(
            "--model", model, "--source", film, "--mqtt", broker.url, "--device", "pi", "--threshold", "0.5",
            "--resize", "stretch", "--track", "--zone", ZONE, "--line", LINE, *flags,
        )  # fmt: skip
        assert process.process.wait(PATIENCE_S) == 0, process.said()
        listener.wait_for_text("edge/pi/blobs/status", b"offline")
        return listener

    return run


def test_what_happens_is_told_once_each_whatever_the_publishing_rules_hold_back(told):
    listener = told("--on-change", "--min-interval", "3600")
    events = listener.of("event")
    assert [(e["type"], e.get("zone", e.get("line"))) for e in events] == [
        ("appear", None),
        ("enter", "middle"),
        ("leave", "middle"),
        ("cross", "end"),
        ("gone", None),
    ]
    assert events[3]["direction"] == "out"
    assert events[2]["dwell_s"] == pytest.approx(22 / 30, abs=0.05)  # past both edges by 2 pixels
    schema = json.loads(resources.files("edge.data").joinpath("event.schema.json").read_text())
    jsonschema.validate(events, {"type": "array", "items": schema})
    assert len(listener.of("result")) < 5


def test_results_count_what_is_in_a_zone_and_are_valid_by_their_schema(told):
    results = told().of("result")
    counts = [r["counts"]["middle"].get("1", 0) for r in results]
    assert counts == [0] * counts.index(1) + [1] * sum(counts) + [0] * (len(counts) - counts.index(1) - sum(counts))
    assert [p["zones"] for p in results[25]["predictions"]] == [["middle"]]
    schema = json.loads(resources.files("edge.data").joinpath("result.schema.json").read_text())
    jsonschema.validate(results, {"type": "array", "items": schema})
