"""A name that comes twice in an object of JSON: which of its values is meant nothing says."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.data.codec import decode_json, refuse_twice
from edge.errors import SampleError

TEXT = st.text(alphabet='ab:"\\{}[], \u00e9\n', max_size=4)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50)
@given(VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_a_text_whose_names_come_once_is_taken_as_it_is(value, ascii_only, indent):
    assert decode_json(json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()) == value


@settings(max_examples=50)
@given(st.dictionaries(TEXT, VALUES, min_size=1, max_size=3), VALUES, st.booleans(), st.integers(0, 3))
def test_a_name_that_comes_twice_is_refused_wherever_the_object_is(row, other, ascii_only, depth):
    name = json.dumps(next(iter(row)), ensure_ascii=ascii_only)
    text = f"{json.dumps(row, ensure_ascii=ascii_only)[:-1]}, {name} : {json.dumps(other, ensure_ascii=ascii_only)}}}"
    for _ in range(depth):
        text = f'[{{"in": [1, "a:b", {text}]}}]'
    with pytest.raises(SampleError, match="comes twice in an object"):
        decode_json(text.encode())
    with pytest.raises(SampleError, match="comes twice in an object"):
        refuse_twice(text.encode())


def test_the_same_name_written_another_way_is_the_same():
    with pytest.raises(SampleError, match="'a:' comes twice in an object, as 1 and 2: name each value once"):
        decode_json(b'{"a:":1,"\\u0061\\u003a":2}')
