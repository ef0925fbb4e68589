"""A glance at the graph of an .onnx file without the onnx library: does it scale its input itself, or quantise it?

The fields are those of `onnx.proto` (ModelProto.graph 7; GraphProto.node 1, initializer 5, input 11, its name 1, its
type 2; NodeProto.input 1, output 2, op_type 4, attribute 5; TensorProto.dims 1, data_type 2, float_data 4, int32_data
5, name 8, raw_data 9). What is not asked for is skipped by its length, so a large file costs no more than a small
one.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, TypeVar

from edge.data.tensor import Quantization
from edge.describe.mapped import mapped

_NODES = 12
"""Nodes looked at that the input goes through: scaling stands at the very beginning."""
_NODES_BEFORE = 500
"""Nodes without the input that may stand before: exporters write an Identity for each weight that is used twice."""
_PASSES_ON = ("Cast", "Clip", "Identity", "Transpose", "Unsqueeze", "Squeeze", "Reshape")
_PICKS = ("Split", "Gather", "GatherND", "Slice")
"""They pick a picture of a batch (torchvision's detectors), or a channel of a picture, which tells nothing."""
_SCALES = ("Sub", "Div", "Mul", "Add")
_MEAN, _MEAN_OFF = (123.7, 116.5, 103.7), 1.5
"""ImageNet's of red, green and blue, and how far PyTorch's and Caffe's lie from it."""
_SHARES_MOST = 8
"""A mean or a divisor above it belongs to pixels."""
_FLOAT = 1
_UINT8 = 2
_BYTES = {_UINT8: 0, 3: -128}
"""The lowest number of uint8 and int8, by `data_type`."""
_QUANTISED: Mapping[str, int] = {
    "QuantizeLinear": 1, "QLinearMatMul": 6, "QLinearConv": 6, "QGemm": 7, "QLinearAdd": 6, "QLinearMul": 6,
    "QLinearSigmoid": 3, "QLinearSoftmax": 3, "QLinearLeakyRelu": 3, "QLinearAveragePool": 3,
    "QLinearGlobalAveragePool": 3, "QLinearConcat": 0,
}  # fmt: skip
"""Operators that give 8 bits, of ONNX and ONNX Runtime, and where the scale of these stands among their inputs; the
zero point stands behind it."""
_MOVES = ("Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Identity", "Slice", "Gather", "MaxPool")
"""They give the numbers that they are given."""
_MOST_VALUES = 64
_CHANNELS = 3

Bytes: TypeAlias = memoryview
Seen = TypeVar("Seen")


class Beginning(NamedTuple):
    """What a graph does with what it is given before all else."""

    scales_itself: str = ""
    """What it scales: "pixels", or "unit", what lies between 0 and 1; "" where nothing."""
    input_range: tuple[float, float] | None = None
    """The lowest and the highest real value that 8 bits hold where it begins by quantising, or by making real values of
    bytes; None where it does not."""
    color: Literal["", "RGB", "BGR"] = ""
    """The order of colours, where a mean of ImageNet's stands in it."""


def beginning(path: Path) -> Beginning:
    """Of a file; of one that cannot be read, or is no such file, as if it did nothing."""
    return _looked_at(path, _beginning, Beginning())


def lengths(path: Path) -> frozenset[int]:
    """How long the vectors among the weights are: that of a last layer's biases tells how many classes there are."""
    return _looked_at(path, lambda data: frozenset(_lengths(data)), frozenset())


def quantized_outputs(path: Path) -> Mapping[str, Quantization]:
    """The outputs that an operator quantises as a whole, and how; costs a look at the whole graph."""
    return _looked_at(path, lambda data: dict(_quantized(data)), {})


def _quantized(data: Bytes) -> Iterator[tuple[str, Quantization]]:
    graph = _graph(data)
    if graph is None:
        return
    makers: dict[str, tuple[str, list[str]]] = {}
    constants: dict[str, Bytes] = {}
    for op, inputs, outputs, value in _nodes(graph):
        makers |= dict.fromkeys(outputs, (op, inputs))
        if op == "Constant":
            constants[outputs[0]] = value
    for output in _names(graph, 12, 1):
        op, inputs = makers.get(output, ("", []))
        while op in _MOVES and inputs:
            op, inputs = makers.get(inputs[0], ("", []))
        at = _QUANTISED.get(op, len(inputs))
        scale, said, *_ = (*inputs[at : at + 2], "", "")
        scales = _values(constants[scale] if scale in constants else _initial(graph, scale))
        zero = _byte(constants[said] if said in constants else _initial(graph, said)) if said else (0, 0)
        if len(scales) == 1 and 0 < scales[0] < math.inf and zero is not None:
            yield output, Quantization(scale=scales[0], zero_point=zero[1])


def _looked_at(path: Path, look: Callable[[Bytes], Seen], otherwise: Seen) -> Seen:
    """What is seen in a file's bytes; `otherwise` where it cannot be read, or is no such file."""
    try:
        with mapped(path) as data:
            return look(data)
    except (OSError, ValueError, IndexError, struct.error, BufferError):
        return otherwise


def _lengths(data: Bytes) -> Iterator[int]:
    graph = _graph(data)
    for number, tensor in _fields(graph) if graph is not None else ():
        if number == 5 and isinstance(tensor, memoryview):
            sides = [side for n, content in _fields(tensor) if n == 1 for side in _whole(content)]
            if len(sides) == 1:
                yield sides[0]


def _whole(content: int | Bytes) -> Iterator[int]:
    """Numbers of a repeated field, which stand alone or packed."""
    if isinstance(content, int):
        yield content
        return
    at = 0
    while at < len(content):
        value, at = _varint(content, at)
        yield value


def _graph(data: Bytes) -> Bytes | None:
    return next((v for n, v in _fields(data) if n == 7 and isinstance(v, memoryview)), None)


class _Step(NamedTuple):
    """An operator that does something with what the model is given."""

    op: str
    inputs: list[str]
    others: list[str]
    constants: Mapping[str, Bytes]
    picked: bool
    """A picture or a channel was picked before."""


def _steps(graph: Bytes) -> Iterator[_Step]:
    """The first operators that do something with what the model is given, until one does more than scale it."""
    constants: dict[str, Bytes] = {}
    names = _inputs(graph)
    picked, left = False, _NODES
    for number, (op, inputs, outputs, value) in enumerate(_nodes(graph)):
        if op == "Constant":
            constants[outputs[0]] = value
            continue
        if not names & set(inputs):
            if number >= _NODES_BEFORE:
                break
            continue
        left -= 1
        if op not in (*_PASSES_ON, *_PICKS) or not left:
            yield _Step(op, inputs, [i for i in inputs if i not in names], constants, picked)
            if op not in _SCALES or not left:
                return
        names |= set(outputs)
        picked |= op in _PICKS


def _beginning(data: Bytes) -> Beginning:
    graph = _graph(data)
    if graph is None:
        return Beginning()
    steps = [(step, _scaled_by(graph, step)) for step in _steps(graph)]
    if not steps:
        return Beginning()
    colors = (order(values) for step, values in steps if not step.picked)
    return Beginning(_scales(*steps[0]), _range(graph, steps[0][0]), next(filter(None, colors), ""))


def _scaled_by(graph: Bytes, first: _Step) -> tuple[float, ...]:
    if first.op in _SCALES:
        return _values(_tensor(graph, first, next(iter(first.others), "")))
    if first.op == "BatchNormalization" and len(first.inputs) > 3:
        return _values(_initial(graph, first.inputs[3]))
    return ()


def _scales(first: _Step, values: tuple[float, ...]) -> str:
    if first.op in _SCALES:
        return meaning(first.op, _largest(values)) if not first.picked or len(values) == _CHANNELS else ""
    mean = _largest(values)
    return "pixels" if mean is not None and abs(mean) > _SHARES_MOST else ""


def _range(graph: Bytes, first: _Step) -> tuple[float, float] | None:
    if first.op not in ("QuantizeLinear", "DequantizeLinear") or first.picked:
        return None
    scales = _values(_tensor(graph, first, first.inputs[1])) if len(first.inputs) > 1 else ()
    said = first.inputs[2] if len(first.inputs) > 2 else ""
    zero = _byte(_tensor(graph, first, said)) if said else _unsaid(graph, first.op)
    if len(scales) != 1 or not 0 < scales[0] < math.inf or zero is None:
        return None
    least, at = zero
    return (least - at) * scales[0], (least + 255 - at) * scales[0]


def _unsaid(graph: Bytes, op: str) -> tuple[int, int] | None:
    """As `_byte`, where no zero point is given: it is 0, of uint8 or of the bytes that the model takes."""
    kinds = [_UINT8] if op == "QuantizeLinear" else [_element(v) for n, v in _fields(graph) if n == 11]
    return (_BYTES[kinds[0]], 0) if len(kinds) == 1 and kinds[0] in _BYTES else None


def _element(info: int | Bytes) -> int:
    """The `data_type` of a ValueInfoProto's elements (type 2, tensor_type 1, elem_type 1); 0 where there is none."""
    for part in (2, 1, 1):
        info = next((v for n, v in _fields(info) if n == part), 0) if isinstance(info, memoryview) else 0
    return info if isinstance(info, int) else 0


def _inputs(graph: Bytes) -> set[str]:
    """The names of what the model is given; before IR version 4 the initializers are among the inputs."""
    names = _names(graph, 11, 1)
    return names - _names(graph, 5, 8) if len(names) > 1 else names


def _names(graph: Bytes, part: int, name: int) -> set[str]:
    messages = (v for n, v in _fields(graph) if n == part and isinstance(v, memoryview))
    return {_text(v) for m in messages for n, v in _fields(m) if n == name and isinstance(v, memoryview)}


def meaning(op: str, constant: float | None) -> str:
    """What a number that the input is scaled by says of the input: 127.5 belongs to pixels, 0.485 to shares of 255."""
    if constant is None or constant == 0:
        return ""
    size = abs(constant)
    if op == "Mul":
        return "pixels" if size < 0.05 else "unit"
    return "pixels" if size > _SHARES_MOST else "unit"


def order(values: tuple[float, ...]) -> Literal["", "RGB", "BGR"]:
    """The order of colours in a mean of ImageNet's, of pixels or shares of 255: red has the largest, blue the least."""
    mean = [abs(v) if abs(v) > 1 else abs(v) * 255 for v in values]
    if len(mean) != _CHANNELS:
        return ""

    def is_near(other: tuple[float, ...]) -> bool:
        return all(abs(m - n) < _MEAN_OFF for m, n in zip(mean, other, strict=True))

    return "RGB" if is_near(_MEAN) else "BGR" if is_near(_MEAN[::-1]) else ""


def _nodes(graph: Bytes) -> Iterator[tuple[str, list[str], list[str], Bytes]]:
    """Operator, inputs, outputs, and of a Constant its tensor."""
    for number, node in _fields(graph):
        if number != 1 or not isinstance(node, memoryview):
            continue
        inputs, outputs, op = [], [], ""
        value = memoryview(b"")
        for field, content in _fields(node):
            if not isinstance(content, memoryview):
                continue
            if field == 1:
                inputs.append(_text(content))
            elif field == 2:
                outputs.append(_text(content))
            elif field == 4:
                op = _text(content)
            elif field == 5 and op in ("Constant", ""):
                value = next((c for n, c in _fields(content) if n == 5 and isinstance(c, memoryview)), value)
        yield op, inputs, outputs, value


def _tensor(graph: Bytes, first: _Step, name: str) -> Bytes:
    """A constant that stands before the operator, or a weight."""
    return first.constants[name] if name in first.constants else _initial(graph, name)


def _initial(graph: Bytes, name: str) -> Bytes:
    """A weight by its name; no bytes where there is none."""
    for number, tensor in _fields(graph):
        if number == 5 and isinstance(tensor, memoryview):
            for field, content in _fields(tensor):
                if field == 8 and isinstance(content, memoryview) and _text(content) == name:
                    return tensor
    return memoryview(b"")


def _values(tensor: Bytes) -> tuple[float, ...]:
    """Those of a small float tensor, () of any other."""
    raw: Bytes | None = None
    kind = 0
    for field, content in _fields(tensor):
        if field == 2 and isinstance(content, int):
            kind = content
        elif field in (4, 9) and isinstance(content, memoryview):
            raw = content
    if raw is None or kind != _FLOAT or not 4 <= len(raw) <= 4 * _MOST_VALUES or len(raw) % 4:
        return ()
    return struct.unpack(f"<{len(raw) // 4}f", raw)


def _byte(tensor: Bytes) -> tuple[int, int] | None:
    """The lowest number of its type and the number of a tensor of one byte; None of any other."""
    kind, value = 0, None
    for field, content in _fields(tensor):
        if field == 2 and isinstance(content, int):
            kind = content
        elif field == 9 and isinstance(content, memoryview) and len(content) == 1:
            value = content[0]
        elif field == 5:
            value = next(_whole(content), None)
    if kind not in _BYTES or value is None:
        return None
    value &= 0xFF
    return _BYTES[kind], value - 256 if _BYTES[kind] and value > 127 else value


def _largest(values: tuple[float, ...]) -> float | None:
    """The one that is farthest from 0."""
    return max(values, key=abs, default=None)


def _text(content: Bytes) -> str:
    return bytes(content).decode("utf-8", "replace")


def _fields(data: Bytes) -> Iterator[tuple[int, int | Bytes]]:
    """Field numbers and values of a protobuf message. Raises ValueError or IndexError for what is none."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        length, at = _varint(data, at) if kind == 2 else ({1: 8, 5: 4}.get(kind, -1), at)
        if length < 0 or at + length > end:
            raise ValueError("no protobuf")
        yield key >> 3, data[at : at + length]
        at += length


def _varint(data: Bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("no protobuf")
