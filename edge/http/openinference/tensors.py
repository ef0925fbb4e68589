"""Tensors of the Open Inference Protocol: JSON and the binary extension to numpy and back.

Nesting says nothing in this protocol: `data` is row-major, flat or nested, and `shape` decides. Nested data has
to be nested as `shape` says, though: rows that differ in length are a mistake of the client's.
"""

from __future__ import annotations

import contextlib
import math
import re
import struct
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
import simdjson

from edge.data.tensor import STRING, Array, TensorSpec, to_integers
from edge.errors import SampleError
from edge.http.http_types import Refusal

DATATYPES: Mapping[str, str] = {
    "bool": "BOOL",
    **{f"{sign}int{bits}": f"{sign.upper()}INT{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    STRING: "BYTES",
}
"""The protocol's names by ours."""

NUMPY = {datatype: np.dtype(name).newbyteorder("<") for name, datatype in DATATYPES.items() if name != STRING}

_BY_DTYPE = {np.dtype(name): datatype for name, datatype in DATATYPES.items() if name != STRING}
"""`dtype.name` is made anew each time it is asked for: a dictionary is ten times as fast."""

LARGE = 16_384
"""Bytes of JSON above which numbers are read by simdjson: below, its set-up costs more than it saves."""

_local = threading.local()


def datatype(spec: TensorSpec) -> str:
    """The protocol's name. What an engine cannot give as one array goes out as JSON texts, so as BYTES."""
    return "BYTES" if spec.shape is None else DATATYPES.get(spec.dtype, spec.dtype)


def shape(spec: TensorSpec) -> list[int]:
    """With -1 for what is free."""
    return [-1] if spec.shape is None else [d if isinstance(d, int) else -1 for d in spec.shape]


def check(spec: TensorSpec, said_type: str, said_shape: Sequence[int]) -> int:
    """How many elements an input has. Raises Refusal where the model takes another type or shape."""
    if said_type != DATATYPES.get(spec.dtype) or spec.shape is None:
        wanted = datatype(spec)
        if said_type != wanted:
            raise Refusal(400, f"input {spec.name!r}: datatype {said_type[:20]!r}; the model takes {wanted}")
    dims = spec.shape or ()
    fits, count = len(said_shape) == len(dims), 1
    for stated, dim in zip(said_shape, dims, strict=False):
        fits = fits and stated > 0 and (stated == dim or not isinstance(dim, int))
        count *= stated
    if not fits:
        raise Refusal(400, f"input {spec.name!r}: shape {_brief(said_shape)}; the model takes {shape(spec)}")
    return count


def _brief(dims: Sequence[int]) -> str:
    return str(list(dims)) if len(dims) <= 8 else f"of {len(dims)} dimensions"


# --- JSON -----------------------------------------------------------------------------------------------


def from_json(raw: msgspec.Raw, spec: TensorSpec, dims: Sequence[int], count: int) -> Array:
    """An input's `data`. Raises Refusal."""
    quick: Array | None = None
    if spec.dtype != STRING and len(raw) > LARGE:
        quick = _simd(memoryview(raw), spec.dtype, dims, count)
        quick = quick if quick is None else cast(quick, spec)
        if quick is not None:
            return quick.reshape(dims)
    else:
        quick = packed(raw, spec.dtype, dims, count)
        if quick is not None:
            return quick
    try:
        values = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise Refusal(400, f"input {spec.name!r}: data is not JSON: {exc}") from exc
    if not isinstance(values, list):
        raise Refusal(400, f"input {spec.name!r}: data is no array: {_shown(values)}")
    if spec.dtype == STRING:
        return _texts(_flat(values, spec, dims, count), spec).reshape(dims)
    return cast(_numbers(_flat(values, spec, dims, count), spec), spec).reshape(dims)


def packed(raw: msgspec.Raw | bytes | memoryview, dtype: str, dims: Sequence[int], count: int) -> Array | None:
    """A few flat numbers, each of which a type of floats can hold, without a step in float64; None: as for `_simd`."""
    if dtype not in PACKED:
        return None
    try:
        values = _floats.decode(raw)
        if len(values) != count:
            return None
        return np.ndarray(dims, NUMPY[DATATYPES[dtype]], struct.pack(f"<{count}{PACKED[dtype]}", *values))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError):
        return None


_floats = msgspec.json.Decoder(list[float])
PACKED = {"float16": "e", "float32": "f", "float64": "d"}
"""The `struct` module's names; it refuses what overflows."""


def _simd(data: memoryview, dtype: str, dims: Sequence[int], count: int) -> Array | None:
    """Numbers without a Python object for each; None: something is odd, the slow way finds the words."""
    kind = _SIMD.get(np.dtype(dtype).kind)
    if kind is None:
        return None
    parser = getattr(_local, "parser", None)
    if parser is None:
        parser = _local.parser = simdjson.Parser()
    try:
        array = parser.parse(data)
        if not isinstance(array, simdjson.Array):
            return None
        numbers: Array = np.frombuffer(array.as_buffer(of_type=kind), dtype=_SIMD_DTYPES[kind])
    except (ValueError, TypeError, RuntimeError):
        return None
    finally:
        array = None  # the parser can be used again once nothing refers to what it read
    return numbers if numbers.size == count and _nested_right(data, dims) else None


_SIMD: Mapping[str, Literal["d", "i", "u"]] = {"f": "d", "i": "i", "u": "u"}
_SIMD_DTYPES = {"d": np.float64, "i": np.int64, "u": np.uint64}


def _nested_right(data: memoryview, dims: Sequence[int]) -> bool:
    first = _OPEN.search(data)
    if first is None or _OPEN.search(data, first.end()) is None:
        return True
    seen = bytes(data).translate(None, delete=_NOT_STRUCTURE)
    wanted = b""
    for size in reversed(dims):
        wanted = b"[" + b",".join([wanted] * size) + b"]"
    return seen == wanted


_OPEN = re.compile(rb"\[")
_NOT_STRUCTURE = bytes(c for c in range(256) if c not in b"[],")


def _flat(values: list[Any], spec: TensorSpec, dims: Sequence[int], count: int) -> list[Any]:
    """The elements in order. Raises Refusal where they are not as many, or not nested, as the shape says."""
    level = values
    if values and isinstance(values[0], list):
        level = [values]
        for size in dims:
            if any(not isinstance(part, list) or len(part) != size for part in level):
                raise Refusal(400, f"input {spec.name!r}: data is not nested as the shape {_brief(dims)} says")
            level = [value for part in level for value in part]
    if len(level) != count:
        raise Refusal(400, f"input {spec.name!r}: {len(level)} values; the shape {_brief(dims)} holds {count}")
    return level


def _numbers(values: list[Any], spec: TensorSpec) -> Array:
    dtype = np.dtype(spec.dtype)
    if dtype.kind in "iu":
        return _whole(values, spec, dtype)
    try:
        array = np.array(None if dtype.kind == "f" and bool in set(map(type, values)) else values)
    except (ValueError, OverflowError):
        array = np.array(None)
    if array.ndim == 1 and array.dtype.kind in ("iub" if dtype.kind == "b" else "fiu"):
        return array
    numbers = [math.nan if v is None and dtype.kind == "f" else v for v in values]
    good = (bool,) if dtype.kind == "b" else (int, float)
    odd = [v for v in numbers if type(v) not in good]
    if not odd and dtype.kind == "f":
        with contextlib.suppress(OverflowError):  # an integer that even float64 cannot hold
            return np.array(numbers, dtype=np.float64)
    wrong = odd[0] if odd else max((v for v in numbers if v == v), key=abs)
    raise Refusal(400, f"input {spec.name!r}: {_shown(wrong)} where a {datatype(spec)} value belongs")


def _whole(values: list[Any], spec: TensorSpec, dtype: np.dtype[Any]) -> Array:
    whole = None if any(type(v) is bool for v in values) else to_integers(values, dtype)
    if whole is None:
        odd = next((v for v in values if type(v) not in (int, float)), None)
        if odd is not None or None in values:
            raise Refusal(400, f"input {spec.name!r}: {_shown(odd)} where a {datatype(spec)} value belongs")
        wrong = next(v for v in values if to_integers([v], dtype) is None)
        raise Refusal(400, f"input {spec.name!r}: {datatype(spec)} cannot hold {_shown(wrong)}")
    return whole


def cast(values: Array, spec: TensorSpec) -> Array:
    """Into the model's type, and only where it can hold every value."""
    dtype = np.dtype(spec.dtype)
    if values.dtype == dtype:
        return values
    with np.errstate(over="ignore", invalid="ignore"):
        array = values.astype(dtype)
        if dtype.kind == "f":
            lost = not np.isfinite(array).all() and bool((np.isinf(array) & np.isfinite(values)).any())
        else:
            lost = bool((array != values).any())
    if lost:
        at = int(np.argmax(np.isinf(array) if dtype.kind == "f" else array != values))
        raise Refusal(400, f"input {spec.name!r}: {datatype(spec)} cannot hold {values[at].item()!r}")
    return array


def _texts(values: list[Any], spec: TensorSpec) -> Array:
    if not all(isinstance(v, str) for v in values):
        wrong = next(v for v in values if not isinstance(v, str))
        raise Refusal(400, f"input {spec.name!r}: {_shown(wrong)} where a text belongs (BYTES)")
    return np.array(values, dtype=object)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


# --- binary ---------------------------------------------------------------------------------------------


def from_binary(data: memoryview, spec: TensorSpec, dims: Sequence[int], count: int) -> Array:
    """A tensor's bytes, little-endian, row-major; numbers are not copied where they lie aligned. Raises Refusal."""
    if spec.dtype == STRING:
        return _from_bytes(data, spec, count).reshape(dims)
    dtype = NUMPY[datatype(spec)]
    if len(data) != count * dtype.itemsize:
        raise Refusal(
            400,
            f"input {spec.name!r}: {len(data)} bytes; the shape {_brief(dims)} of {datatype(spec)} has "
            f"{count * dtype.itemsize}",
        )
    if dtype.kind == "b":  # any byte but 0 is true, but a numpy bool must be 0 or 1
        return np.asarray(np.frombuffer(data, np.uint8) != 0).reshape(dims)
    array = np.frombuffer(data, dtype)
    return (array if array.flags.aligned else array.copy()).reshape(dims)


def text(data: memoryview, spec: TensorSpec) -> Array:
    """One text as an array of one element. Raises Refusal."""
    try:
        return np.array([str(data, "utf-8")], dtype=object)
    except UnicodeDecodeError as exc:
        raise Refusal(400, f"input {spec.name!r}: the text is not UTF-8: {exc.reason}") from exc


def _from_bytes(data: memoryview, spec: TensorSpec, count: int) -> Array:
    texts: list[str] = []
    at = 0
    try:
        while at < len(data) and len(texts) < count:
            (size,) = struct.unpack_from("<I", data, at)
            end = at + 4 + size
            if end > len(data):
                raise Refusal(
                    400, f"input {spec.name!r}: text {len(texts)} has {size} bytes, {len(data) - at - 4} came"
                )
            texts.append(str(data[at + 4 : end], "utf-8"))
            at = end
    except struct.error:
        raise Refusal(400, f"input {spec.name!r}: the length of text {len(texts)} is cut off") from None
    except UnicodeDecodeError as exc:
        raise Refusal(400, f"input {spec.name!r}: text {len(texts)} is not UTF-8: {exc.reason}") from exc
    if len(texts) != count or at != len(data):
        raise Refusal(400, f"input {spec.name!r}: {len(texts)} texts and {len(data) - at} bytes more; {count} belong")
    return np.array(texts, dtype=object)


def to_binary(values: Array) -> bytes:
    """The bytes of an output."""
    if values.dtype.kind in "OUS":
        texts = [str(v).encode() for v in values.ravel()]
        return b"".join(struct.pack("<I", len(t)) + t for t in texts)
    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).tobytes()


# --- outputs --------------------------------------------------------------------------------------------


def type_of(values: Array) -> str:
    """The protocol's name of an array's type."""
    return _BY_DTYPE.get(values.dtype, "BYTES")


def as_array(value: Any) -> Array:
    """An engine's output as one array: a list of maps (ZipMap) becomes JSON texts, one a row."""
    if isinstance(value, np.ndarray):
        return value
    rows = value if isinstance(value, list) else [value]
    return np.array([msgspec.json.encode(_plain(r)).decode() for r in rows], dtype=object)


def _plain(row: Any) -> Any:
    return {str(k): v for k, v in row.items()} if isinstance(row, dict) else row


def classified(values: Array, count: int, labels: Sequence[str]) -> Array:
    """Triton's classification extension: "value:index[:label]", the best `count` of each row."""
    if values.dtype.kind not in "fiu" or values.ndim == 0:
        raise SampleError("classification is for numbers only")
    rows = values.reshape(len(values) if values.ndim > 1 else 1, -1)
    count = min(count, rows.shape[1])
    best = np.argsort(-rows.astype(np.float64), axis=1, kind="stable")[:, :count]
    texts = [
        [f"{row[i]:f}:{i}" + (f":{labels[i]}" if i < len(labels) else "") for i in order.tolist()]
        for row, order in zip(rows, best, strict=True)
    ]
    array: Array = np.array(texts, dtype=object)
    return array if values.ndim > 1 else array[0]
