"""Open Inference Protocol v2, `infer`: JSON and the binary tensor extension.

The hot path: one function from bytes to a response, without framework or event loop, so that it can run where it
is cheapest. Tensors are the model's own, in its own types: no preprocessing, no scaling of quantised values.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from edge.data.tensor import Array, Tensors, TensorSpec
from edge.http import sequences
from edge.http.http_types import Refusal, Response
from edge.http.openinference import bodies, tensors
from edge.http.openinference.bodies import KnownBody
from edge.http.openinference.messages import (
    InferRequest,
    InferResponse,
    InputTensor,
    OutputTensor,
    RequestedOutput,
)
from edge.http.openinference.parameters import all_binary, binary_size, check_output, classes_of, flag
from edge.http.openinference.statistics import InferenceStatistics
from edge.plugins.protocols import Engine

HEADER_LENGTH = b"inference-header-content-length"
BINARY = b"application/octet-stream"


class Asked(msgspec.Struct):
    """A request, read: tensors for the engine and how the outputs are wanted."""

    inputs: dict[str, Array]
    wanted: list[RequestedOutput]
    binary: bool
    id: str | UnsetType
    queue_ns: int = 0
    read_ns: int = 0
    rows: int = 1
    infer_ns: int = 0
    outputs: dict[str, Any] = {}


@dataclass(slots=True)
class GivenTensor:
    """A tensor of a request in another encoding; `read` makes an array of so many elements for a spec."""

    name: str
    datatype: str
    shape: Sequence[int]
    read: Callable[[TensorSpec, int], Array]


_encoder = msgspec.json.Encoder()
LEARN_EVERY = 32
"""Requests that are read whole between two that are learnt from."""


class Inference:
    """Reads requests, runs the engine, writes responses. From any thread."""

    def __init__(
        self,
        engine: Engine,
        name: str,
        version: str,
        labels: Sequence[str],
        statistics: InferenceStatistics,
        watch: Callable[[Tensors, Tensors], None] | None = None,
    ) -> None:
        """`watch` is shown the tensors of each run that answers a request, in and out."""
        self._watch = watch
        self._engine = engine
        self._name = name
        self._version = version
        self._labels = tuple(labels)
        self._statistics = statistics
        self._inputs = {s.name: s for s in engine.inputs}
        self._all = [RequestedOutput(s.name) for s in engine.outputs]
        self._outputs = {s.name for s in engine.outputs}
        self._known: tuple[KnownBody, Asked] | None = None
        self._unlike = LEARN_EVERY
        """Requests that were not like it; a thread that loses a count delays what is learnt next."""

    def answer(self, body: bytes, headers: Mapping[bytes, bytes], arrived_ns: int) -> Response:
        """All of it; `arrived_ns` is of `time.perf_counter_ns`. Raises SampleError."""
        return self.write(self.run(self.read(body, headers, arrived_ns)))

    def turn(self, parameters: Mapping[str, Any]) -> AbstractContextManager[Inference]:
        """What answers a request with such parameters: itself. Raises Refusal."""
        sequences.of(parameters)
        return nullcontext(self)

    def parameters(self, body: bytes, headers: Mapping[bytes, bytes]) -> Mapping[str, Any]:
        """Those of the request as a whole. Raises Refusal."""
        length_header = headers.get(HEADER_LENGTH)
        length = len(body) if length_header is None else self._header_length(length_header, len(body))
        return self._decoded(body, length).parameters or {} if length else {}

    # --- reading ------------------------------------------------------------------------------------

    def read(self, body: bytes, headers: Mapping[bytes, bytes], arrived_ns: int) -> Asked:
        """Raises Refusal for what is not a request that the model can take."""
        started = time.perf_counter_ns()
        length_header = headers.get(HEADER_LENGTH)
        if length_header is None:
            asked = self._like_before(body) or self._read(body, len(body))
        else:
            length = self._header_length(length_header, len(body))
            asked = self._read(body, length) if length else self._raw(memoryview(body))
        asked.queue_ns = started - arrived_ns
        asked.read_ns = time.perf_counter_ns() - started
        return asked

    @staticmethod
    def _header_length(header: bytes, size: int) -> int:
        # int() would take "+3", " 3" and "1_000" as well.
        if not header.isdigit() or len(header) > 18 or int(header) > size:
            raise Refusal(
                400,
                f"Inference-Header-Content-Length {header[:20].decode('latin-1')!r}: the body has {size} bytes; "
                "say how many of them are JSON",
            )
        return int(header)

    @staticmethod
    def _decoded(body: bytes, length: int) -> InferRequest:
        try:
            return bodies.decode(body if length == len(body) else body[:length])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise Refusal(400, f"not an inference request: {exc}") from exc

    def _read(self, body: bytes, length: int) -> Asked:
        view = memoryview(body)
        request = self._decoded(body, length)
        inputs: dict[str, Array] = {}
        at = length
        for tensor in request.inputs:
            if tensor.name in inputs:
                raise Refusal(400, f"input {tensor.name!r} comes twice")
            inputs[tensor.name], at = self._tensor(tensor, view, at)
        if at != len(body):
            raise Refusal(400, f"{len(body) - at} bytes behind the last tensor; check binary_data_size")
        if len(inputs) < len(self._inputs):
            self._check_complete(inputs)
        parameters, outputs = request.parameters, request.outputs
        binary = all_binary(parameters) if parameters else False
        wanted = self._wanted(outputs) if outputs else self._all
        asked = Asked(inputs, wanted, binary, UNSET if request.id is None else request.id, rows=_rows(inputs))
        if len(inputs) == 1 and length == len(body):
            self._learn(body, request, asked)
        return asked

    def _like_before(self, body: bytes) -> Asked | None:
        """A request as one before, but for its numbers."""
        if self._known is None:
            return None
        body_before, asked = self._known
        array = body_before.array(body)
        if array is None:
            return None
        (name,) = asked.inputs
        return Asked({name: array}, asked.wanted, asked.binary, asked.id, rows=asked.rows)

    def _learn(self, body: bytes, request: InferRequest, asked: Asked) -> None:
        self._unlike += 1
        if self._unlike < LEARN_EVERY:
            return
        self._unlike = 0
        ((name, array),) = asked.inputs.items()
        known = bodies.learn(body, request, self._inputs[name], array)
        if known is not None:
            self._known = known, msgspec.structs.replace(asked)

    def _tensor(self, tensor: InputTensor, view: memoryview, at: int) -> tuple[Array, int]:
        spec = self._inputs.get(tensor.name) or self.spec(tensor.name)
        count = tensors.check(spec, tensor.datatype, tensor.shape)
        size = binary_size(tensor.parameters, tensor.name) if tensor.parameters else None
        if size is None:
            if not len(tensor.data):
                raise Refusal(400, f"input {tensor.name!r} has neither data nor binary_data_size")
            return tensors.from_json(tensor.data, spec, tensor.shape, count), at
        if len(tensor.data):
            raise Refusal(400, f"input {tensor.name!r} has both data and binary_data_size")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(view) - at:
            raise Refusal(
                400, f"input {tensor.name!r}: binary_data_size {str(size)[:30]}; {len(view) - at} bytes are left"
            )
        return tensors.from_binary(view[at : at + size], spec, tensor.shape, count), at + size

    def spec(self, name: str) -> TensorSpec:
        """Of an input. Raises Refusal."""
        spec = self._inputs.get(name)
        if spec is None:
            raise Refusal(400, f"unknown input {name[:60]!r}; the model takes {', '.join(self._inputs)}")
        return spec

    def take(self, given: Iterable[GivenTensor], outputs: list[RequestedOutput], id: str) -> Asked:  # noqa: A002
        """A request in another encoding. Raises Refusal."""
        inputs: dict[str, Array] = {}
        for tensor in given:
            if tensor.name in inputs:
                raise Refusal(400, f"input {tensor.name!r} comes twice")
            spec = self.spec(tensor.name)
            inputs[tensor.name] = tensor.read(spec, tensors.check(spec, tensor.datatype, tensor.shape))
        self._check_complete(inputs)
        return Asked(inputs, self._wanted(outputs), True, id, rows=_rows(inputs))

    def _check_complete(self, inputs: Mapping[str, Array]) -> None:
        if len(inputs) < len(self._inputs):
            absent = [name for name in self._inputs if name not in inputs]
            raise Refusal(400, f"input {absent[0]!r} is missing; the model takes {', '.join(self._inputs)}")

    def _wanted(self, outputs: list[RequestedOutput] | None) -> list[RequestedOutput]:
        if not outputs:
            return self._all
        for output in outputs:
            if output.name not in self._outputs:
                known = ", ".join(sorted(self._outputs))
                raise Refusal(400, f"unknown output {output.name[:60]!r}; the model gives {known}")
            if output.parameters:
                check_output(output.parameters, output.name)
        return outputs

    def _raw(self, view: memoryview) -> Asked:
        """A body that is one tensor and nothing else."""
        if len(self._inputs) != 1:
            raise Refusal(400, f"a raw request is for one input; the model takes {', '.join(self._inputs)}")
        spec = next(iter(self._inputs.values()))
        dims = self._raw_shape(spec, len(view))
        if tensors.datatype(spec) == "BYTES":
            return self._raw_text(spec, dims, view)
        array = tensors.from_binary(view, spec, dims, tensors.check(spec, tensors.datatype(spec), dims))
        return Asked({spec.name: array}, self._all, True, UNSET, rows=_rows({spec.name: array}))

    def _raw_text(self, spec: TensorSpec, dims: list[int], view: memoryview) -> Asked:
        """Triton puts no length before the one text that a raw request may be."""
        if any(d != 1 for d in dims):
            raise Refusal(400, f"a raw request holds one text; the model takes {tensors.shape(spec)}")
        array = tensors.text(view, spec).reshape(dims)
        return Asked({spec.name: array}, self._all, True, UNSET)

    @staticmethod
    def _raw_shape(spec: TensorSpec, size: int) -> list[int]:
        dims = tensors.shape(spec)
        if len(dims) > 1 and dims.count(-1) > 1 and dims[0] == -1:
            dims[0] = 1  # a batch dimension: raw requests hold one sample
        if dims.count(-1) > 1:
            raise Refusal(400, f"a raw request needs at most one free dimension; the model takes {tensors.shape(spec)}")
        kind = tensors.datatype(spec)
        if kind == "BYTES":
            return [1 if d == -1 else d for d in dims]
        if -1 in dims:
            each = tensors.NUMPY[kind].itemsize
            for d in dims:
                each *= d if d != -1 else 1
            if size == 0 or size % each:
                raise Refusal(400, f"{size} bytes; the model takes multiples of {each}")
            dims[dims.index(-1)] = size // each
        return dims

    # --- running ------------------------------------------------------------------------------------

    def run(self, asked: Asked) -> Asked:
        """Runs the engine. Raises SampleError."""
        started = time.perf_counter_ns()
        asked.outputs = self._engine.infer(asked.inputs)
        asked.infer_ns = time.perf_counter_ns() - started
        self._statistics.ran(asked.rows, asked.infer_ns)
        if self._watch is not None:
            self._watch(asked.inputs, asked.outputs)
        return asked

    def outputs(self, inputs: Mapping[str, Array]) -> Mapping[str, Any]:
        """The outputs of tensors that came in another protocol's words, counted as a request. Raises SampleError."""
        asked = self.run(Asked(dict(inputs), [], False, UNSET, rows=_rows(inputs)))
        self._statistics.ok(asked.rows, 0, (0, asked.infer_ns, 0))
        return asked.outputs

    def infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The model's outputs, counted as nobody's. Raises SampleError."""
        return {name: tensors.as_array(v) for name, v in self._engine.infer(inputs).items()}

    def run_together(self, group: Sequence[Asked]) -> None:
        """Runs several requests as one batch. Raises SampleError; ValueError where the model mixes rows."""
        started = time.perf_counter_ns()
        joined = {name: np.concatenate([a.inputs[name] for a in group]) for name in group[0].inputs}
        outputs = self.infer(joined)
        spent_ns = time.perf_counter_ns() - started
        rows = sum(a.rows for a in group)
        if any(v.ndim == 0 or len(v) != rows for v in outputs.values()):
            raise ValueError("the model does not keep its rows apart")
        self._statistics.ran(rows, spent_ns)
        if self._watch is not None:
            self._watch(joined, outputs)
        at = 0
        for asked in group:
            asked.infer_ns = spent_ns
            asked.outputs = {name: values[at : at + asked.rows] for name, values in outputs.items()}
            at += asked.rows

    # --- writing ------------------------------------------------------------------------------------

    def write(self, asked: Asked) -> Response:
        """The response. Raises SampleError where an output cannot be given as asked."""
        started = time.perf_counter_ns()
        behind: list[bytes] = []
        outputs = [self._output(w, asked, behind) for w in asked.wanted]
        head = _encoder.encode(InferResponse(self._name, self._version, outputs, asked.id))
        if b"null" in head:
            self._check_finite(asked, outputs)
        self._statistics.ok(
            asked.rows, asked.queue_ns, (asked.read_ns, asked.infer_ns, time.perf_counter_ns() - started)
        )
        if not behind:
            return Response(head)
        return Response(b"".join((head, *behind)), kind=BINARY, headers=((HEADER_LENGTH, str(len(head)).encode()),))

    def give(self, asked: Asked) -> Iterator[tuple[str, Array]]:
        """The outputs as they are asked for, for another encoding. Raises SampleError."""
        for wanted in asked.wanted:
            yield wanted.name, self._values(wanted, asked)
        self._statistics.ok(asked.rows, asked.queue_ns, (asked.read_ns, asked.infer_ns, 0))

    def _values(self, wanted: RequestedOutput, asked: Asked) -> Array:
        given = asked.outputs[wanted.name]
        values: Array = given if isinstance(given, np.ndarray) else tensors.as_array(given)
        if not wanted.parameters:
            return values
        classes = classes_of(wanted.parameters, wanted.name)
        return tensors.classified(values, classes, self._labels) if classes else values

    def _output(self, wanted: RequestedOutput, asked: Asked, behind: list[bytes]) -> OutputTensor:
        values = self._values(wanted, asked)
        binary = asked.binary
        if wanted.parameters:
            binary = flag(wanted.parameters, "binary_data", "", default=binary)
        kind = tensors.type_of(values)
        dims = list(values.shape)
        if not binary:
            return OutputTensor(wanted.name, kind, dims, data=values.ravel().tolist())
        data = tensors.to_binary(values)
        behind.append(data)
        return OutputTensor(wanted.name, kind, dims, {"binary_data_size": len(data)})

    @staticmethod
    def _check_finite(asked: Asked, outputs: Sequence[OutputTensor]) -> None:
        """JSON has no infinity, and null says NaN."""
        for output in outputs:
            values = tensors.as_array(asked.outputs[output.name])
            if output.data is not UNSET and values.dtype.kind == "f" and np.isinf(values).any():
                raise Refusal(
                    400, f"output {output.name!r} holds infinity, which JSON cannot say: ask for it with "
                    '"parameters": {"binary_data": true}'
                )  # fmt: skip


def _rows(inputs: Mapping[str, Array]) -> int:
    """How many samples a request holds: its batch dimension, for the statistics."""
    first = next(iter(inputs.values()), None)
    return len(first) if first is not None and first.ndim > 1 else 1
