"""Rows by name: what is not there, what is not known, and numbers as large as they come."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.data.sample import Sample
from edge.data.tensor import TensorSpec
from edge.errors import SampleError
from edge.model.manifest import Feature, Input, Manifest, Window
from edge.plugins import registry
from edge.plugins.rows import RowRules
from edge.runtime.left_out import LeftOut

NAMES = ("a", "b", "c")


def of(missing=(True, True, False), dtype="float32", rules=None, kind="table"):
    features = tuple(Feature(name=n, missing=m) for n, m in zip(NAMES, missing, strict=True))
    if kind == "column":
        inputs = tuple(Input(name=f.name, kind="column", features=(f,)) for f in features)
        specs = tuple(TensorSpec(f.name, dtype, ("n", 1)) for f in features)
    else:
        window = Window(size=1, hop=1) if kind == "window" else None
        inputs = (Input(name="x", kind="table", features=features, window=window),)
        specs = (TensorSpec("x", dtype, ("n", 3)),)
    made = registry.find("edge.preprocess", kind.replace("column", "table")).create(
        Manifest(name="m", inputs=inputs), specs
    )
    if rules is not None:
        made.rules = rules
    return made


def values(made, row):
    """The numbers that the model is given, None for a missing one; or the reason."""
    try:
        (part,) = made.split(row)
        tensors = made(Sample(part, "test", 0, 0)).tensors
    except SampleError as exc:
        return str(exc)
    flat = np.concatenate([t.ravel() for t in tensors.values()]).tolist()
    return [None if v != v else v for v in flat]


ROWS = st.dictionaries(st.sampled_from([*NAMES, "id", "other"]), st.none() | st.integers(-9, 9), max_size=5)


@pytest.mark.parametrize("kind", ["table", "column", "window"])
@given(row=ROWS, ignore=st.booleans(), absent=st.booleans())
def test_a_row_is_taken_where_every_feature_is_said_or_may_be_left_out(kind, row, ignore, absent):
    missing = (True, True, False)
    found = values(of(missing, rules=RowRules(ignore, absent), kind=kind), row)
    said = [n in row for n in NAMES]
    right = all(row.get(n) is not None or m for n, m in zip(NAMES, missing, strict=True))
    right = right and (all(said) or (absent and any(said) and "c" in row)) and ("other" not in row or ignore)
    assert found == ([row.get(n) for n in NAMES] if right else found)
    assert isinstance(found, list) == right


@pytest.mark.parametrize("rules", [RowRules(), RowRules(ignore_unknown=True, absent_missing=True)])
@pytest.mark.parametrize("row", [{}, {"id": 7}])
def test_an_object_without_any_feature_is_refused(row, rules):
    assert "missing feature 'a', 'b', 'c'" in values(of((True, True, True), rules=rules), row)


def test_the_way_out_is_said_where_null_would_do():
    assert "send null for a value that is missing" in values(of(), {"a": 1, "c": 2})
    assert "null" not in values(of((False, False, False)), {"a": 1, "c": 2})


def test_many_rows_at_once_are_left_to_be_told_where_one_lacks_a_feature():
    assert of().many([{"a": 1, "b": 2, "c": 3}, {"a": 1, "c": 3}]) is None


def test_what_is_left_out_is_said_once(caplog):
    made = of(rules=RowRules(ignore_unknown=True, left_out=LeftOut()))
    for _ in range(3):
        values(made, {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5})
    assert [(r.message, r.key) for r in caplog.records] == [("left out", "d"), ("left out", "e")]


def test_keys_without_end_do_not_fill_the_log(caplog):
    caplog.set_level(logging.WARNING)
    say = LeftOut()
    for number in range(1000):
        say(f"key{number}")
    assert len(caplog.records) == 20
    assert "further keys are not named" in caplog.records[-1].reason


def test_a_model_of_several_arrays_leaves_out_what_it_does_not_know():
    specs = (TensorSpec("p", "float32", (1,)), TensorSpec("q", "float32", (1,)))
    made = registry.find("edge.preprocess", "tensor").create(Manifest(name="m"), specs)
    assert "unknown input 'z'" in values(made, {"p": [1], "q": [2], "z": [3]})
    made.rules = RowRules(ignore_unknown=True)
    assert values(made, {"p": [1], "q": [2], "z": [3]}) == [1, 2]


# --- large whole numbers --------------------------------------------------------------------------------------

WHOLE = st.integers(-(2**63), 2**63 - 1)


@pytest.mark.parametrize("kind", ["table", "column"])
@given(row=st.tuples(WHOLE, WHOLE, WHOLE))
def test_whole_numbers_reach_the_model_as_they_are(kind, row):
    made = of(dtype="int64", kind=kind)
    assert values(made, list(row)) == list(row)
    assert values(made, dict(zip(NAMES, row, strict=True))) == list(row)
    assert values(made, np.array(row)) == list(row)


@given(st.lists(st.tuples(WHOLE, WHOLE, WHOLE), min_size=2, max_size=5))
def test_many_rows_of_whole_numbers_at_once_reach_the_model_as_they_are(rows):
    found = of(dtype="int64").many([list(row) for row in rows])
    assert [given.tensors["x"].tolist()[0] for given in found] == [list(row) for row in rows]


@given(st.lists(st.integers(0, 2**64 - 1), min_size=3, max_size=3))
def test_an_array_input_takes_them_too(row):
    made = registry.find("edge.preprocess", "tensor").create(Manifest(name="m"), (TensorSpec("x", "uint64", (1, 3)),))
    assert values(made, row) == row


def test_a_float_that_may_have_been_rounded_is_refused():
    assert "beyond 2^53 send it without a point" in values(of(dtype="int64"), [2.0**60, 1, 1])
    assert values(of(dtype="int64"), np.array([2.0**60, 1, 1])) == [2**60, 1, 1]


def test_a_table_of_whole_numbers_refuses_what_is_not_whole():
    assert "the model takes a whole number" in values(of(dtype="int64"), [1, 2.5, 3])


TEXTS = {"21.5": 21.5, " -3 ": -3, "1e3": 1000, "": None, "unavailable": None, "nan": None, "inf": None, "1,5": None,
         "0x10": None, "1_0": None, "9" * 65: None}  # fmt: skip


@pytest.mark.parametrize("kind", ["table", "column", "window"])
@pytest.mark.parametrize("text", TEXTS)
def test_a_number_that_is_sent_as_text_is_taken_where_that_is_asked_for(kind, text):
    row = {"a": text, "b": 2, "c": 3}
    assert "a number belongs there" in values(of(kind=kind), row)
    found = values(of(rules=RowRules(text_numbers=True), kind=kind), row)
    assert found == [TEXTS[text], 2, 3] if TEXTS[text] is not None else "a number belongs there" in found
    assert values(of(rules=RowRules(text_numbers=True), kind=kind), [*row.values()]) == found


def test_a_whole_number_that_is_sent_as_text_keeps_its_last_digit():
    made = of(dtype="int64", rules=RowRules(text_numbers=True))
    assert values(made, ["9007199254740993", "1", "2"]) == [9007199254740993, 1, 2]
