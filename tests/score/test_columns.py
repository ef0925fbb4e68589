"""A table by its columns says the same as its rows one by one, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.data.sample import ModelInput, Sample
from edge.data.tensor import TensorSpec
from edge.errors import SampleError
from edge.model.manifest import Feature, Input, Manifest, Output
from edge.plugins import registry
from edge.plugins.columns import Words

NUMBERS = st.none() | st.floats(width=64) | st.integers(-(2**70), 2**70) | st.booleans()
TEXTS = st.none() | st.sampled_from(["red", "blue", "", "grün"])


def table(dtype, kinds, missing, *, columns, scales=False):
    features = [
        Feature(name=f"c{i}", kind=kind, missing=m, values=("red", "blue") if kind == "text" and i % 2 else ())
        for i, (kind, m) in enumerate(zip(kinds, missing, strict=True))
    ]
    specs = [TensorSpec(f.name, "string" if f.kind == "text" else dtype, ("n", 1)) for f in features]
    if columns:
        inputs = tuple(Input(name=f.name, kind="column", features=(f,)) for f in features)
    else:
        more = {"mean": (0.5,) * len(features), "std": (3.0,) * len(features)} if scales else {}
        inputs = (Input(name="x", kind="table", features=tuple(features), **more),)
        specs = [TensorSpec("x", dtype, ("n", len(features)))]
    return registry.find("edge.preprocess", "table").create(Manifest(name="m", inputs=inputs), tuple(specs))


def one_by_one(made, columns):
    """Tensors of the rows that are taken, and which."""
    found, taken = [], []
    for row in zip(*columns, strict=True):
        try:
            found.append(made(Sample({f"c{i}": v for i, v in enumerate(row)}, "test", 0, 0)).tensors)
            taken.append(True)
        except SampleError:
            taken.append(False)
    return found, taken


def array(values, kind):
    """As a reader of Parquet gives them: numbers with NaN where one is missing, or objects."""
    if kind == "text":
        return np.array(values, dtype=object)
    if all(isinstance(v, bool) for v in values):
        return np.array(values)
    if all(isinstance(v, int) and abs(v) < 2**63 for v in values):
        return np.array(values, dtype=np.int64)
    return np.array([np.nan if v is None else float(v) for v in values])


DTYPES = st.sampled_from(["float32", "float64", "float16", "int64", "int8", "uint16"])


@settings(max_examples=120)
@given(dtype=DTYPES, columns=st.booleans(), data=st.data())
def test_columns_become_the_tensors_of_their_rows(dtype, columns, data):
    kinds = data.draw(st.lists(st.sampled_from(["number", "text"] if columns else ["number"]), min_size=1, max_size=3))
    missing = data.draw(st.lists(st.booleans(), min_size=len(kinds), max_size=len(kinds)))
    made = table(dtype, kinds, missing, columns=columns, scales=dtype == "float32" and not columns)
    rows = data.draw(st.integers(1, 4))
    drawn = [
        array(data.draw(st.lists(NUMBERS if k == "number" else TEXTS, min_size=rows, max_size=rows)), k) for k in kinds
    ]
    if data.draw(st.booleans()):
        with np.errstate(over="ignore"):
            drawn = [c.astype(np.float32) if c.dtype.kind == "f" else c for c in drawn]
    expected, taken = one_by_one(made, [c.tolist() for c in drawn])
    found = made.from_columns(drawn)
    if found is None:
        return
    tensors, which = found
    # A row that is left out is looked at again by itself: no answer is lost by it, and none may be made up.
    assert not (which & ~np.array(taken)).any()
    if all(c.dtype.kind in "fO" for c in drawn) and not dtype.startswith(("int", "uint")):
        assert which.tolist() == taken
    kept = [
        tensors for tensors, t in zip(expected, [w for w, t in zip(which, taken, strict=True) if t], strict=True) if t
    ]
    for name, block in tensors.items():
        assert len(block) == len(kept)
        for row, other in zip(block, kept, strict=True):
            assert row.dtype == other[name].dtype
            assert row.tobytes() == other[name][0].tobytes() or row.tolist() == other[name][0].tolist()


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_columns_that_are_one_array_become_what_they_become_one_by_one(dtype):
    made = table(dtype, ["number"] * 3, [True, False, False], columns=False)
    rows = np.array([[1.0, 2.0, 3.0], [np.nan, 5.0, 6.0], [7.0, np.inf, 9.0], [1e300, 1.0, 2.0]])
    (one, taken), (other, also) = made.from_columns([*rows.T]), made.from_columns(rows.T)
    assert taken.tolist() == also.tolist() != [True] * 4
    np.testing.assert_array_equal(one["x"], other["x"])
    assert other["x"].flags.c_contiguous


def test_a_missing_number_is_taken_where_the_model_takes_missing_values():
    made = table("float32", ["number", "number"], [True, False], columns=False)
    tensors, taken = made.from_columns([np.array([np.nan, 1.0, 2.0]), np.array([1.0, np.nan, 3.0])])
    assert taken.tolist() == [True, False, True]
    assert np.isnan(tensors["x"][0, 0])


def head(task, outputs, **more):
    specs = tuple(TensorSpec(name, dtype, shape) for name, dtype, shape in outputs)
    manifest = Manifest(name="m", task=task, outputs=tuple(Output(name=n) for n, _, _ in outputs), **more)
    return registry.find("edge.postprocess", task).create(manifest, specs)


def rows_of(made, outputs, count):
    return [made({n: v[i : i + 1] for n, v in outputs.items()}, ModelInput({})) for i in range(count)]


def values(columns, name):
    column = columns.values[name]
    return [column.words[c] for c in column.codes] if isinstance(column, Words) else column.tolist()


@settings(max_examples=120)
@given(classes=st.sampled_from([1, 2, 5, 9]), own=st.sampled_from([None, "number", "text"]), data=st.data())
def test_the_best_class_is_that_of_the_result(classes, own, data):
    names = tuple(f"class {i}" for i in range(max(classes, 2)))
    rows = data.draw(st.integers(1, 5))
    shares = st.lists(st.floats(0, 1, width=32), min_size=classes, max_size=classes)
    scores = np.array(data.draw(st.lists(shares, min_size=rows, max_size=rows)), dtype=np.float32)
    outputs = {"scores": scores}
    specs = [("scores", "float32", ("n", classes))]
    if own is not None:
        chosen = data.draw(st.lists(st.integers(0, len(names) - 1), min_size=rows, max_size=rows))
        outputs["label"] = np.array(chosen) if own == "number" else np.array([names[i] for i in chosen], dtype=object)
        specs.append(("label", "int64" if own == "number" else "string", ("n",)))
    threshold = data.draw(st.none() | st.just(0.5))
    made = head("classify", specs, labels=names, threshold=threshold)
    expected = rows_of(made, outputs, rows)
    found = made.to_columns(outputs, rows)
    if found is None:
        assert own is not None
        return
    for row, predictions in enumerate(expected):
        if not predictions:
            assert found.empty is not None
            assert found.empty[row]
            continue
        best = predictions[0]
        assert found.empty is None or not found.empty[row]
        assert [values(found, n)[row] for n in ("label", "index", "score")] == [best.label, best.index, best.score]


@settings(max_examples=40)
@given(numbers=st.lists(st.tuples(st.floats(width=32), st.floats(width=32)), min_size=1, max_size=5))
def test_the_numbers_are_those_of_the_result(numbers):
    made = head("regress", [("y", "float32", ("n", 2))])
    outputs = {"y": np.array(numbers, dtype=np.float32)}
    found = made.to_columns(outputs, len(numbers))
    assert (found is None) == (not np.isfinite(outputs["y"]).all())
    if found is not None:
        expected = [{p.name: p.value for p in predictions} for predictions in rows_of(made, outputs, len(numbers))]
        assert [{n: values(found, n)[row] for n in found.values} for row in range(len(numbers))] == expected


@settings(max_examples=40)
@given(scores=st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=5), threshold=st.none() | st.just(1.0))
def test_the_score_of_an_anomaly_is_that_of_the_result(scores, threshold):
    made = head("anomaly", [("score", "float32", ("n", 1)), ("label", "int64", ("n",))], threshold=threshold)
    outputs = {"score": np.array(scores, dtype=np.float32)[:, None], "label": np.where(np.array(scores) < 0, -1, 1)}
    found = made.to_columns(outputs, len(scores))
    expected = [p[0] for p in rows_of(made, outputs, len(scores))]
    assert values(found, "score") == [e.score for e in expected]
    assert values(found, "is_anomaly") == [e.is_anomaly for e in expected]
