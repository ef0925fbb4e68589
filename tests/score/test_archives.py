"""`edge-score` over tables, lines, pictures and sounds: the device's results, in order, with what was kept."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import wave
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import onnxmodels

import edge
from edge.app.loading import load_file
from edge.errors import SampleError
from edge.model import manifest
from edge.model.manifest import Feature, Input, Manifest, Window
from edge.score.summary import Drift, Summary


def device(path, inputs):
    """Best label and score by the pipeline of the device, a sample at a time, or the reason of a skip."""
    model = edge.load(path)
    found = []
    for one in inputs:
        try:
            best = model.predict(one).predictions[0]
            found.append((best.label, best.score))
        except SampleError as exc:
            found.append(str(exc))
    model.close()
    return found


def told(rows):
    return [row["error"] if row["error"] else (row["label"], row["score"]) for row in rows]


@pytest.fixture(scope="session")
def answers(trees):
    return device(trees.path, trees.rows())


def test_a_table_is_answered_as_the_device_answers_row_by_row(trees, answers, score, table, tmp_path):
    archive = trees.write(tmp_path / "a.parquet")
    code, said, wrong = score(trees.path, archive, "-o", tmp_path / "out.parquet", "--columns", "id,note=remark")
    assert (code, wrong) == (0, "")
    rows = table(tmp_path / "out.parquet")
    assert told(rows) == answers
    assert [r["id"] for r in rows] == list(range(100, 700))
    assert [r["remark"] for r in rows] == [f"n{i % 5}" for i in range(600)]
    assert "600 rows" in said
    good = sum(isinstance(a, tuple) for a in answers)
    assert 500 < good < 600
    assert f"{good} results, {600 - good} skipped" in said


def test_rows_alone_give_the_same_as_rows_together_and_folders_are_columns(trees, score, table, tmp_path):
    for day in range(3):
        trees.write(tmp_path / f"in/day={day}/part.parquet", day * 200, 200)
    for name, more in (("together", ()), ("alone", ("--batch", "1"))):
        command = (trees.path, tmp_path / "in", "-o", tmp_path / name, "--columns", "id,day", "--workers", "1")
        code, _, wrong = score(*command, *more)
        assert (code, wrong) == (0, "")
    rows = table(tmp_path / "together")
    assert rows == table(tmp_path / "alone")
    assert [(r["id"], r["day"]) for r in rows] == [(100 + i, str(i // 200)) for i in range(600)]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_text_in_and_text_out(form, trees, answers, score, lines, tmp_path):
    archive = tmp_path / f"rows.{form}"
    rows = [{"id": f"00{i}", **row, "note": "a, b"} for i, row in enumerate(trees.rows())]
    rows = [{k: "far" if v == np.inf else v for k, v in row.items()} for row in rows]  # which JSON has not
    with archive.open("w") as file:
        if form == "csv":
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        else:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    code, _, wrong = score(trees.path, archive, "-o", tmp_path / f"out.{form}", "--columns", "id,note")
    assert (code, wrong) == (0, "")
    if form == "jsonl":
        found = lines(tmp_path / "out.jsonl")
        assert found[7]["error"]
        assert "label" not in found[7]
    else:
        found = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
        assert not found[1]["error"]
    assert [r["id"] for r in found] == [r["id"] for r in rows]
    assert {r["note"] for r in found} == {"a, b"}
    good = [i for i, a in enumerate(answers) if isinstance(a, tuple)]
    assert [(found[i]["label"], float(found[i]["score"])) for i in good] == [answers[i] for i in good]


def test_pictures_of_a_folder_are_answered_file_by_file(score, table, tmp_path):
    cv2 = pytest.importorskip("cv2")
    model = onnxmodels.one_box(tmp_path / "box.onnx")
    folder = tmp_path / "in" / "night"
    folder.mkdir(parents=True)
    for i in range(3):
        cv2.imwrite(str(folder / f"{i}.png"), np.full((40, 60, 3), 40 * i, np.uint8))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    code, said, _ = score(model, tmp_path / "in", "-o", tmp_path / "out.parquet")
    assert code == 0
    rows = table(tmp_path / "out.parquet")
    assert [r["file"].rpartition("/")[2] for r in rows] == ["0.png", "1.png", "2.png", "broken.jpg"]
    loaded = edge.load(model)
    expected = loaded.predict((folder / "2.png").read_bytes()).predictions
    loaded.close()
    assert [(p["label"], p["score"], tuple(p["box"])) for p in rows[2]["predictions"]] == [
        (p.label, p.score, p.box) for p in expected
    ]
    assert rows[3]["error"]
    assert rows[3]["count"] is None
    assert "1 skipped" in said


def test_each_window_of_a_sound_has_a_row(score, table, tmp_path):
    model = onnxmodels.identity(tmp_path / "wave.onnx", shape=(1, 800))
    rng = np.random.default_rng(1)
    for i in range(2):
        with wave.open(str(tmp_path / f"{i}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(rng.integers(-9000, 9000, 2000 + 800 * i).astype("<i2").tobytes())
    audio = ("--sample-rate", "8000", "--window", "800", "--hop", "800", "--frontend", "none")
    code, _, wrong = score(model, str(tmp_path / "*.wav"), "-o", tmp_path / "out", *audio)
    assert code == 0, wrong
    rows = table(tmp_path / "out")
    assert [(r["file"][-5], r["part"]) for r in rows] == [("0", 0), ("0", 1), ("1", 0), ("1", 1), ("1", 2)]
    overrides = edge.Overrides(sample_rate=8000, window=800, hop=800, frontend="none")
    loaded = edge.load(model, overrides=overrides)
    expected = loaded.predict_batch((tmp_path / "0.wav").read_bytes())
    loaded.close()
    assert json.loads(rows[1]["predictions"])[0]["data"] == expected[1].predictions[0].data


def test_rows_that_change_one_another_are_never_run_together(score, table, tmp_path):
    model = onnxmodels.less_the_mean(tmp_path / "mean.onnx")
    values = np.arange(30, dtype=np.float32).reshape(10, 3)
    pq.write_table(pa.table({f"c{i}": values[:, i] for i in range(3)}), tmp_path / "in.parquet")
    code, _, _ = score(model, tmp_path / "in.parquet", "-o", tmp_path / "out.parquet", "--task", "regress")
    assert code == 0
    rows = table(tmp_path / "out.parquet")
    loaded = edge.load(model, overrides=edge.Overrides(task="regress"))
    expected = [[p.value for p in loaded.predict(row).predictions] for row in values]
    loaded.close()
    assert [list(row.values())[:-1] for row in rows] == expected


def test_a_window_of_rows_begins_anew_with_each_file(score, table, trees, tmp_path):
    model = onnxmodels.identity(tmp_path / "window.onnx", shape=(1, 2, 3))
    features = tuple(Feature(name=f"c{i}") for i in range(3))
    window = Input(name="x", kind="table", shape=(1, 2, 3), features=features, window=Window(size=2, hop=2))
    (tmp_path / "window.onnx.json").write_bytes(manifest.encode(Manifest(name="window", inputs=(window,))))
    for name in ("a", "b"):
        values = np.arange(15, dtype=np.float32).reshape(5, 3)
        pq.write_table(pa.table({f"c{i}": values[:, i] for i in range(3)}), tmp_path / f"{name}.parquet")
    code, _, wrong = score(model, str(tmp_path / "*.parquet"), "-o", tmp_path / "out")
    assert code == 0, wrong
    data = [json.loads(row["predictions"])[0]["data"] for row in table(tmp_path / "out")]
    assert data == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]] * 2


def test_a_table_is_prepared_in_pieces_without_a_trace(trees, score, table, tmp_path, monkeypatch):
    """Pieces of two rows; of some one is refused, of one both."""
    age = trees.table["age"].to_numpy().copy()
    age[6:8] = np.inf
    pq.write_table(trees.table.set_column(4, "age", pa.array(age)), tmp_path / "a.parquet")
    command = (trees.path, tmp_path / "a.parquet", "--columns", "id", "--batch", "2")
    score(*command, "-o", tmp_path / "whole.parquet")
    monkeypatch.setattr("edge.pipeline.table.PREPARED", 8)
    score(*command, "-o", tmp_path / "pieces.parquet")
    assert table(tmp_path / "pieces.parquet") == table(tmp_path / "whole.parquet")
    assert [row["id"] for row in table(tmp_path / "pieces.parquet") if row["error"]] == [106, 107, 400]


def test_features_are_held_against_the_reference_by_and_by(trees, monkeypatch):
    """Counted as they are gathered or all at the end, it is the same; another part begins with nothing."""
    drift = Drift(load_file(trees.path).manifest)
    columns = [trees.table[name].combine_chunks() for name in trees.names]
    whole, halves = Summary(), Summary()
    tally = drift.tally(whole)
    tally.add(columns)
    tally.count()
    drift.tally(Summary()).add(columns)  # of a part that was given up
    monkeypatch.setattr("edge.score.summary.GATHERED", 1000)
    tally = drift.tally(halves)
    for start in range(0, 600, 200):
        tally.add([column.slice(start, 200) for column in columns])
    tally.count()
    assert halves == whole
    assert (whole.compared, sum(whole.bins["width"]), whole.missing) == (600, 600, {"hole": 12, "age": 2})


def test_one_process_imports_no_pool_of_processes(trees, tmp_path):
    trees.write(tmp_path / "a.parquet")
    typed = [str(trees.path), str(tmp_path / "a.parquet"), "-o", str(tmp_path / "out.parquet"), "--workers", "1"]
    program = (
        "import sys; from edge.cli.score import run; "
        f"assert run({typed!r}) == 0; print('concurrent.futures.process' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_an_empty_table_gives_an_empty_table(trees, score, table, tmp_path):
    archive = trees.write(tmp_path / "a.parquet", 0, 0)
    code, _, wrong = score(trees.path, archive, "-o", tmp_path / "out.parquet", "--columns", "id")
    assert (code, wrong) == (0, "")
    assert pq.read_table(tmp_path / "out.parquet").column_names == ["id", "label", "index", "score", "error"]


def test_the_summary_tells_of_classes_skips_and_drift(trees, score, tmp_path):
    moved = trees.table.set_column(1, "width", pa.array(np.full(600, 40.0)))
    pq.write_table(moved, tmp_path / "a.parquet")
    _, said, _ = score(trees.path, tmp_path / "a.parquet", "-o", tmp_path / "out.parquet")
    record = json.loads((tmp_path / "out.parquet.run.json").read_text())
    assert record["summary"]["rows"] == 600
    labels = pq.read_table(tmp_path / "out.parquet")["label"].drop_null().to_pylist()
    assert record["summary"]["classes"] == Counter(labels)
    assert len(labels) == record["summary"]["results"]
    assert sum(record["summary"]["skipped"].values()) == 600 - record["summary"]["results"] > 0
    assert record["drift"]["width"] > 1 > record["drift"]["height"]
    assert "1 of 4 features above 0.25" in said


def test_of_a_few_rows_no_drift_is_told(trees, score, tmp_path):
    """By chance alone one row lies far from any sample."""
    trees.write(tmp_path / "a.parquet", 0, 1)
    _, said, _ = score(trees.path, tmp_path / "a.parquet", "-o", tmp_path / "out.parquet")
    assert "drift: 1 of the 200 rows that are needed to tell it" in said
    assert "above 0.25" not in said


def test_rows_that_only_add_up_in_another_order_are_told_of(flowers, score, tmp_path):
    """The record can be read again, whatever the difference is."""
    pq.write_table(pa.Table.from_pylist(flowers.rows), tmp_path / "a.parquet")
    command = (flowers.path, tmp_path / "a.parquet", "-o", tmp_path / "out")
    code, said, _ = score(*command)
    assert code == 0
    apart = json.loads((tmp_path / "out" / "_run.json").read_text())["summary"]["apart"]
    assert 0 <= apart < 1e-5
    assert ("--batch 1" in said) == (apart > 0)
    code, again, _ = score(*command, "--resume")
    assert code == 0
    assert again.splitlines()[0].endswith("150 results, 0 skipped")
