"""What `--sample` and `--expect` read: every kind of file, and what is wrong with one is said in a line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from converter.errors import SampleFileError
from converter.rows import files
from converter.rows.rows import Rows


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_lines_of_objects_are_a_table_and_what_one_leaves_out_is_missing(tmp_path: Path) -> None:
    rows = files.read(written(tmp_path, "rows.jsonl", '{"age": 3, "city": "Bern"}\n\n{"city": null}\n'))

    assert (rows.table, rows.names, len(rows)) == (True, ("age", "city"), 2)
    np.testing.assert_array_equal(rows.numbers("age"), [3.0, np.nan])
    assert rows.arrays["city"].tolist() == ["Bern", None]


def test_lines_of_arrays_are_rows_without_names(tmp_path: Path) -> None:
    rows = files.read(written(tmp_path, "rows.ndjson", "[1, 2.5]\n[3, 4]\n"))

    assert not rows.table
    assert rows.array.tolist() == [[1.0, 2.5], [3.0, 4.0]]


@pytest.mark.parametrize("between", [",", ";", "\t", "|"])
def test_cells_are_divided_by_what_divides_them_to_edge_run(between: str, tmp_path: Path) -> None:
    rows = files.read(written(tmp_path, "rows.csv", f"age{between}kg\n3{between}7\n4{between}8\n"))

    assert (rows.names, rows.numbers("kg").tolist()) == (("age", "kg"), [7.0, 8.0])


def test_an_archive_holds_an_array_for_each_input(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", a=np.zeros((3, 2)), b=np.ones(3))

    rows = files.read(tmp_path / "rows.npz")

    assert rows.names == ("a", "b")
    assert rows.arrays["b"].tolist() == [1.0, 1.0, 1.0]


def test_a_table_without_a_header_is_rows_of_numbers(tmp_path: Path) -> None:
    rows = files.read(written(tmp_path, "rows.csv", "1\t2\n3\t4\n"))

    assert rows.array.tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("rows.csv", "", "rows.csv: the file is empty"),
        ("rows.csv", "a,b\n", "rows.csv: there are no rows in it"),
        ("rows.csv", "a,b\n1,2\n1\n", "line 3 has 1 values, the first has 2"),
        ("rows.csv", "a,a\n1,2\n", "the header names a column twice"),
        ("rows.csv", b"caf\xe9\n1\n", "rows.csv: 'utf-8' codec"),
        ("rows.jsonl", "[1, 2]\n[3]\n", "an object, or an array of one and the same shape"),
        ("rows.jsonl", '{"a": [1, 2]}\n', "give tensors as .npz"),
        ("rows.npy", b"\x93NUMPY", "not a whole .npy file of numbers"),
        ("rows.npy", b"\x93NUMPY\x01\0\x02\0{(", "not a whole .npy file of numbers"),
        ("rows.npz", b"no archive", "not a whole .npz file of numbers"),
        ("rows.xlsx", b"", "--sample takes .csv, .jsonl"),
    ],
)
def test_a_sample_that_cannot_be_used_says_why(name: str, content: str | bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(SampleFileError) as refused:
        files.read(written(tmp_path, name, content))

    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_sample_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SampleFileError, match="there is no such sample file"):
        files.read(tmp_path / "rows.csv")


def test_arrays_of_several_lengths_are_refused() -> None:
    with pytest.raises(SampleFileError, match=r"differ in rows: \{'a': 2, 'b': 3\}"):
        files.of({"a": np.zeros(2), "b": np.zeros(3)})


def test_rows_themselves_and_paths_are_taken_as_they_are(tmp_path: Path) -> None:
    rows = Rows({"a": np.arange(2.0)}, table=True)

    assert files.of(rows) is rows
    assert files.of(str(written(tmp_path, "rows.csv", "a\n1\n"))).numbers("a").tolist() == [1.0]


@pytest.mark.parametrize(
    ("column", "numbers"),
    [
        (pd.array([1, None, 3], dtype="Int64"), [1.0, np.nan, 3.0]),
        (pd.array([True, None, False], dtype="boolean"), [1.0, np.nan, 0.0]),
        (pd.array([1.5, None, 2], dtype="Float64"), [1.5, np.nan, 2.0]),
        (pd.Categorical([3, 1, 3]), [3.0, 1.0, 3.0]),
    ],
    ids=["Int64", "boolean", "Float64", "category"],
)
def test_pandas_own_kinds_of_columns_are_numbers(column: object, numbers: list[float]) -> None:
    rows = files.of(pd.DataFrame({"a": column}))

    np.testing.assert_array_equal(rows.numbers("a"), numbers)


def test_answers_come_from_an_array_or_from_lines_with_or_without_a_header(tmp_path: Path) -> None:
    rows = Rows({"a": np.arange(2.0)}, table=True)
    np.save(tmp_path / "answers.npy", np.array([4, 5]))

    assert files.read_answers(tmp_path / "answers.npy", rows).tolist() == [4, 5]
    assert files.read_answers(written(tmp_path, "named.csv", 'class\n"cat"\ndog\n'), rows).tolist() == ["cat", "dog"]
    assert files.read_answers(written(tmp_path, "bare.txt", "cat\ndog\n"), rows).tolist() == ["cat", "dog"]


def test_answers_that_stand_in_a_table_of_several_columns_are_not_read_as_one(tmp_path: Path) -> None:
    rows = Rows({"a": np.arange(2.0)}, table=True)

    for text in ("id,kg\n1,7\n2,8\n", "id;kg\n1;7\n2;8\n", "id\tkg\n1\t7\n2\t8\n"):
        with pytest.raises(SampleFileError, match=r"--expect two\.csv: it has 2 columns \(id, kg\); give a file of"):
            files.read_answers(written(tmp_path, "two.csv", text), rows)
    quoted = written(tmp_path, "one.csv", '"price, net"\n1,5\n2,5\n')
    assert files.read_answers(quoted, rows).tolist() == ["1,5", "2,5"]


def test_answers_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    rows = Rows({"a": np.arange(2.0)}, table=True)

    with pytest.raises(SampleFileError, match=r"no such file, and no such column; the sample has a"):
        files.read_answers(tmp_path / "b", rows)
    with pytest.raises(SampleFileError, match=r"--expect cut\.npy: not a whole \.npy file"):
        files.read_answers(written(tmp_path, "cut.npy", b"\x93NUMPY"), rows)
