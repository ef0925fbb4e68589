"""The kind of input "percent": rows of numbers from 0 to 100, which the model takes as shares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.data import codec
from edge.data.sample import ModelInput, Payload, Sample
from edge.data.tensor import TensorSpec
from edge.errors import ModelError, SampleError
from edge.model.manifest import Manifest
from edge.preprocess import PreprocessorInfo


class Percent:
    def __init__(self, spec: TensorSpec) -> None:
        self._name = spec.name
        self._width = spec.fixed()[-1]

    def split(self, payload: Payload) -> Sequence[Payload]:
        return [payload]  # one row a payload, no batches

    def __call__(self, sample: Sample) -> ModelInput:
        row = codec.decode(sample.payload) if isinstance(sample.payload, bytes) else sample.payload
        if not isinstance(row, list) or len(row) != self._width:
            raise SampleError(f"a row of {self._width} numbers from 0 to 100 belongs here")
        return ModelInput({self._name: np.array([row], np.float32) / 100})


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> Percent:
    if len(specs) != 1:
        raise ModelError(f"{manifest.name}: kind 'percent' is for models of one input, this one has {len(specs)}")
    return Percent(specs[0])


PREPROCESSOR = PreprocessorInfo(edge_api=1, create=create, takes=("rows",))
