from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.data import codec
from edge.data.json_path import parse
from edge.errors import SampleError

DOCUMENT = {
    "data": {"values": [1, 2, 3], "a b": {"c.d": 7}},
    "sensors": [{"value": 5, "größe": 1}, {"value": 6, "größe": 2}],
    "by name": {"x": {"v": 8}, "y": {"v": 9}},
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$.data.values", [1, 2, 3]),
        ("$.data.values[1]", 2),
        ("$.data.values[-1]", 3),
        ("$['data']['a b'][\"c.d\"]", 7),
        ("$.sensors[*].value", [5, 6]),
        ("$.sensors[*]", DOCUMENT["sensors"]),
        ("$.sensors[ 0 ].größe", 1),
        ("$['by name'].*.v", [8, 9]),
    ],
)
def test_it_finds_what_jsonpath_finds(path, found):
    assert parse(path).pick(DOCUMENT) == found


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("$.data.value", "no 'value' .step 2.; there is an object with 'values', 'a b'"),
        ("$.data.values[3]", "no 3 .step 3.; there is an array of 3"),
        ("$.data.values.x", "there is an array, which has no names"),
        ("$.data[0]", "there is an object, which has no elements"),
        ("$.sensors[*].value[*]", "there is 5, which has no elements"),
    ],
)
def test_where_there_is_nothing_what_there_is_is_told(path, said):
    with pytest.raises(SampleError, match=said):
        parse(path).pick(DOCUMENT)


@pytest.mark.parametrize(
    "text", ["", "$", "data", "$data", "$.", "$..a", "$.a[", "$.a[1:2]", "$.a[?(@.b)]", "$.a b", "$" + ".a" * 33]
)
def test_what_is_no_path_is_refused(text):
    with pytest.raises(ValueError, match="belongs there"):
        parse(text)


KEYS = st.text(st.characters(exclude_characters="'\"", codec="utf-8"), min_size=1, max_size=5)


@given(st.lists(KEYS | st.integers(0, 3), min_size=1, max_size=6), st.integers())
def test_every_name_and_index_can_be_said(steps, value):
    document = value
    for step in reversed(steps):
        document = {step: document, "": 0} if isinstance(step, str) else [None] * step + [document]
    path = "$" + "".join(f"['{s}']" if isinstance(s, str) else f"[{s}]" for s in steps)
    assert parse(path).pick(document) == value


@pytest.mark.parametrize(
    ("data", "values"),
    [(b"1,2,3", [1, 2, 3]), (b" -1.5 , 2e3\r\n", [-1.5, 2000.0]), (b"21.5", 21.5), (b"1\t,2", [1, 2])],
)
def test_numbers_with_commas_between_are_an_array(data, values):
    assert codec.decode(data) == values


@pytest.mark.parametrize("data", [b"1,2,", b",1", b"1,,2", b"1;2", b"1,a", b"1,2-", b"01,2", b"1,2\n3,4", b"1,0x10"])
def test_what_only_looks_like_it_is_refused(data):
    with pytest.raises(SampleError, match="not JSON"):
        codec.decode(data)
