"""A long JSON array by pieces gives the elements that the whole gives, wherever it is cut."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.data.json_rows import PIECE_BYTES, json_rows
from edge.errors import SampleError

words = ["", "a", '"', "\\", "[", "],[", "}", ",", '\\"]', "\n", "\u00e9"]
leaf = st.sampled_from([None, 0, -1.5, *words])
value = (
    leaf | st.lists(leaf, max_size=3) | st.dictionaries(st.sampled_from(words), st.lists(leaf, max_size=2), max_size=2)
)


def pieces(data):
    found, rest = [], json_rows(data)
    while rest is not None:
        end = rest.end
        found.append(rest.decoded(end))
        rest = rest.after(end)
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(value, min_size=1, max_size=8), st.sampled_from([None, 1]), st.integers(0, 3))
def test_pieces_hold_all_elements_in_order(elements, indent, long):
    elements = [*elements, ["x" * PIECE_BYTES * long], *elements]
    found = pieces(b" " + json.dumps(elements, indent=indent).encode() + b"\n")
    assert [element for piece in found for element in piece] == elements


def test_a_piece_is_bounded_in_bytes():
    found = pieces(json.dumps([[1, 2]] * 100_000).encode())
    assert len(found) > 30
    assert max(len(json.dumps(piece)) for piece in found) < PIECE_BYTES + 20


@pytest.mark.parametrize("other", [b'{"a": [1]}', b"7", b'"[["', b"[]", b'[1, "[", 2]', b"\x89PNG"])
def test_what_holds_no_rows_is_left_to_the_decoder(other):
    assert json_rows(other) is None


@pytest.mark.parametrize(
    "damaged", [b"[[1,2],[3}]", b"[[1,2],]", b"[[1,2]", b"[[1,2]] [", b"[[1,NaN]]", b"[" * 100_000]
)
def test_what_is_no_json_is_refused_as_a_whole(damaged):
    with pytest.raises(SampleError, match="not JSON"):
        json_rows(damaged)


def test_a_mark_of_the_byte_order_is_passed_over():
    assert pieces(b"\xef\xbb\xbf[[1],[2]]") == [[[1], [2]]]
