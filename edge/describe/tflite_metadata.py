"""What a .tflite file says beside its tensors: TFLite Metadata, attached files, its signature, a glance at the graph.

Field numbers are those of `schema.fbs` (TensorFlow Lite) and `metadata_schema.fbs` (TFLite Support).
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec
from msgspec.structs import replace

from edge.describe.flatbuffer import Table, root
from edge.describe.mapped import mapped
from edge.describe.onnx_graph import meaning, order
from edge.errors import first_line
from edge.model import label_text
from edge.model import labels as label_files

MAX_FILE = 16 * 2**20
_NORMALIZATION, _THRESHOLD = 1, 3
_IMAGE, _AUDIO = 2, 4
_GRAYSCALE = 2
_AXIS_LABELS, _VALUE_LABELS = 2, 3
_CUSTOM, _QUANTIZE, _DEQUANTIZE = 32, 114, 6
_ARITHMETIC = {0: "ADD", 18: "MUL", 41: "SUB", 42: "DIV"}
_DETECTION = "TFLite_Detection_PostProcess"
_LIMITS = {3: (0, 255), 9: (-128, 127)}
"""Of the tensor types uint8 and int8."""
_FLOATS = {0: "f", 1: "e"}
"""The letter of `struct` for the tensor types float32 and float16."""
_MOST_BYTES = 256
"""Of the numbers that a picture is scaled by, a few for each channel."""


class TensorNotes(msgspec.Struct, frozen=True):
    """What the metadata says of one input or output."""

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    image: bool = False
    gray: bool = False
    sample_rate: int = 0
    """Of sound, in Hz; 0 where it is none or nothing says."""
    threshold: float | None = None
    label_files: tuple[tuple[str, str], ...] = ()
    """Name and locale; a file with a locale holds display names."""


class TfliteMetadata(msgspec.Struct, frozen=True):
    """What a .tflite file says of itself; empty where it says nothing."""

    description: str = ""
    license: str = ""
    inputs: tuple[TensorNotes, ...] = ()
    outputs: tuple[TensorNotes, ...] = ()
    files: dict[str, str] = {}
    """Text files of the appended archive, by name."""
    labels: tuple[str, ...] = ()
    scales_itself: str = ""
    """As `edge.describe.onnx_graph.Beginning.scales_itself`."""
    color: Literal["", "RGB", "BGR"] = ""
    """As there."""
    input_range: tuple[float, float] | None = None
    """What the first operator, which quantises the float input, can tell apart."""
    detection_outputs: tuple[str, ...] = ()
    """Tensor names of boxes, classes, scores, count, where the graph ends in TFLite_Detection_PostProcess."""
    detection_scores: int = 0
    """How many scores that operator is given for each box, that of the background among them where there is one."""
    input_keys: tuple[str, ...] = ()
    output_keys: tuple[str, ...] = ()
    """What the signature calls the inputs and outputs, in the graph's order; "" for what it does not name."""
    warnings: tuple[str, ...] = ()


def read(path: Path) -> TfliteMetadata:
    """Reads what there is. A part that is damaged is left out: none of it is needed to run."""
    notes = TfliteMetadata()
    try:
        with mapped(path) as data:
            notes = _read(data)
    except (struct.error, OSError, ValueError, IndexError, RecursionError, BufferError):
        notes = TfliteMetadata()
    files, warnings = _attached(path)
    wanted = {n for o in notes.outputs for n, _ in o.label_files}
    lacking = sorted(wanted - set(files))
    if lacking:
        warnings.append(f"its metadata names {', '.join(lacking)}, which the file does not hold")
    found = _labels(notes.outputs, files)
    if found.doubt:
        warnings.append(f"its labels: {found.doubt}")
    return replace(notes, files=files, labels=found.names, warnings=tuple(warnings))


def operators(path: Path) -> frozenset[int]:
    """Of all its graphs, by number (`BuiltinOperator` of the schema). Raises ValueError where the file is damaged."""
    try:
        with mapped(path) as data:
            return frozenset(_kind(code) for code in root(data).tables(1))
    except (struct.error, OSError, BufferError) as exc:
        raise ValueError(f"{path.name}: its list of operators cannot be read: {exc}") from exc


def _kind(code: Table) -> int:
    # The old one-byte field holds 127 where the code does not fit.
    return max(int(code.number(0, "b")), int(code.number(3, "i")))


def _labels(outputs: Sequence[TensorNotes], files: dict[str, str]) -> label_files.Reading:
    """Display names where there are some, English ones first; else the names of the classes."""
    listed = next((o.label_files for o in outputs if any(n in files for n, _ in o.label_files)), ())
    if not listed:
        listed = tuple((n, "") for n in files if "label" in n.lower() and not n.endswith(".json"))
    ranked = sorted((f for f in listed if f[0] in files), key=lambda f: (f[1] != "en", not f[1]))
    readings = [label_files.read_text(files[n]) for n, _ in ranked]
    return next((r for r in readings if r.names or r.doubt), label_files.Reading())


def _read(data: memoryview) -> TfliteMetadata:
    model = root(data)
    graph = next(model.tables(2), None)
    meta = _metadata(model)
    notes = _glance(model, graph) if graph is not None else TfliteMetadata()
    subgraph = next(meta.tables(3), None) if meta is not None else None
    inputs, outputs = _signature(model, graph) if graph is not None else ((), ())
    return replace(
        notes,
        description=meta.text(1) if meta is not None else "",
        license=meta.text(5) if meta is not None else "",
        inputs=tuple(_note(t) for t in subgraph.tables(2)) if subgraph is not None else (),
        outputs=tuple(_note(t) for t in subgraph.tables(3)) if subgraph is not None else (),
        input_keys=inputs,
        output_keys=outputs,
    )


def _metadata(model: Table) -> Table | None:
    for entry in model.tables(6):
        if entry.text(0) == "TFLITE_METADATA":
            at = int(entry.number(1, "I"))
            for number, buffer in enumerate(model.tables(4)):
                if number == at:
                    return root(bytes(buffer.blob(0)))
    return None


def _signature(model: Table, graph: Table) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the only signature of the first graph; of several none is meant more than another."""
    signatures = [s for s in model.tables(7) if not s.number(4, "I")]
    if len(signatures) != 1:
        return (), ()
    sides = []
    for number, tensors in ((0, graph.numbers(1)), (1, graph.numbers(2))):
        names = {int(t.number(1, "I")): t.text(0) for t in signatures[0].tables(number)}
        sides.append(tuple(names.get(int(i), "") for i in tensors))
    return sides[0], sides[1]


def _note(tensor: Table) -> TensorNotes:
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    threshold = None
    for unit in tensor.tables(4):
        kind, options = unit.number(0, "B"), unit.table(1)
        if options is not None and kind == _NORMALIZATION:
            mean, std = options.numbers(0, "f"), options.numbers(1, "f")
        elif options is not None and kind == _THRESHOLD:
            threshold = options.number(0, "f")
    content = tensor.table(3)
    picture = content.table(1) if content is not None and content.number(0, "B") == _IMAGE else None
    sound = content.table(1) if content is not None and content.number(0, "B") == _AUDIO else None
    labels = (f for f in tensor.tables(6) if f.number(2, "b") in (_AXIS_LABELS, _VALUE_LABELS))
    return TensorNotes(
        mean=mean,
        std=std,
        image=picture is not None,
        gray=picture is not None and picture.number(0, "b") == _GRAYSCALE,
        sample_rate=int(sound.number(0, "I")) if sound is not None else 0,
        threshold=threshold,
        label_files=tuple((f.text(0), f.text(3)) for f in labels),
    )


def _glance(model: Table, graph: Table) -> TfliteMetadata:
    codes = list(model.tables(1))
    tensors = list(graph.tables(0))
    inputs = set(graph.numbers(1))
    itself = ""
    color: Literal["", "RGB", "BGR"] = ""
    detection: tuple[str, ...] = ()
    scores = 0
    limits: tuple[float, float] | None = None
    halves: dict[int, int] = {}  # a tensor, and what it was before it was made float32
    for number, operator in enumerate(graph.tables(3)):
        code = codes[int(operator.number(0, "I"))]
        kind = _kind(code)
        if kind == _DEQUANTIZE:
            halves[int(operator.numbers(2)[0])] = int(operator.numbers(1)[0])
        if number < 3 + len(halves) and not itself and inputs & set(operator.numbers(1)):
            if kind in _ARITHMETIC:
                others = [int(i) for i in operator.numbers(1) if i not in inputs]
                values = _numbers(model, tensors, halves, others) if others else ()
                itself, color = meaning(_ARITHMETIC[kind], max(values, key=abs, default=None)), order(values)
            elif kind == _QUANTIZE and len(inputs) == 1:
                limits = _limits(tensors[int(operator.numbers(2)[0])])
        if kind == _CUSTOM and code.text(1) == _DETECTION:
            detection = tuple(tensors[int(i)].text(3) for i in operator.numbers(2))
            scores = _last_side(tensors, operator.numbers(1))
    return TfliteMetadata(
        scales_itself=itself,
        color=color,
        detection_outputs=detection,
        detection_scores=scores,
        input_range=limits,
    )


def _last_side(tensors: Sequence[Table], given: Sequence[float]) -> int:
    """Of the second of these tensors; 0 where there is none, or no box."""
    shape = tensors[int(given[1])].numbers(0) if len(given) > 1 else ()
    return int(shape[-1]) if len(shape) == 3 else 0


def _numbers(model: Table, tensors: Sequence[Table], halves: Mapping[int, int], at: Sequence[int]) -> tuple[float, ...]:
    """Those of a small constant, float32 or float16; () of any other."""
    tensor = tensors[halves.get(at[0], at[0])]
    format_ = _FLOATS.get(int(tensor.number(1, "b")))
    number = int(tensor.number(2, "I"))
    data = next((b.blob(0) for i, b in enumerate(model.tables(4)) if i == number), b"")
    if format_ is None or not data or len(data) > _MOST_BYTES:
        return ()
    return tuple(v for (v,) in struct.iter_unpack(f"<{format_}", data))


def _limits(tensor: Table) -> tuple[float, float] | None:
    """The lowest and highest value of a tensor that is quantised as a whole."""
    quantization, kind = tensor.table(4), int(tensor.number(1, "b"))
    if quantization is None or kind not in _LIMITS:
        return None
    scales, zeros = quantization.numbers(2, "f"), quantization.numbers(3, "q")
    if len(scales) != 1 or len(zeros) > 1 or not scales[0]:
        return None
    zero = zeros[0] if zeros else 0
    low, high = _LIMITS[kind]
    return (low - zero) * scales[0], (high - zero) * scales[0]


def _attached(path: Path) -> tuple[dict[str, str], list[str]]:
    """The texts in the archive behind the model, and a warning for those that cannot be read."""
    files: dict[str, str] = {}
    if not zipfile.is_zipfile(path):
        return files, []
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist()[:100]:
                if info.file_size <= MAX_FILE and info.filename.endswith((".txt", ".csv", ".json")):
                    files[info.filename] = label_text.decode(archive.read(info))
    except (zipfile.BadZipFile, zlib.error, OSError, NotImplementedError, RuntimeError, ValueError) as exc:
        return files, [f"the archive behind the model (its labels) is damaged: {first_line(exc)}; copy the file again"]
    return files, []
