"""`--track` through the process, over a video made here: two things pass one another."""

from __future__ import annotations

import json

import numpy as np
import pytest
from support import onnxmodels
from support.processes import PATIENCE_S

cv2 = pytest.importorskip("cv2")

FRAMES = 40
SIZE = 64


@pytest.fixture
def film(tmp_path):
    """A red thing goes right, a green one left, above it; the red one is too dark to be seen in five frames, and hardly
    to be seen in five others."""
    path = tmp_path / "film.avi"
    out = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"FFV1"), 30.0, (SIZE, SIZE))
    for n in range(FRAMES):
        picture = np.zeros((SIZE, SIZE, 3), np.uint8)
        red = 0 if 15 <= n < 20 else 60 if 25 <= n < 30 else 255
        picture[34:54, n : n + 12, 2] = red
        picture[8:28, SIZE - 12 - n : SIZE - n, 1] = 255
        out.write(picture)
    out.release()
    return path


def results(run, tmp_path, film, *flags):
    model = onnxmodels.blobs(tmp_path / "blobs.onnx", SIZE)
    found = tmp_path / f"results{len(flags)}.jsonl"
    process = run(
        "--model", model, "--source", film, "--mqtt", "none", "--sink", f"file:{found}", "--threshold", "0.5",
        "--resize", "stretch", *flags,
    )  # fmt: skip
    assert process.process.wait(PATIENCE_S) == 0, process.said()
    return [json.loads(line)["predictions"] for line in found.read_text().splitlines()]


def ids_above(found, line: float) -> list[int | None]:
    """Of each frame the id of the thing there; None where it is not told."""
    return [next((p.get("track_id", 0) for p in frame if p["box"][1] >= line), None) for frame in found]


@pytest.mark.parametrize("instances", ["1", "3"])
def test_things_in_a_video_keep_their_ids(edge_run, tmp_path, film, instances):
    found = results(edge_run, tmp_path, film, "--track", "--instances", instances)
    assert len(found) == FRAMES
    red = ids_above(found, 30)
    first = red[1]
    assert red == [0] + [first] * 14 + [None] * 5 + [first] * 20
    green = {p.get("track_id") for frame in found[1:] for p in frame if p["box"][1] < 30}
    assert len(green) == 1
    assert green != {first}
    back = next(p for p in found[20] if p["box"][1] >= 30)
    assert (back["age"], back["lost"]) == (20, 5)


def test_without_track_results_are_as_they_were(edge_run, tmp_path, film):
    found = results(edge_run, tmp_path, film)
    assert ids_above(found, 30) == [0] * 15 + [None] * 5 + [0] * 5 + [None] * 5 + [0] * 10
    assert not any("track_id" in p or "age" in p for frame in found for p in frame)
