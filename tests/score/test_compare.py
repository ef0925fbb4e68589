"""`edge-score --compare`: two models over an archive, by the report that a conversion's comparison has."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import onnxmodels

import converter
from converter.compare.compare import compare
from edge.cli import score


@pytest.fixture(scope="module")
def both(trees, tmp_path_factory):
    """Another model of the same rows, and the table with what is true of them."""
    import numpy as np
    import pandas as pd
    from sklearn.tree import DecisionTreeClassifier

    folder = tmp_path_factory.mktemp("both")
    table = trees.table.to_pandas()
    truth = np.array(["low", "mid", "high"])[(table.width > 0).astype(int) + (table.hole > 0)]
    clean = table[trees.names].replace([np.inf], 0.0)
    fitted = DecisionTreeClassifier(max_depth=1, random_state=0).fit(clean, truth)
    path = folder / "tree.onnx"
    converter.convert(fitted, target="onnx", sample=pd.DataFrame(clean), name="tree", version="2").save(path)
    table["truth"] = truth
    table.loc[[0, 1], "truth"] = None
    pq.write_table(pa.Table.from_pandas(table), folder / "rows.parquet", row_group_size=100)
    table.to_csv(folder / "rows.csv", index=False)
    return folder, trees.path, path


def compared(folder, *command, name="report.json"):
    assert score.run(["--compare", *map(str, command), "--report", str(folder / name)]) == 0
    return (folder / name).read_text()


@pytest.mark.parametrize("archive", ["rows.parquet", "rows.csv"])
def test_an_archive_is_compared_row_by_row_by_class_and_slice(both, tmp_path, capsys, archive):
    folder, old, new = both
    said = json.loads(compared(tmp_path, old, new, folder / archive, "--expect", "truth", "--slice", "note"))

    total = said["total"]
    assert (total["rows"], said["old"]["name"], said["new"]["version"]) == (598, "trees", "2")
    assert total["wins"] - total["losses"] == round(598 * (total["new"] - total["old"])) != 0
    assert {c["name"] for c in said["classes"]} == {"low", "mid", "high"}
    assert {s["name"] for s in said["slices"]} == {f"note = n{i}" for i in range(5)}
    assert "left out          2 rows without an answer in truth" in capsys.readouterr().out


def test_it_says_what_the_comparison_of_a_sample_says(both, tmp_path, trees):
    _, old, new = both
    rows = trees.table.slice(10, 200)
    pq.write_table(rows, tmp_path / "rows.parquet")
    rows.select(trees.names).to_pandas().to_csv(tmp_path / "rows.csv", index=False)
    over = json.loads(compared(tmp_path, old, new, tmp_path / "rows.parquet"))
    sample = compare(old, new, sample=str(tmp_path / "rows.csv")).verdict

    assert over["total"]["agree"] == pytest.approx(sample.total.agree)
    assert [c["row"] for c in over["changed"]] == [c.row for c in sample.changed]


def test_the_page_shows_it_without_anything_from_elsewhere(both, tmp_path):
    folder, old, new = both
    page = compared(tmp_path, old, new, folder / "rows.parquet", "--expect", "truth", name="report.html")

    assert "old accuracy" in page
    assert "Rows that changed" in page
    assert "<script" not in page
    assert "http" not in page


@pytest.mark.parametrize(
    ("flags", "code", "says"),
    [
        (("--expect", "truht"), 5, "no column 'truht' for --expect or --slice; did you mean truth?"),
        (("--report", "x.txt"), 2, "written as .json or .html"),
        (("--slice", "id"), 0, ""),
    ],
)
def test_what_cannot_be_compared_is_told_before_anything_is_written(both, capsys, flags, code, says):
    folder, old, new = both

    assert score.run(["--compare", str(old), str(new), str(folder / "rows.parquet"), *flags]) == code
    assert says in capsys.readouterr().err


def test_models_that_take_no_row_are_no_models_that_agree(both, tmp_path, capsys):
    _, old, new = both
    (tmp_path / "rows.jsonl").write_text('"a"\n[1]\n')

    assert score.run(["--compare", str(old), str(new), str(tmp_path / "rows.jsonl")]) == 2
    assert "trees.onnx: it takes no row of this archive" in capsys.readouterr().err


def test_other_tasks_are_refused(both, tmp_path, capsys):
    folder, old, _ = both
    boxes = onnxmodels.one_box(tmp_path / "box.onnx")

    assert score.run(["--compare", str(old), str(boxes), str(folder / "rows.parquet")]) == 2
    assert "its task is detect; answers are compared of classify, anomaly, regress" in capsys.readouterr().err


def test_a_missing_number_is_no_answer_and_answers_of_other_words_are_refused(both, tmp_path, capsys):
    _, old, new = both
    table = pq.read_table(both[0] / "rows.parquet")
    mid = pa.array([None if t is None else t == "mid" for t in table.column("truth").to_pylist()])
    numbers = pa.array([float("nan"), *([1e6] * (len(mid) - 1))])
    words = table.append_column("number", numbers).append_column("is_mid", mid)
    pq.write_table(words, tmp_path / "rows.parquet")

    for column, wanted in (("number", "1000000"), ("is_mid", "False, True")):
        assert score.run(["--compare", str(old), str(new), str(tmp_path / "rows.parquet"), "--expect", column]) == 2
        assert f"no answer ({wanted}) is a class of a model; their classes are" in capsys.readouterr().err
    said = json.loads(compared(tmp_path, old, new, tmp_path / "rows.parquet", "--slice", "number"))
    assert [(c["name"], c["rows"]) for c in said["slices"]] == [("number = 1e+06", 599)]


def test_an_archive_of_no_rows_is_told_as_such(both, tmp_path, capsys):
    folder, old, new = both
    pq.write_table(pq.read_table(folder / "rows.parquet").slice(0, 0), tmp_path / "rows.parquet")

    assert score.run(["--compare", str(old), str(new), str(tmp_path / "rows.parquet")]) == 2
    assert "the archive has no row" in capsys.readouterr().err
