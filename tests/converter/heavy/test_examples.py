"""The scripts of `edge-convert --example` whose frameworks are large."""

from __future__ import annotations

import subprocess
import sys

import pytest

import edge
from converter.demo import examples

pytestmark = pytest.mark.heavy


@pytest.mark.parametrize("framework", ["torch", "keras"])
@pytest.mark.timeout(600)
def test_an_example_trains_and_converts(tmp_path, framework):
    examples.write(framework, tmp_path)
    done = subprocess.run([sys.executable, "train_digits.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    model = edge.load(tmp_path / "digits.onnx")
    labels = (tmp_path / "labels.csv").read_text().split()
    rows = [[float(v) for v in line.split(",")] for line in (tmp_path / "rows.csv").read_text().splitlines()]
    right = [model.predict(row).predictions[0].label == label for row, label in zip(rows, labels, strict=True)]
    assert sum(right) > 0.75 * len(rows)
