"""`edge-convert` and then `edge-run`, as a person would type them: the framework's answers come out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.matrix import keras_subject, torch_subject

BIN = Path(sys.executable).parent
ROWS = 30


def command(*args: Any) -> str:
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def save_torch(kind: str, path: Path) -> Any:
    import torch

    one = torch_subject(kind)
    program = torch.export.export(
        one.model, (torch.from_numpy(one.rows[:4]),), dynamic_shapes=({0: torch.export.Dim.AUTO},)
    )
    torch.export.save(program, path)
    return one


def save_keras(kind: str, path: Path) -> Any:
    one = keras_subject(kind)
    one.model.save(path)
    return one


@pytest.mark.parametrize(
    ("save", "kind", "source", "target", "flags"),
    [
        (save_torch, "cnn", "m.pt2", "m.onnx", ["--quantize", "int8"]),
        (save_torch, "transformer", "m.pt2", "m.onnx", []),
        (save_torch, "lstm", "m.pt2", "m.tflite", []),
        (save_torch, "mlp", "m.pt2", "m.onnx", []),
        (save_keras, "cnn", "m.keras", "m.tflite", ["--quantize", "auto"]),
        (save_keras, "binary", "m.keras", "m.onnx", ["--labels", "malignant,benign"]),
        (save_keras, "lstm", "m.h5", "m.tflite", []),
    ],
)
def test_what_is_converted_is_served(
    save: Any, kind: str, source: str, target: str, flags: list[str], tmp_path: Path
) -> None:
    one = save(kind, tmp_path / source)
    np.save(tmp_path / "sample.npy", one.sample)
    np.save(tmp_path / "truth.npy", one.expect)
    held = one.rows[:ROWS]
    if kind == "cnn" and target.endswith(".tflite") and held.shape[1] == 1:
        held = np.moveaxis(held, 1, -1)
    np.save(tmp_path / "held.npy", held)

    shown = command(
        BIN / "edge-convert", tmp_path / source, "-o", tmp_path / target, "--sample", tmp_path / "sample.npy",
        "--expect", tmp_path / "truth.npy", "--report", tmp_path / "report.html", *flags,
    )  # fmt: skip
    lines = command(
        BIN / "edge-run", "--model", tmp_path / target, "--mqtt", "none", "--source", tmp_path / "held.npy",
        "--state-dir", tmp_path / "state",
    ).splitlines()  # fmt: skip

    results = [json.loads(line) for line in lines]
    assert "passed" in shown
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    assert len(results) == ROWS
    if not one.classifies:
        values = [r["predictions"][0]["value"] for r in results]
        np.testing.assert_allclose(values, one.answers[:ROWS, 0], atol=1e-4)
        return
    wanted = one.answers[:ROWS]
    places = (wanted[:, 0] > 0.5).astype(int) if wanted.shape[1] == 1 else np.argmax(wanted, axis=1)
    answered = [r["predictions"][0]["index"] for r in results]
    assert np.mean(np.array(answered) == places) >= (0.96 if flags[:1] == ["--quantize"] else 1.0)
