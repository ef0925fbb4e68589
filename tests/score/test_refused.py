"""What an archive, an output or a comparison cannot be is told in one line, before anything is written."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import onnxmodels

from edge.compare.answers import Numbers
from edge.compare.verdict import of_numbers
from edge.errors import ConfigError
from edge.score import report
from edge.score.summary import Summary


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """A model of three numbers without names, which answers what it is given."""
    return onnxmodels.identity(tmp_path_factory.mktemp("numbers") / "numbers.onnx")


@pytest.fixture
def rows(tmp_path):
    """Ten rows of three numbers."""
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({name: np.arange(10.0) + i for i, name in enumerate("abc")}), path)
    return path


def refused(score, code: int, says: str, *command: object) -> None:
    ended, _, wrong = score(*command)
    assert ended == code
    assert says in wrong.splitlines()[-1]  # behind what was guessed of the model


@pytest.mark.parametrize(
    ("archive", "says"),
    [
        ("nowhere.parquet", "nowhere.parquet: no such file, and no folder or glob with .bmp"),
        ("empty", "empty: no such file, and no folder or glob with"),
        ("mixed", "mixed: files of several kinds (.csv, .parquet); name those of one, with a glob"),
        ("rows.txt", "rows.txt: .txt: .bmp"),
    ],
)
def test_an_archive_that_is_none_is_told_with_what_is_read(archive, says, numbers, rows, score, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("empty", "mixed"):
        (tmp_path / folder).mkdir()
    (tmp_path / "mixed" / "a.parquet").write_bytes(rows.read_bytes())
    (tmp_path / "mixed" / "b.csv").write_text("1,2,3\n")
    (tmp_path / "rows.txt").write_text("1,2,3\n")
    refused(score, 2, says, numbers, archive, "-o", "out.parquet")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("-o", "out.parquet", "--format", "csv"), "-o out.parquet and --format csv: say one of the two"),
        (("-o", "out.txt"), "-o out.txt: .parquet, .csv, .jsonl are written, or a folder"),
    ],
)
def test_an_output_that_is_none_is_told(flags, says, numbers, rows, score, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(score, 2, says, numbers, rows, *flags)


def test_a_file_that_is_whole_is_not_made_again_and_not_of_another_archive(numbers, rows, score, table, tmp_path):
    command = (numbers, rows, "-o", tmp_path / "out.parquet")
    assert score(*command)[0] == 0
    code, said, _ = score(*command, "--resume")
    assert code == 0
    assert said.startswith("it was done already\n10 rows")
    pq.write_table(pq.read_table(rows).slice(0, 5), rows)
    refused(score, 2, "the archive has changed since it was made; choose another name", *command, "--resume")
    assert len(table(tmp_path / "out.parquet")) == 10


def test_rows_are_none_for_a_model_of_pictures(rows, score, tmp_path):
    model = onnxmodels.pictures(tmp_path / "pictures.onnx")
    assert "rows, but pictures.onnx takes no table; name a folder of files" in score(model, rows, "-o", "x.csv")[2]


def test_columns_beside_features_without_names_have_to_be_named(numbers, rows, score, table, tmp_path):
    pq.write_table(pq.read_table(rows).append_column("id", pa.array(range(10))), rows)
    code, _, wrong = score(numbers, rows, "-o", tmp_path / "out")
    assert code == 5
    assert "4 columns, the model takes 3 features that have no names; keep the others by --columns" in wrong
    assert score(numbers, rows, "-o", tmp_path / "out.parquet", "--columns", "id")[0] == 0
    assert [row["id"] for row in table(tmp_path / "out.parquet")] == list(range(10))


def test_a_file_without_a_header_has_no_column_to_keep(numbers, score, tmp_path):
    (tmp_path / "a.csv").write_text("1,2,3\n4,5,6\n")
    code, _, wrong = score(numbers, tmp_path / "a.csv", "-o", tmp_path / "out.csv", "--columns", "id")
    assert code == 5
    assert "a.csv: --columns id: the file has no header that names its columns" in wrong
    assert score(numbers, tmp_path / "a.csv", "-o", tmp_path / "out.csv", "--resume")[0] == 0  # nothing was made


def test_decimals_and_texts_of_few_words_are_taken_as_what_they_are(trees, score, table, tmp_path):
    some = trees.table.slice(10, 30)
    exact = pa.array([Decimal(str(v)) for v in some["width"].to_pylist()], pa.decimal128(9, 3))
    odd = some.set_column(1, "width", exact).set_column(5, "note", some["note"].dictionary_encode())
    for name, rows in (("plain", some), ("odd", odd)):
        pq.write_table(rows, tmp_path / f"{name}.parquet")
        code, _, wrong = score(
            trees.path, tmp_path / f"{name}.parquet", "-o", tmp_path / f"{name}.out.parquet", "--columns", "note"
        )
        assert (code, wrong) == (0, "")
    assert table(tmp_path / "odd.out.parquet") == table(tmp_path / "plain.out.parquet")


def test_a_column_of_nothing_is_of_missing_values(trees, score, table, tmp_path):
    some = trees.table.slice(10, 5)
    for name, column in (("null", pa.nulls(5)), ("nan", pa.array([float("nan")] * 5))):
        pq.write_table(some.set_column(3, "hole", column), tmp_path / f"{name}.parquet")
        assert score(trees.path, tmp_path / f"{name}.parquet", "-o", tmp_path / f"{name}.out.parquet")[0] == 0
    assert table(tmp_path / "null.out.parquet") == table(tmp_path / "nan.out.parquet")


def test_a_folder_whose_name_is_no_number_is_told_where_it_is_a_feature(trees, score, tmp_path):
    rows = trees.table.slice(10, 5).drop_columns(["width"])
    for value in ("1.5", "wide"):
        (tmp_path / f"in/width={value}").mkdir(parents=True)
        pq.write_table(rows, tmp_path / f"in/width={value}/a.parquet")
    code, _, wrong = score(trees.path, tmp_path / "in", "-o", tmp_path / "out", "--workers", "1")
    assert code == 5
    assert "width=wide: a number belongs there; the other parts are done" in wrong


# --- a comparison --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--report", "nowhere/x.json"), "--report nowhere/x.json: there is no folder nowhere; make it first"),
        (("--slice", "word", "--expect", "a"), "--slice word: more than"),
    ],
)
def test_what_an_archive_cannot_be_compared_by_is_told(flags, says, trees, score, tmp_path):
    some = trees.table.append_column("word", pa.array([f"w{i}" for i in range(600)]))
    pq.write_table(some.append_column("a", pa.array(["low"] * 600)), tmp_path / "rows.parquet")
    refused(score, 2, says, "--compare", trees.path, trees.path, tmp_path / "rows.parquet", *flags)


@pytest.mark.parametrize(
    ("expected", "says"),
    [
        (["1", "nan", "2"], "--expect: answer 2 is no number"),
        (["a", "b", "c"], "--expect: the models predict numbers, the expected answers are text"),
    ],
)
def test_an_expected_answer_that_is_no_number_is_told(expected, says):
    one = Numbers(np.zeros((3, 1)))
    with pytest.raises(ConfigError, match=says):
        of_numbers(one, one, np.array(expected, dtype=object), [])


def test_of_several_numbers_one_is_no_answer():
    one = Numbers(np.zeros((3, 2)))
    with pytest.raises(ConfigError, match="--expect: 1 numbers a row, the models give 2"):
        of_numbers(one, one, np.array(["1", "2", "3"], dtype=object), [])


def test_one_file_beside_itself_is_told_as_such(numbers, rows, score):
    code, said, _ = score("--compare", numbers, numbers, rows)
    assert code == 0
    assert "both are one and the same file" in said


def test_models_of_other_numbers_are_not_compared():
    of = [Numbers(np.zeros((4, width))) for width in (1, 2)]
    with pytest.raises(ConfigError, match="the models give 1 and 2 numbers for a row"):
        of_numbers(*of, None, [])


# --- what is said at the end -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "says"),
    [(12.0, "in 12 s, 100 rows/s"), (1200.0, "in 20 min, 1 rows/s"), (7200.0, "in 2.0 h, 0 rows/s")],
)
def test_a_time_is_told_in_the_unit_that_fits_it(seconds, says):
    assert says in report.text(Summary(rows=1200), {}, seconds, batch=1)


def test_what_is_too_much_to_be_told_is_counted():
    many = {f"n{i}": 1 for i in range(100)}
    said = report.text(Summary(rows=200, skipped=many, classes=many), {}, None, batch=1)
    assert f"and {100 - report.SHOWN} more reasons, in the column error" in said
    assert f"and {100 - report.SHOWN} more classes" in said
