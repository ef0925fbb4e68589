"""A new model loaded for the first time, on a device that has memory for it, and on one that has not."""

from __future__ import annotations

import pytest
from support.updating import write_model

from edge.app import proving
from edge.settings import layers
from edge.telemetry import memory


@pytest.mark.parametrize(("left", "again"), [(20_000_000, True), (10_000_000_000, False)])
def test_a_model_that_does_not_load_while_memory_is_short_is_put_off_and_not_refused_for_good(
    tmp_path, monkeypatch, left, again
):
    old, new = write_model(tmp_path / "m1.onnx", "1"), tmp_path / "m2.onnx"
    new.write_bytes(b"what an engine says of this is what it says where it gets no memory")
    monkeypatch.setattr(memory, "available", lambda: left)
    proof = proving.prove(layers.read(["--model", str(old), "--mqtt", "none", "--http", "0"], {}, "0"), new, old)

    assert "m2.onnx" in proof.reason
    assert (proof.again, "while memory was short: 20 MB would stay free" in proof.reason) == (again, again)
