"""What a .tflite file says beside its signature: TFLite Metadata, attached files, a glance at the graph.

Field numbers are those of `schema.fbs` (TensorFlow Lite) and `metadata_schema.fbs` (TFLite Support).
"""

from __future__ import annotations

import mmap
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edge.describe.flatbuffer import Table, root

MAX_FILE = 16 * 2**20
_NORMALIZATION, _THRESHOLD = 1, 3
_IMAGE = 2
_GRAYSCALE = 2
_AXIS_LABELS, _VALUE_LABELS = 2, 3
_CUSTOM = 32
_ARITHMETIC = {0: "ADD", 18: "MUL", 41: "SUB", 42: "DIV"}
_DETECTION = "TFLite_Detection_PostProcess"


@dataclass(frozen=True, slots=True)
class TensorNote:
    """What the metadata says of one input or output."""

    name: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    image: bool = False
    gray: bool = False
    threshold: float | None = None
    label_files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TfliteNotes:
    """What a .tflite file says of itself; empty where it says nothing."""

    name: str = ""
    description: str = ""
    license: str = ""
    inputs: tuple[TensorNote, ...] = ()
    outputs: tuple[TensorNote, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    """Text files of the appended archive, by name."""
    scales_itself: bool = False
    """The first operator is arithmetic with a constant: the model takes pixels and scales them itself."""
    detection_outputs: tuple[str, ...] = ()
    """Tensor names of boxes, classes, scores, count, where the graph ends in TFLite_Detection_PostProcess."""


def read_notes(path: Path) -> TfliteNotes:
    """Reads what there is. A part that is damaged is left out: none of it is needed to run."""
    notes = TfliteNotes()
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            data = memoryview(mapped)
            try:
                notes = _read(data)
            finally:
                data.release()
    except (struct.error, OSError, ValueError, RecursionError, BufferError):
        notes = TfliteNotes()
    notes.files.update(_attached(path))
    return notes


def _read(data: memoryview) -> TfliteNotes:
    model = root(data)
    graph = next(model.tables(2), None)
    meta = _metadata(model)
    itself, detection = _glance(model, graph) if graph is not None else (False, ())
    subgraph = next(meta.tables(3), None) if meta is not None else None
    return TfliteNotes(
        name=meta.text(0) if meta is not None else "",
        description=meta.text(1) if meta is not None else "",
        license=meta.text(5) if meta is not None else "",
        inputs=tuple(_note(t) for t in subgraph.tables(2)) if subgraph is not None else (),
        outputs=tuple(_note(t) for t in subgraph.tables(3)) if subgraph is not None else (),
        scales_itself=itself,
        detection_outputs=detection,
    )


def _metadata(model: Table) -> Table | None:
    for entry in model.tables(6):
        if entry.text(0) == "TFLITE_METADATA":
            at = int(entry.number(1, "I"))
            for number, buffer in enumerate(model.tables(4)):
                if number == at:
                    return root(bytes(buffer.blob(0)))
    return None


def _note(tensor: Table) -> TensorNote:
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
    return TensorNote(
        name=tensor.text(0),
        mean=mean,
        std=std,
        image=picture is not None,
        gray=picture is not None and picture.number(0, "b") == _GRAYSCALE,
        threshold=threshold,
        label_files=tuple(f.text(0) for f in tensor.tables(6) if f.number(2, "b") in (_AXIS_LABELS, _VALUE_LABELS)),
    )


def _glance(model: Table, graph: Table) -> tuple[bool, tuple[str, ...]]:
    codes = list(model.tables(1))
    tensors = list(graph.tables(0))
    inputs = set(graph.numbers(1))
    itself = False
    detection: tuple[str, ...] = ()
    for number, operator in enumerate(graph.tables(3)):
        code = codes[int(operator.number(0, "I"))]
        # The old one-byte field holds 127 where the code does not fit.
        kind = max(int(code.number(0, "b")), int(code.number(3, "i")))
        if number < 3 and kind in _ARITHMETIC and inputs & set(operator.numbers(1)):
            itself = True
        if kind == _CUSTOM and code.text(1) == _DETECTION:
            detection = tuple(tensors[int(i)].text(3) for i in operator.numbers(2))
    return itself, detection


def _attached(path: Path) -> Iterator[tuple[str, str]]:
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist()[:100]:
                if info.file_size <= MAX_FILE and info.filename.endswith((".txt", ".csv", ".json")):
                    yield info.filename, archive.read(info).decode("utf-8-sig", "replace")
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, ValueError):
        return
