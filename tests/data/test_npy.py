"""Bytes of `.npy` files: what numpy writes is read, and what is none is told without numpy's own reader."""

from __future__ import annotations

import io

import numpy as np
import pytest

from edge.data.codec import decode, npy_size
from edge.errors import SampleError


def saved(array: np.ndarray, version: tuple[int, int] | None = None) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version)
    return file.getvalue()


def header(text: str, data: bytes = b"", *, length: int | None = None) -> bytes:
    size = len(text) if length is None else length
    return b"\x93NUMPY\x01\x00" + size.to_bytes(2, "little") + text.encode() + data


def said(descr: str = "'<f4'", shape: str = "(2,)", more: str = "") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}{more}}}"


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize(
    "array",
    [np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3)), np.zeros((0, 3), np.uint8),
     np.array(["a", "bc"]), np.array([True, False]), np.float32(1.5)],
    ids=["float64", "by column", "empty", "text", "bool", "a number"],
)  # fmt: skip
def test_what_numpy_writes_is_read_whatever_the_version(version, array):
    data = saved(np.asanyarray(array), version)
    np.testing.assert_array_equal(decode(data), array)
    assert npy_size(data) == len(data)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x93NUMPY", "format version 0"),
        (b"\x93NUMPY\x09\x00\x00\x00", "format version 9"),
        (header(said(), bytes(8), length=60_000), "a header of 60000 bytes in a file of"),
        (header(said(), bytes(7)), r"7 bytes where the shape \[2\] of float32 belongs"),
        (2 * header(said(), bytes(8)), "an array"),
        (header(said("'|O'"), bytes(16)), "values of type '|O'; numbers, booleans and text are taken"),
        (header(said("[('a', '<f4')]"), bytes(8)), "values of type"),
        (header(said(shape="(-1,)"), bytes(8)), r"the shape is \(-1,\)"),
        (header(said(shape="[2]"), bytes(8)), r"the shape is \[2\]"),
        (header(said(shape="(True,)"), bytes(8)), r"the shape is \(True,\)"),
        (header("{'descr': '<f4'}", bytes(8)), "cannot be read"),
        (header("exit()", bytes(8)), "cannot be read"),
        (header("[" * 5000, bytes(8)), "cannot be read"),
    ],
)
def test_what_is_no_array_is_told(data, says):
    with pytest.raises(SampleError, match=says):
        decode(data)


@pytest.mark.parametrize("data", [b"\x93NUMPY", header("exit()"), header(said("'|O'")), header(said(shape="(-1,)"))])
def test_of_what_is_no_array_no_size_is_known(data):
    assert npy_size(data) is None
