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


def pressure(torch: Any) -> Any:
    """A network whose answers span some hundred about a hundred thousand."""

    class Pressure(torch.nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.Sequential(torch.nn.Linear(2, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1))

        def forward(self, rows: Any) -> Any:
            return self.inner(rows) * 300 + 101325

    torch.manual_seed(0)
    return Pressure()


def test_int8_numbers_with_an_offset_are_judged_by_their_span(torch: Any) -> None:
    artifact = converter.convert(pressure(torch), sample=ROWS, quantize="int8", target="onnx")

    assert artifact.manifest.parity is not None
    assert artifact.manifest.parity.max_difference > 1e-3  # some numbers of a span of hundreds; 1e-5 of their size


def test_int8_numbers_whose_offset_is_quantised_too_are_refused(torch: Any) -> None:
    with pytest.raises(ParityError, match="rows differ"):
        converter.convert(pressure(torch), sample=ROWS, quantize="int8", target="tflite")
