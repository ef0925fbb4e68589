"""Bytes to values and back. Nothing here ever unpickles."""

from __future__ import annotations

import ast
import codecs
import contextlib
import math
import re
import struct
from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np

from edge.data import magic
from edge.data.one_file import refuse_more
from edge.data.sample import EncodedImage, Payload
from edge.data.sound import decode_wav
from edge.data.tensor import Array
from edge.errors import SampleError

_NPY_DTYPE = re.compile(r"[<>|=]?([bi][1248]|u[1248]|f[248]|[SU][1-9][0-9]{0,5})")
_LIST = re.compile(rb"\s*-?\d[\d.eE+-]*(?:[ \t]*,[ \t]*-?\d[\d.eE+-]*)+\s*")
"""Numbers with commas between, as loggers and serial lines send them."""
_TEXT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?', re.DOTALL)
"""A text in JSON, and the colon behind it where it is a name."""
MAX_NPY_HEADER = 10_000
_DAMAGED = (ValueError, SyntaxError, TypeError, KeyError, struct.error, RecursionError, MemoryError)
"""What a damaged header of a `.npy` file raises."""

_HOLDS = frozenset((dict, list, str))
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()

encode = _encoder.encode
"""A value of `edge.data.result`, or anything msgspec knows, to JSON bytes."""


def is_image(data: bytes) -> bool:
    """True where the first bytes are those of a JPEG, PNG, BMP, GIF or WebP file."""
    return magic.picture(data[:64]) is not None


def is_npy(data: bytes) -> bool:
    """True where the first bytes are those of a `.npy` file."""
    return magic.is_npy(data[:64])


def decode(data: bytes) -> Payload:
    """An input of the contract, recognised by its first bytes: a picture, a sound, a `.npy` file, else JSON.

    Numbers with commas between are an array, too.

    Raises SampleError where it is none of them.
    """
    if data[:1] in (b"{", b"["):  # nothing else begins so, and most inputs do
        return decode_json(data)
    if not data:
        raise SampleError("the input is empty: send a JSON object or array, a picture, or .npy bytes")
    if is_image(data):
        return EncodedImage(data)
    if magic.is_wav(data[:64]):
        return decode_wav(data)
    if is_npy(data):
        return decode_npy(data)
    if _LIST.fullmatch(data):
        return decode_json(b"[" + data.strip() + b"]")
    return decode_json(data)


def decode_json(data: bytes | str) -> Any:
    """A JSON value. Raises SampleError that says where the text goes wrong, or which name comes twice in an object."""
    try:
        value = _decoder.decode(data[3:] if isinstance(data, bytes) and data.startswith(codecs.BOM_UTF8) else data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise json_error(exc, data) from exc
    # A decoder takes the last of two values without a word. Most texts have a colon for each name and no other.
    text = data.encode() if isinstance(data, str) else data
    colons = text.count(b":")
    if colons and not (value.__class__ is dict and colons == len(value)):
        _look_for_twice(text, value, colons)
    return value


def _look_for_twice(text: bytes, value: Any, colons: int) -> None:
    """Raises SampleError where a name comes twice in an object of `value`, whose text has so many colons."""
    if value.__class__ is list and set(map(type, value)) == {dict} and colons == sum(map(len, value)):
        return
    names, more = _names(value)
    if colons == names + more and b"\\u00" not in text:
        return
    if sum(map(bool, _TEXT.findall(text))) != names:
        refuse_twice(text)


def refuse_twice(text: bytes) -> None:
    """Raises SampleError where a name comes twice in an object of this JSON."""
    import json  # for such a text only

    with contextlib.suppress(ValueError, RecursionError):  # what this reader cannot hold, the other has read
        json.loads(text, object_pairs_hook=once)


def once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON. Raises SampleError where a name comes twice."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            both = f"{str(found[name])[:30]} and {str(value)[:30]}"
            raise SampleError(f"{name[:60]!r} comes twice in an object, as {both}: name each value once")
        found[name] = value
    return found


def _names(value: Any) -> tuple[int, int]:
    """How many names all objects in a value have, and how many colons are in its texts."""
    count, colons, left = 0, 0, [value]
    while left:
        part = left.pop()
        if part.__class__ is str:
            colons += part.count(":")
            continue
        if part.__class__ is dict:
            count += len(part)
            colons += "".join(part).count(":")
            part = part.values()
        left += [inner for inner in part if inner.__class__ in _HOLDS]
    return count, colons


def json_error(exc: Exception, data: bytes | str) -> SampleError:
    """Says where a text goes wrong, by what a decoder of it raised."""
    if isinstance(data, bytes) and (other := magic.no_input(data[:64])) is not None:
        return SampleError(f"this is {other}")
    shown = data[:40] if isinstance(data, str) else data[:40].decode("utf-8", "replace")
    hint = _no_such_number(str(exc), data) or _way_out(str(exc), shown)
    return SampleError(f"not JSON, a picture or .npy: {exc}, in {shown!r}{hint}")


def _way_out(message: str, shown: str) -> str:
    if shown.strip() in ("{", "["):
        return "; a value that takes several lines? One is read a line (jq -c . writes it so)"
    return '; names stand in "double quotes"' if "keys must be strings" in message else ""


def _no_such_number(message: str, data: bytes | str) -> str:
    """What to send instead where the text goes wrong at a number that JSON has not."""
    at = re.search(r"byte (\d+)", message)
    start = max(0, int(at[1]) - 1) if at else 0
    word = data[start : start + 12] if isinstance(data, str) else data[start : start + 12].decode("utf-8", "replace")
    if "nan" in word.lower():
        return "; JSON has no NaN, send null"
    return "; JSON has no infinity, send a finite number" if "inf" in word.lower() else ""


def decode_npy(data: bytes) -> Array:
    """An array from the bytes of a `.npy` file, without a copy. Raises SampleError; objects are refused.

    numpy's own reader runs Python's tokenizer over a damaged header, and raises whatever that raises.
    """
    try:
        header, offset = _npy_header(data)
        dtype, shape = _npy_dtype(header["descr"]), _npy_shape(header["shape"])
        count = math.prod(shape)
        end = offset + count * dtype.itemsize
        if end > len(data):
            raise ValueError(f"{len(data) - offset} bytes where the shape {list(shape)} of {dtype} belongs")
        refuse_more("an array", data, end)
        flat = np.frombuffer(data, dtype, count, offset) if count else np.empty(0, dtype)
        return flat.reshape(shape, order="F" if header["fortran_order"] else "C")
    except _DAMAGED as exc:
        raise SampleError(f".npy bytes that cannot be read: {exc}") from exc


def npy_size(data: bytes | bytearray) -> int | None:
    """How many bytes the `.npy` file takes that `data` begins with; None where its header does not say."""
    try:
        header, offset = _npy_header(bytes(data[: MAX_NPY_HEADER + 16]))
        return offset + math.prod(_npy_shape(header["shape"])) * _npy_dtype(header["descr"]).itemsize
    except _DAMAGED:
        return None


def _npy_shape(shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, tuple) or not all(type(d) is int and d >= 0 for d in shape):
        raise ValueError(f"the shape is {shape!r}")
    return shape


def _npy_header(data: bytes) -> tuple[Any, int]:
    # https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
    major = data[6] if len(data) > 6 else 0
    if major not in (1, 2, 3):
        raise ValueError(f"format version {major}")
    size = "<H" if major == 1 else "<I"
    start = 8 + struct.calcsize(size)
    (length,) = struct.unpack_from(size, data, 8)
    if length > MAX_NPY_HEADER or start + length > len(data):
        raise ValueError(f"a header of {length} bytes in a file of {len(data)}")
    return ast.literal_eval(
        data[start : start + length].decode("utf-8" if major == 3 else "latin-1").strip()
    ), start + length


def _npy_dtype(descr: Any) -> np.dtype[Any]:
    if not isinstance(descr, str) or not _NPY_DTYPE.fullmatch(descr):
        raise ValueError(f"values of type {str(descr)[:40]!r}; numbers, booleans and text are taken")
    return np.dtype(descr)
