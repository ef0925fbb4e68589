"""Numbers stay what they are: whole ones beyond 2**53, in lists, arrays and texts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.data.codec import decode_json, encode
from edge.data.numbers import read_number
from edge.data.tensor import to_integers
from edge.errors import SampleError

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
ANY = st.integers(-(2**66), 2**66) | st.floats() | st.booleans() | st.sampled_from([2**53 + 1, 2**63, 2**64, -1, 1.0])


def meant(value) -> int | None:
    """The whole number that a value in a list certainly is."""
    if isinstance(value, int):
        return int(value)
    return int(value) if value.is_integer() and abs(value) < 2**53 else None


@given(st.lists(ANY, min_size=1, max_size=4), st.sampled_from(INTEGERS))
def test_a_list_becomes_the_very_numbers_or_nothing(values, dtype):
    limits = np.iinfo(dtype)
    wanted = [meant(v) for v in values]
    held = all(v is not None and limits.min <= v <= limits.max for v in wanted)
    found = to_integers(values, np.dtype(dtype))
    assert (None if found is None else found.tolist()) == (wanted if held else None)


@given(st.lists(st.floats(width=64), min_size=1, max_size=4), st.sampled_from(INTEGERS))
def test_floats_of_an_array_become_the_very_numbers_or_nothing(values, dtype):
    limits = np.iinfo(dtype)
    held = all(v.is_integer() and limits.min <= int(v) <= limits.max for v in values)
    found = to_integers(np.array(values), np.dtype(dtype))
    assert (None if found is None else found.tolist()) == ([int(v) for v in values] if held else None)


@given(st.integers(-(2**70), 2**70))
def test_a_whole_number_is_read_as_it_is_written(number):
    assert read_number(str(number)) == number
    assert read_number(f" {number}.0 ") == number


@given(st.floats())
def test_any_float_is_read_as_python_reads_it(number):
    found = read_number(repr(number))
    assert float(found) == number or math.isnan(number)


@pytest.mark.parametrize("text", ["", "x", "1_000", "0x10", "1,5", "--1"])
def test_what_is_no_number_is_none(text):
    assert read_number(text) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[1, NaN]", "JSON has no NaN, send null"),
        ('{"a": -NaN}', "JSON has no NaN"),
        ("[1, Infinity]", "JSON has no infinity"),
        ("-Infinity", "JSON has no infinity"),
        ("[" + "1," * 500 + "NaN]", "JSON has no NaN"),
    ],
)
def test_what_json_has_not_is_named(text, reason):
    with pytest.raises(SampleError, match=reason):
        decode_json(text.encode())


@given(st.integers(-(2**63), 2**64 - 1))
def test_whole_numbers_survive_json(number):
    assert decode_json(encode([number])) == [number]
