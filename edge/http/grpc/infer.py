"""`ModelInfer`: from a request's message to a response's. Knows nothing of the network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from edge.data.tensor import STRING, Array, TensorSpec
from edge.http.grpc.messages import Messages
from edge.http.http_types import Refusal
from edge.http.openinference import tensors
from edge.http.openinference.messages import RequestedOutput
from edge.http.openinference.parameters import refuse_shared_memory
from edge.http.openinference.protocol import GivenTensor, Inference
from edge.http.openinference.sequenced import SequencedInference

CONTENTS: Mapping[str, str] = {
    "BOOL": "bool_contents", **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"), "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"), "UINT64": "uint64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip
"""Where a tensor's elements stand, by its datatype; those of FP16 come raw only."""


class GrpcInference:
    """From any worker thread."""

    def __init__(self, messages: Messages, inference: Inference | SequencedInference, model: tuple[str, str]) -> None:
        """`model`: name and version."""
        self._response = messages["ModelInferResponse"]
        self._inference = inference
        self._model = model

    def answer(self, request: Any) -> Any:
        """The response. Raises SampleError."""
        name, version = self._model
        with self._inference.turn(parameters(request.parameters)) as inference:
            wanted = [RequestedOutput(o.name, parameters(o.parameters)) for o in request.outputs]
            inference_request = inference.run(inference.take(_given(request), wanted, request.id))
            response = self._response(model_name=name, model_version=version, id=request.id)
            for output, values in inference.give(inference_request):
                datatype = tensors.type_of(values)
                response.outputs.add(name=output, datatype=datatype, shape=values.shape)
                response.raw_output_contents.append(tensors.to_binary(values))
            return response


def parameters(given: Any) -> dict[str, Any]:
    """A map of `InferParameter` as values."""
    return {name: getattr(value, value.WhichOneof("parameter_choice") or "bool_param") for name, value in given.items()}


def _given(request: Any) -> Iterator[GivenTensor]:
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise Refusal(400, f"{len(raw)} raw_input_contents for {len(request.inputs)} inputs")
    for at, tensor in enumerate(request.inputs):
        shape = list(tensor.shape)
        if tensor.parameters:
            refuse_shared_memory(parameters(tensor.parameters), f"input {tensor.name[:60]!r}")
        if raw and tensor.HasField("contents"):
            raise Refusal(400, f"input {tensor.name[:60]!r} has both contents and raw_input_contents")
        read = partial(_from_raw, memoryview(raw[at]), shape) if raw else partial(_from_contents, tensor, shape)
        yield GivenTensor(tensor.name, tensor.datatype, shape, read)


def _from_raw(data: memoryview, shape: list[int], spec: TensorSpec, count: int) -> Array:
    return tensors.from_binary(data, spec, shape, count)


def _from_contents(tensor: Any, shape: list[int], spec: TensorSpec, count: int) -> Array:
    field = CONTENTS.get(tensor.datatype)
    if field is None:
        raise Refusal(400, f"input {spec.name!r}: {tensor.datatype} comes in raw_input_contents only")
    other = next((f.name for f, _ in tensor.contents.ListFields() if f.name != field), None)
    if other is not None:
        raise Refusal(400, f"input {spec.name!r}: {other} is set; {tensor.datatype} stands in {field}")
    values = getattr(tensor.contents, field)
    if len(values) != count:
        raise Refusal(400, f"input {spec.name!r}: {len(values)} values in {field}; the shape holds {count}")
    if spec.dtype != STRING:
        return tensors.cast(np.array(values), spec).reshape(shape)
    try:
        return np.array([text.decode("utf-8") for text in values], dtype=object).reshape(shape)
    except UnicodeDecodeError as exc:
        raise Refusal(400, f"input {spec.name!r}: a text is not UTF-8: {exc.reason}") from exc
