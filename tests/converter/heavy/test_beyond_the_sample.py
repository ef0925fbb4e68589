"""Networks: what their rows do not show is told by their graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import converter
from converter.proof.parity import ParityError

ROWS = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)


@pytest.fixture
def logit(torch: Any) -> Any:
    """A layer whose answers to the rows lie between 0 and 1, though nothing keeps them there."""
    layer = torch.nn.Linear(2, 1)
    layer.weight.data[:], layer.bias.data[:] = 0.01, 0.3
    return layer


@pytest.mark.parametrize("target", ["onnx", "tflite"])
def test_a_logit_is_told_by_the_graph_and_not_by_its_values(torch: Any, logit: Any, target: Any) -> None:
    alone = converter.convert(logit, sample=ROWS, task="classify", target=target)
    squashed = converter.convert(torch.nn.Sequential(logit, torch.nn.Sigmoid()), sample=ROWS, target=target)

    assert (alone.manifest.activation, squashed.manifest.activation) == ("sigmoid", "")


@pytest.mark.parametrize("target", ["onnx", "tflite"])
def test_int8_numbers_with_an_offset_are_judged_by_their_span(torch: Any, target: Any) -> None:
    class Pressure(torch.nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.Sequential(torch.nn.Linear(2, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1))

        def forward(self, rows: Any) -> Any:
            return self.inner(rows) * 300 + 101325

    with pytest.raises(ParityError, match="rows differ"):
        converter.convert(Pressure(), sample=ROWS, quantize="int8", target=target)
