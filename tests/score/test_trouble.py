"""What goes wrong with an archive is told in one line, and nothing that is half written is taken for whole."""

from __future__ import annotations

import signal
import subprocess

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.processes import BINARIES, until

from edge.storage.lock import FileLock

PATIENCE_S = 150.0


def said(wrong):
    assert wrong.count("\n") == 1
    return wrong


def test_a_column_that_is_missing_is_named_with_the_one_that_was_meant(trees, score, tmp_path):
    pq.write_table(trees.table.rename_columns(["id", "widht", "height", "hole", "age", "note"]), tmp_path / "a.parquet")
    code, _, wrong = score(trees.path, tmp_path / "a.parquet", "-o", tmp_path / "out.parquet")
    assert code == 5
    assert "no column 'width' for feature; did you mean widht?" in said(wrong)
    assert not (tmp_path / "out.parquet").exists()


def test_a_column_of_text_where_numbers_belong_is_told_before_anything_runs(trees, score, tmp_path):
    pq.write_table(trees.table.set_column(1, "width", pa.array(["1"] * 600)), tmp_path / "a.parquet")
    code, _, wrong = score(trees.path, tmp_path / "a.parquet", "-o", tmp_path / "out")
    assert code == 5
    assert "the column 'width' is string; numbers belong there" in said(wrong)


def test_a_csv_without_a_feature_is_told(trees, score, tmp_path):
    (tmp_path / "a.csv").write_text("width,height,age\n1,2,3\n")
    code, _, wrong = score(trees.path, tmp_path / "a.csv", "-o", tmp_path / "out.csv")
    assert code == 5
    assert "no column 'hole' for feature" in said(wrong)


@pytest.mark.parametrize("where", ["footer", "page"])
def test_a_damaged_file_costs_only_itself_and_the_run_goes_on_when_it_is_mended(where, trees, score, table, tmp_path):
    for i in range(3):
        trees.write(tmp_path / f"in/{i}.parquet", i * 200, 200, compression="none", use_dictionary=False)
    middle = tmp_path / "in" / "1.parquet"
    whole = middle.read_bytes()
    damaged = whole[:-9] if where == "footer" else b"PAR1" + b"\xff" * 3000 + whole[3004:]
    middle.write_bytes(damaged)
    command = (trees.path, tmp_path / "in", "-o", tmp_path / "out.parquet", "--columns", "id", "--workers", "1")
    code, _, wrong = score(*command)
    assert code == 5
    assert "1.parquet: a Parquet file that cannot be read" in said(wrong)
    assert "; the other parts are done" in wrong
    assert not (tmp_path / "out.parquet").exists()
    done = {part: part.stat().st_mtime_ns for part in (tmp_path / "out.parquet.parts").glob("part-*")}
    assert {part.name for part in done} == {"part-00000.arrow", "part-00002.arrow"}
    middle.write_bytes(whole)
    code, _, wrong = score(*command, "--resume")
    assert (code, wrong) == (0, "")
    assert [r["id"] for r in table(tmp_path / "out.parquet")] == list(range(100, 700))


def test_of_a_damaged_file_alone_no_other_parts_are_spoken_of(trees, score, tmp_path):
    archive = trees.write(tmp_path / "a.parquet", compression="none", use_dictionary=False)
    archive.write_bytes(b"PAR1" + b"\xff" * 3000 + archive.read_bytes()[3004:])
    code, _, wrong = score(trees.path, archive, "-o", tmp_path / "out.parquet")
    assert (code, "other parts" in said(wrong)) == (5, False)
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_where_no_file_can_be_read_nothing_is_begun(trees, score, tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"")
    code, _, wrong = score(trees.path, tmp_path / "a.parquet", "-o", tmp_path / "out")
    assert code == 5
    assert "a.parquet: a Parquet file that cannot be read" in said(wrong)
    assert not (tmp_path / "out").exists()


def test_a_file_of_no_rows_has_no_results(trees, score, table, tmp_path):
    """Spark writes such files, without a single row group."""
    for name in ("alone", "first"):
        (tmp_path / name).mkdir()
        pq.ParquetWriter(tmp_path / name / "0.parquet", trees.table.schema).close()
    trees.write(tmp_path / "first" / "1.parquet", rows=3)
    for name, ids in (("alone", []), ("first", [100, 101, 102])):
        out = tmp_path / f"{name}.parquet"
        code, _, wrong = score(trees.path, tmp_path / name, "-o", out, "--columns", "id", "--workers", "1")
        assert (code, wrong) == (0, "")
        assert [row["id"] for row in table(out)] == ids


@pytest.mark.parametrize("twice", ["width", "id"])
def test_two_columns_of_one_name_are_told(twice, trees, score, tmp_path):
    """A file may hold such, and which of them is meant nobody can tell."""
    twins = pa.Table.from_arrays([*trees.table.columns, trees.table[twice]], [*trees.table.column_names, twice])
    pq.write_table(twins, tmp_path / "a.parquet")
    code, _, wrong = score(trees.path, tmp_path / "a.parquet", "-o", tmp_path / "out", "--columns", "id")
    assert code == 5
    assert f"2 columns '{twice}'; give each a name of its own" in said(wrong)


def test_a_run_that_is_there_is_not_written_over(trees, score, tmp_path):
    archive = trees.write(tmp_path / "a.parquet")
    command = (trees.path, archive, "-o", tmp_path / "out")
    assert score(*command)[0] == 0
    code, _, wrong = score(*command)
    assert code == 2
    assert "a run is there, it is done; --resume goes on with it" in said(wrong)
    assert score(*command, "--resume")[0] == 0
    code, _, wrong = score(*command, "--resume", "--batch", "7")
    assert code == 2
    assert "another batch (1024, now 7)" in said(wrong)


def test_nobody_is_told_to_remove_a_run_that_goes_on(trees, score, tmp_path):
    command = (trees.path, trees.write(tmp_path / "a.parquet"), "-o", tmp_path / "out")
    assert score(*command)[0] == 0
    another = FileLock(tmp_path / "out/_lock")
    another.acquire("4711")
    for more in ((), ("--resume",)):
        code, _, wrong = score(*command, *more)
        assert (code, "process 4711 writes there; wait for it" in said(wrong)) == (4, True)
    another.release()
    assert score(*command)[0] == 2
    assert score(*command, "--resume")[0] == 0


def test_a_file_that_no_run_has_made_is_left_alone(trees, score, tmp_path):
    archive = trees.write(tmp_path / "a.parquet")
    (tmp_path / "out.csv").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.txt").write_text("mine")
    for out in ("out.csv", "folder"):
        for more in ((), ("--resume",)):
            code, _, wrong = score(trees.path, archive, "-o", tmp_path / out, *more)
            assert code == 2, wrong
            said(wrong)
    assert (tmp_path / "out.csv").read_text() == "mine"


def test_a_folder_that_was_not_there_is_made_with_a_word(trees, score, tmp_path):
    archive = trees.write(tmp_path / "a.parquet")
    code, _, remarks = score(trees.path, archive, "-o", tmp_path / "typo" / "out.csv")
    assert code == 0
    assert f"{tmp_path}/typo was not there, and was made" in said(remarks)
    code, _, remarks = score(trees.path, archive, "-o", tmp_path / "typo" / "out2.csv")
    assert (code, remarks.count("was made")) == (0, 0)


def test_a_column_that_would_be_there_twice_is_refused(trees, score, tmp_path):
    pq.write_table(trees.table.rename_columns([*trees.table.column_names[:-1], "label"]), tmp_path / "a.parquet")
    code, _, wrong = score(trees.path, tmp_path / "a.parquet", "-o", tmp_path / "out", "--columns", "label")
    assert code == 2
    assert "--columns label=my_label" in said(wrong)


def test_a_day_that_came_later_is_added(trees, score, table, tmp_path):
    trees.write(tmp_path / "in/1.parquet", 0, 200)
    command = (trees.path, tmp_path / "in", "-o", tmp_path / "out", "--columns", "id")
    assert score(*command)[0] == 0
    first = (tmp_path / "out/part-00000.parquet").stat().st_mtime_ns
    trees.write(tmp_path / "in/2.parquet", 200, 200)
    assert score(*command, "--resume")[0] == 0
    assert [r["id"] for r in table(tmp_path / "out")] == list(range(100, 500))
    assert (tmp_path / "out/part-00000.parquet").stat().st_mtime_ns == first


def begun(trees, tmp_path):
    """A run of 30 files by two processes, two of whose parts are there: its command, where it writes, and itself."""
    for i in range(30):
        trees.write(tmp_path / f"in/{i:02}.parquet", i * 20, 20)
    command = [trees.path, tmp_path / "in", "--columns", "id", "--batch", "1"]
    out, parts = tmp_path / "out.parquet", tmp_path / "out.parquet.parts"
    process = subprocess.Popen(
        [BINARIES / "edge-score", *map(str, command), "-o", out, "--workers", "2"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until(lambda: len(list(parts.glob("part-*"))) >= 2 or process.poll() is not None, "two parts")
    return command, out, process


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)], ids=["term", "int", "hup"]
)
def test_a_signal_ends_all_its_processes_and_the_run_goes_on(trees, score, table, tmp_path, number, code):
    command, out, process = begun(trees, tmp_path)
    process.send_signal(number)  # the first process alone, as a service manager may
    _, wrong = process.communicate(timeout=PATIENCE_S)  # to the end of the pipe, which its helpers hold, too
    assert wrong == "edge-score: interrupted; --resume goes on with it\n"
    assert process.returncode == code
    assert not out.exists()
    assert score(*command, "-o", out, "--workers", "1", "--resume")[0] == 0
    assert [r["id"] for r in table(out)] == list(range(100, 700))


def test_a_run_that_is_killed_goes_on_without_losing_or_doubling_a_row(trees, score, table, tmp_path):
    command, out, process = begun(trees, tmp_path)
    process.send_signal(signal.SIGKILL)  # the first process alone: its helpers end by themselves
    process.communicate()
    code, _, wrong = score(*command, "-o", out, "--workers", "1", "--resume")
    assert (code, wrong) == (0, "")
    assert score(*command, "-o", tmp_path / "at once.parquet", "--workers", "1")[0] == 0
    assert table(out) == table(tmp_path / "at once.parquet")
    assert [r["id"] for r in table(out)] == list(range(100, 700))
    assert not out.with_name("out.parquet.parts").exists()
