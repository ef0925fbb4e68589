"""An ONNX file's bytes, as far as its graph has to be mended before ONNX Runtime reads it.

Old exporters, and every file of IR version 3, list the weights among the graph's inputs too: a caller may then give
others. ONNX Runtime keeps that door open, folds no constant of them and fuses no batch norm, and a network runs up to
four times slower. Weights are never given here, so the listing is taken out.

A protobuf message is a row of fields, each a key (number and wire type) and a value:
https://protobuf.dev/programming-guides/encoding/. The numbers are those of
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto. What is not touched is copied as it is.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import msgspec

from edge.errors import ModelError

GRAPH = 7
"""`ModelProto.graph`"""
INITIALIZER, INPUT = 5, 11
"""`GraphProto.initializer`, `GraphProto.input`"""
TENSOR_NAME, VALUE_NAME = 8, 1
"""`TensorProto.name`, `ValueInfoProto.name`"""
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5

Bytes: TypeAlias = bytes | mmap.mmap


class Field(msgspec.Struct, frozen=True):
    """A field of a message: its number, where it begins with its key, where its value begins and ends."""

    number: int
    start: int
    value: int
    end: int


class Mended(msgspec.Struct, frozen=True):
    """A model's bytes to load instead of the file, and how many weights are no input any more."""

    content: bytes
    weights: int


def without_listed_weights(path: Path) -> Mended | None:
    """The model with no weight among its inputs; None where none is, or the file is not one that this reads.

    The file is mapped, and copied only where there is something to mend. Raises ModelError without a file.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _mend(content)
    except OSError as exc:
        raise ModelError(f"{path}: {exc.strerror}") from exc
    except ValueError:
        return None  # damaged or empty: the engine says so better


def quantizes_dynamically(path: Path) -> bool:
    """True where an operator takes the scale of a whole tensor from its values: DynamicQuantizeLinear and its kin.

    By the operator's name alone, which may be a tensor's too: then rows run alone for nothing. Raises ModelError.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(b"DynamicQuantize") >= 0
    except OSError as exc:
        raise ModelError(f"{path}: {exc.strerror}") from exc
    except ValueError:
        return False  # empty: the engine says so better


def _mend(content: Bytes) -> Mended | None:
    graphs = [field for field in _fields(content, 0, len(content)) if field.number == GRAPH]
    if len(graphs) != 1:
        return None
    (graph,) = graphs
    inner = list(_fields(content, graph.value, graph.end))
    weights = {_name(content, f, TENSOR_NAME) for f in inner if f.number == INITIALIZER}
    listed = [f for f in inner if f.number == INPUT and _name(content, f, VALUE_NAME) in weights]
    if not listed:
        return None
    # Slices of a mapped file are copies: each byte is copied once for its piece, and once more for the whole.
    starts = [graph.value, *(field.end for field in listed)]
    ends = [*(field.start for field in listed), graph.end]
    kept = [content[start:end] for start, end in zip(starts, ends, strict=True) if start < end]
    head = content[: graph.start] + _varint(GRAPH << 3 | LENGTH) + _varint(sum(map(len, kept)))
    return Mended(b"".join((head, *kept, content[graph.end :])), len(listed))


def _name(content: Bytes, message: Field, number: int) -> bytes:
    inner = _fields(content, message.value, message.end)
    return b"".join(content[f.value : f.end] for f in inner if f.number == number)


def _fields(content: Bytes, at: int, end: int) -> Iterator[Field]:
    """The fields between two places. Raises ValueError where they do not end where they should."""
    while at < end:
        start = at
        key, at = _read_varint(content, at, end)
        kind = key & 7
        if kind == LENGTH:
            size, value = _read_varint(content, at, end)
            at = value + size
        elif kind == VARINT:
            value = at
            _, at = _read_varint(content, at, end)
        elif kind in (FIXED32, FIXED64):
            value, at = at, at + (4 if kind == FIXED32 else 8)
        else:
            raise ValueError("a group, or no protobuf at all")
        if at > end:
            raise ValueError("a field reaches past the end of its message")
        yield Field(key >> 3, start, value, at)


def _read_varint(content: Bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 64:
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("a number without an end")


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)
