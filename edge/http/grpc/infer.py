"""`ModelInfer`: from a request's message to a response's. Knows nothing of the network.

As in JSON, requests come again (`openinference.bodies`): where one client sends one raw tensor after another, the bytes
before it are the same each time, and need not be read again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from edge.data.tensor import STRING, Array, TensorSpec
from edge.http import sequences
from edge.http.grpc.messages import Messages
from edge.http.http_types import Refusal
from edge.http.openinference import tensors
from edge.http.openinference.messages import RequestedOutput
from edge.http.openinference.parameters import refuse_shared_memory
from edge.http.openinference.protocol import LEARN_EVERY, Asked, GivenTensor, Inference
from edge.http.openinference.sequenced import SequencedInference

CONTENTS: Mapping[str, str] = {
    "BOOL": "bool_contents", **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"), "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"), "UINT64": "uint64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip
"""Where a tensor's elements stand, by its datatype; those of FP16 come raw only."""
HEADS_MOST = 64
"""Heads of responses that are kept: the shapes of some models' outputs differ each time."""


class GrpcInference:
    """From any worker thread."""

    def __init__(self, messages: Messages, inference: Inference | SequencedInference, model: tuple[str, str]) -> None:
        """`model`: name and version."""
        self._response = messages["ModelInferResponse"]
        self._inference = inference
        self._model = model

        self._known: KnownCall | None = None
        self._unlike = LEARN_EVERY
        """Calls that were not like it; a thread that loses a count delays what is learnt next."""
        self._heads: dict[Any, bytes] = {}
        """Of responses, all but the tensors themselves."""

    def answer(self, request: Any, data: bytes = b"") -> bytes:
        """The response's message; `data` is the request's, where it may be learnt from. Raises SampleError."""
        given = parameters(request.parameters)
        with self._inference.turn(given) as inference:
            wanted = [RequestedOutput(o.name, parameters(o.parameters)) for o in request.outputs]
            asked = inference.take(_given(request), wanted, request.id)
            if data and len(request.raw_input_contents) == 1 and sequences.of(given) is None:
                self._learn(request, data, inference, asked)
            return self._written(inference, asked)

    def again(self, data: bytes) -> Callable[[], bytes] | None:
        """What answers such a message as one before, but for its tensor; None where it is another."""
        known = self._known
        return partial(self._answer_known, known, data) if known is not None and known.fits(data) else None

    def _answer_known(self, known: KnownCall, data: bytes) -> bytes:
        return self._written(known.inference, known.asked(data))

    def _written(self, inference: Inference, asked: Asked) -> bytes:
        outputs = list(inference.give(inference.run(asked)))
        given = tuple((name, tensors.type_of(values), values.shape) for name, values in outputs)
        # Two messages behind each other are one, with what stands in both (protobuf's encoding).
        tail = self._response(id=asked.id, raw_output_contents=[tensors.to_binary(values) for _, values in outputs])
        return (self._heads.get(given) or self._head(given)) + bytes(tail.SerializeToString())

    def _head(self, given: tuple[tuple[str, str, tuple[int, ...]], ...]) -> bytes:
        name, version = self._model
        response = self._response(model_name=name, model_version=version)
        for output, datatype, shape in given:
            response.outputs.add(name=output, datatype=datatype, shape=shape)
        head = bytes(response.SerializeToString())
        if len(self._heads) < HEADS_MOST:
            self._heads[given] = head
        return head

    def _learn(self, request: Any, data: bytes, inference: Inference, asked: Asked) -> None:
        self._unlike += 1
        if self._unlike < LEARN_EVERY:
            return
        self._unlike = 0
        (raw,) = request.raw_input_contents
        before, mark = data[: len(data) - len(raw)], raw
        while raw and mark == raw:  # by chance, where it is a byte or two: it would be found wherever it stands
            mark = secrets.token_bytes(len(raw))
        try:
            marked = type(request).FromString(before + mark)
        except DecodeError:
            return
        # Only where any other bytes of that length, there, are that tensor and change nothing else.
        if list(marked.raw_input_contents) == [mark]:
            marked.raw_input_contents[0] = raw
            if marked == request:
                self._known = KnownCall(inference, before, len(raw), asked)


class KnownCall:
    """A message that was read, of one raw tensor, which stands at its end."""

    def __init__(self, inference: Inference, before: bytes, size: int, asked: Asked) -> None:
        """`inference` answers it; what stands before the tensor, and its bytes; as it was read."""
        ((name, array),) = asked.inputs.items()
        self.inference = inference
        self._before = before
        self._whole = len(before) + size
        self._spec = inference.spec(name)
        self._shape = array.shape
        self._count = array.size
        self._like = (asked.wanted, asked.binary, asked.id)
        self._rows = asked.rows

    def fits(self, data: bytes) -> bool:
        """True where only the tensor may be another."""
        return len(data) == self._whole and data.startswith(self._before)

    def asked(self, data: bytes) -> Asked:
        """The request. Raises Refusal."""
        tensor = memoryview(data)[len(self._before) :]
        array = tensors.from_binary(tensor, self._spec, self._shape, self._count)
        return Asked({self._spec.name: array}, *self._like, rows=self._rows)


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
