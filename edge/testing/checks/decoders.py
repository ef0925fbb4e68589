"""Proof that a postprocessor is one."""

from __future__ import annotations

import numpy as np

from edge.data import codec
from edge.data.result import Classification, Detection
from edge.data.sample import ModelInput
from edge.data.tensor import Tensors
from edge.plugins import protocols
from edge.plugins.columns import ColumnPostprocessor
from edge.plugins.protocols import (
    BatchPostprocessor,
    ComparingPostprocessor,
    Postprocessor,
    ThresholdPostprocessor,
)
from edge.testing.checks.columns import assert_same_by_columns
from edge.testing.checks.parts import assert_whole


def check_postprocessor(decode: Postprocessor, outputs: Tensors, model_input: ModelInput) -> None:
    """`outputs` are those of one sample, real values, batch dimension 1. Raises AssertionError."""
    assert_whole(protocols.Postprocessor, decode)
    kept = {n: np.array(a, copy=True) for n, a in outputs.items()}
    predictions = list(decode(outputs, model_input))
    first = codec.encode(predictions)
    assert all(np.array_equal(outputs[n], kept[n]) for n in kept), "the outputs are not changed"
    assert codec.encode(list(decode(outputs, model_input))) == first, "it is pure: the same outputs give the same"
    if isinstance(decode, ThresholdPostprocessor):
        told = [p.score for p in predictions if isinstance(p, (Classification, Detection))]
        assert all(score >= decode.threshold for score in told), "nothing below its `threshold` is told"
    if isinstance(decode, ComparingPostprocessor):
        assert isinstance(decode.compares, bool), "`compares` is True or False"
    pair = {n: np.concatenate([a, a]) for n, a in outputs.items()}
    if isinstance(decode, ColumnPostprocessor):
        columns = decode.to_columns(pair, 2)
        if columns is not None:
            assert_same_by_columns(columns, decode, pair, 2)
    if isinstance(decode, BatchPostprocessor):
        together = decode.many(pair, 2)
        if together is not None:
            assert [codec.encode(list(p)) for p in together] == [first, first], "`many` gives the same as one by one"
