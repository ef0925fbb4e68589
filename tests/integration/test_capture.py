"""`--capture` of `edge-run` as a process: rows of a source, and pictures over HTTP."""

from __future__ import annotations

import json
import signal
import subprocess

import cv2
import numpy as np
import pytest
from support import onnxmodels
from support.processes import BINARIES, free_port, listens, until

RUN = BINARIES / "edge-run"


def kept(folder) -> list[dict]:
    subprocess.run([RUN, "--capture-dir", folder, "--capture-export", "jsonl"], check=True, capture_output=True)
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


def test_rows_that_rules_pick_are_kept_with_their_results_and_all_results_are_published(flowers, tmp_path):
    rows = [flowers.rows[0]] * 3 + [flowers.rows[60]] * 4
    (tmp_path / "rows.json").write_text(json.dumps(rows[:3]) + "\n" + json.dumps(rows[3:]) + "\n")  # two batches
    command = [RUN, flowers.path, "--mqtt", "none", "--source", "-", "--sink", "file:results.jsonl", "--state-dir",
               "state", "--capture", "class:versicolor", "--device", "pi"]  # fmt: skip
    with (tmp_path / "rows.json").open() as lines:
        done = subprocess.run(command, cwd=tmp_path, stdin=lines, capture_output=True, text=True, check=True)
    published = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    samples = kept(tmp_path / "state" / "pi.flowers.capture")

    assert "capture  kept=4" in done.stderr
    assert [sample["row"] for sample in samples] == rows[3:]
    assert [sample["result"] for sample in samples] == published[3:]
    assert len(published) == 7


@pytest.mark.usefixtures("curl_is_here")
def test_pictures_over_http_are_kept_as_they_came(tmp_path):
    pytest.importorskip("starlette")
    port, model = free_port(), onnxmodels.blobs(tmp_path / "blobs.onnx")
    jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), 200, np.uint8))[1].tobytes()
    (tmp_path / "p.jpg").write_bytes(jpeg)
    command = [RUN, model, "--mqtt", "none", "--http", str(port), "--state-dir", "state", "--capture", "random:1",
               "--capture-dir", "kept"]  # fmt: skip
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        until(lambda: listens(port), "the endpoint")
        url = f"http://127.0.0.1:{port}/predict"
        sent = ["curl", "-sS", "--data-binary", f"@{tmp_path / 'p.jpg'}", url]
        answer = json.loads(subprocess.run(sent, capture_output=True, check=True).stdout)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
    (sample,) = kept(tmp_path / "kept")

    assert (tmp_path / "kept" / sample["file"]).read_bytes() == jpeg
    assert (sample["width"], sample["height"]) == (64, 48)
    assert sample["result"] == answer
