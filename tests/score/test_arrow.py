"""Arrays of numpy to Arrow's and back, as the library itself would turn them."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from edge.score import arrow

NAN = float("nan")


@pytest.mark.parametrize(
    ("column", "wanted"),
    [
        (pa.array([9.0, 1.5, None, 3.0], pa.float32()).slice(1), np.array([1.5, NAN, 3.0], np.float32)),
        (pa.array([9, 1, 2], pa.int8()).slice(1), np.array([1, 2], np.int8)),
        (pa.array([1, None, 2**60]), np.array([1.0, NAN, 2.0**60])),
        (pa.array([True, False, True]).slice(1), np.array([False, True])),
        (pa.array([True, None]), np.array([1.0, NAN])),
        (pa.array([Decimal("1.5"), None]), np.array([1.5, NAN])),
        (pa.array(["a", None]), np.array(["a", None], object)),
        (pa.array([], pa.float64()), np.array([])),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
def test_a_column_keeps_its_values_and_what_is_missing(column, wanted):
    found = arrow.to_numpy(column)
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    "values", [np.arange(9), np.array([1.5, NAN, 2.0]), np.arange(9) % 3 == 0, np.array(["a", "b"], object)]
)
def test_an_array_has_its_values_but_where_it_is_empty(values):
    empty = np.arange(len(values)) % 2 == 1
    assert arrow.from_numpy(values).equals(pa.array(values)) or np.isnan(values).any()
    found = arrow.from_numpy(values, empty)
    assert found.null_count == empty.sum()
    np.testing.assert_array_equal(found.drop_null().to_pylist(), values[~empty].tolist())


def test_texts_are_those_of_the_list():
    texts = ["ä", "", None, "bc"]
    assert arrow.of_texts(texts).equals(pa.array(texts))
    assert arrow.of_texts([]).equals(pa.array([], pa.string()))


@pytest.mark.parametrize(
    "words",
    [["a", "b"], ["setosa", "", "größer"], ["a", "so long that Arrow fills it in"], ["a", "b\0", "b"]],
    ids=["one length", "several lengths", "long", "a zero in one"],
)
def test_words_are_those_of_their_codes(words):
    codes = np.array([1, 0, len(words) - 1, 1])
    empty = np.array([False, True, False, False])
    wanted = [words[code] for code in codes]
    assert arrow.of_words(codes, words).equals(pa.array(wanted))
    assert arrow.of_words(codes, words, empty).equals(pa.array([wanted[0], None, *wanted[2:]]))
    assert arrow.of_words(codes[:0], words).equals(pa.array([], pa.string()))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, None, 3], pa.int32()),
        ([0.25, None, NAN, 1], pa.float64()),
        ([True, None, False], pa.bool_()),
        (["a", None], pa.string()),
        ([None, None], pa.float64()),
        ([[1.0], None], pa.list_(pa.float64())),
    ],
    ids=lambda value: str(value) if isinstance(value, pa.DataType) else "",
)
def test_values_of_python_become_what_the_library_makes_of_them(values, kind):
    assert str(arrow.of_values(values, kind)) == str(pa.array(values, kind))
    assert arrow.of_values(values, kind).type == kind


@pytest.mark.parametrize(
    ("module", "start", "rows"), [("pandas", 0, 600), ("pyarrow.compute", 10, 200)], ids=["any rows", "good rows"]
)
def test_what_takes_long_to_import_is_not_for_a_table(trees, tmp_path, module, start, rows):
    archive = trees.write(tmp_path / "a.parquet", start, rows)
    program = f"import sys; from edge.cli.score import run; run(sys.argv[1:]); sys.exit({module!r} in sys.modules)"
    typed = [trees.path, archive, "-o", tmp_path / "o.parquet", "--columns", "id,note", "--workers", "1"]
    done = subprocess.run([sys.executable, "-c", program, *map(str, typed)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
