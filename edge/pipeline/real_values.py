"""An engine in real values: what the model holds quantised is scaled on the way in and out."""

from __future__ import annotations

from typing import Any

import msgspec

from edge.data.sample import ModelInput
from edge.data.tensor import Tensors, dequantize, quantize
from edge.plugins.protocols import Engine


class RealValues:
    """As safe from several threads as the engine is."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._inputs = {s.name: s for s in engine.inputs if s.quantization is not None}
        self._outputs = {s.name: s for s in engine.outputs if s.quantization is not None}
        self.quantized = bool(self._inputs or self._outputs)
        """Whether there is anything to scale."""

    @property
    def quantized_input(self) -> bool:
        """True where the model takes quantised values."""
        return bool(self._inputs)

    def infer(self, tensors: Tensors) -> dict[str, Any]:
        """Runs the model once. Raises SampleError."""
        if self._inputs:
            tensors = {name: self._native(name, array) for name, array in tensors.items()}
        outputs = self._engine.infer(tensors)
        for name, spec in self._outputs.items():
            outputs[name] = dequantize(outputs[name], spec)
        return outputs

    def real_outputs(self, outputs: Tensors) -> Tensors:
        """Outputs of the engine itself, scaled back where they are quantised."""
        return {
            name: dequantize(array, self._outputs[name])
            if name in self._outputs and array.dtype.kind in "iu"
            else array
            for name, array in outputs.items()
        }

    def _native(self, name: str, array: Any) -> Any:
        spec = self._inputs.get(name)
        return quantize(array, spec) if spec is not None and array.dtype.kind == "f" else array

    def real(self, given: ModelInput) -> ModelInput:
        """An input as its outputs are: what a preprocessor made quantised is scaled back."""
        tensors = {
            name: dequantize(array, self._inputs[name]) if name in self._inputs and array.dtype.kind in "iu" else array
            for name, array in given.tensors.items()
        }
        return msgspec.structs.replace(given, tensors=tensors)
