"""The command: one clear line on stderr, the contract's exit code, no traceback, no half-written file."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import skops.io
from sklearn.ensemble import RandomForestClassifier
from support.processes import BINARIES, PATIENCE_S
from support.tables import Split, run, table

from converter import cli


@pytest.fixture
def bench(tmp_path: Path, forest: RandomForestClassifier, wine: Split, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model and a sample, the working directory of the test."""
    skops.io.dump(forest, tmp_path / "wine.skops")
    rows = wine.held.copy()
    rows["kind"] = wine.true_names
    rows.to_csv(tmp_path / "held.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def edge_convert(arguments: str) -> int:
    return cli.main(arguments.split())


def refused(arguments: str, code: int, capsys: pytest.CaptureFixture[str]) -> str:
    """The line on stderr of a conversion that must fail, leaving nothing behind."""
    before = sorted(Path.cwd().iterdir())
    assert edge_convert(arguments) == code
    assert sorted(Path.cwd().iterdir()) == before
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("edge-convert: ")
    return error


def test_it_converts_and_prints_the_table(bench: Path, wine: Split, capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.main(
        ["wine.skops", "-o", "wine.onnx", "--sample", "held.csv", "--expect", "kind", "--report", "report.json"]
    )

    shown = capsys.readouterr()
    assert code == 0
    assert shown.err == ""
    lines = dict(line.split(maxsplit=1) for line in shown.out.splitlines())
    assert {"model", "size", "latency,", "max", "agreement", "accuracy", "parity"} <= set(lines)
    assert lines["agreement"] == "100.00%"
    assert run(bench / "wine.onnx", table(bench / "wine.onnx", wine.held))["label"].tolist()
    report = json.loads((bench / "report.json").read_text())
    assert report["parity"]["accuracy_before"] == report["parity"]["accuracy_after"]
    assert report["manifest"]["labels"] == ["class 0", "class 1", "class 2"]


def test_labels_come_from_a_file(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (bench / "labels.txt").write_text("red\ngreen\nblue\n")

    assert (
        cli.main(
            ["wine.skops", "-o", "wine.onnx", "--sample", "held.csv", "--labels", "labels.txt", "--report", "r.json"]
        )
        == 0
    )

    assert json.loads((bench / "r.json").read_text())["manifest"]["labels"] == ["red", "green", "blue"]


def test_a_file_that_fails_parity_is_not_written(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is not the original" in refused("wine.skops -o wine.onnx --sample held.csv --tolerance 0", 3, capsys)


def test_force_writes_it_and_says_so(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        cli.main(
            [
                "wine.skops",
                "-o",
                "wine.onnx",
                "--sample",
                "held.csv",
                "--tolerance",
                "0",
                "--force",
                "--report",
                "r.json",
            ]
        )
        == 0
    )

    assert "FAILED, written by --force" in capsys.readouterr().out
    assert json.loads((bench / "r.json").read_text())["parity"]["forced"] is True


def test_a_file_that_stays_as_it_is_is_not_said_to_be_faster(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert edge_convert("wine.skops -o wine.onnx --sample held.csv") == 0
    assert edge_convert("wine.onnx -o same.onnx --sample held.csv") == 0

    first, second = [line for line in capsys.readouterr().out.splitlines() if line.startswith("latency")]
    assert " x faster)" in first or " x slower)" in first
    assert "ms with the row prepared -> " in second
    assert "faster" not in second


BAD = [
    ("nowhere.skops -o a.onnx", 3, "there is no such file or folder"),
    ("held.csv -o a.onnx", 3, "no model file that the converter knows"),
    ("net.gguf -o a.onnx", 3, "this is a language model for llama.cpp"),
    ("net.mlmodel -o a.onnx", 3, "net.mlmodel: this is a model of Core ML"),
    ("net.pkl.gz -o a.onnx", 3, "net.pkl.gz: a compressed file that cannot be read"),
    ("wine.skops -o a.onnx --sample german.csv", 2, "--sample: '1.234' is 1.234 or 1234"),
    ("wine.skops -o a.onnx --sample nowhere.csv", 2, "there is no such sample file"),
    ("wine.skops -o a.onnx --sample wine.skops", 2, "--sample takes .csv, .jsonl"),
    ("wine.skops -o a.onnx --sample wrong.csv", 2, "no column 'hue', the nearest is 'heu'"),
    ("wine.skops -o a.onnx --sample narrow.npy", 2, "the model takes 13 features"),
    ("wine.skops -o a.onnx --sample words.csv", 2, "'red' is not a number"),
    ("wine.skops -o a.onnx --sample ragged.csv", 2, "line 3 has 2 values, the first has 3"),
    ("wine.skops -o a.onnx --sample held.csv --expect nothing", 2, "no such file, and no such column"),
    ("wine.skops -o a.onnx --labels one,two", 2, "2 labels, but the model has 3 classes"),
    ("wine.skops -o a.onnx --labels one", 2, "there is no such file"),
    ("wine.skops -o a.tflite", 3, "convert to ONNX instead"),
    ("wine.skops -o a.bin", 2, "has to end in .onnx or .tflite"),
    ("wine.skops -o nowhere/a.onnx", 2, "there is no folder nowhere"),
    ("wine.skops -o a.onnx --quantise int8", 2, "did you mean --quantize?"),
    ("wine.skops -o a.onnx --quantize int9", 2, "there is no such pass; did you mean 'int8'?"),
    ("wine.skops -o a.onnx --sample two.npz", 2, "the sample holds 2 arrays (left, right), one belongs"),
    ("wine.skops -o a.onnx --report a.pdf", 2, "reports are written as .json"),
    ("wine.skops -o a.onnx --report nowhere/a.html", 2, "there is no folder nowhere"),
    ("wine.skops -o a.onnx --task regress", 2, "--task regress: this model's is classify"),
    ("wine.skops -o a.onnx --framework sklaern", 2, "there is none by that name"),
    ("wine.skops -o a.onnx --mean a,b", 2, "numbers with commas"),
    ("wine.skops -o a.onnx --input-size 3x", 2, ""),
    ("wine.skops", 2, "-o"),
    ("model.pkl -o a.onnx", 2, "--trust-pickle opens it all the same"),
    ("cut.skops -o a.onnx", 3, "cut short"),
    ("cut.pkl -o a.onnx", 3, "not a whole pickle (unpack requires"),
    ("cut.onnx -o a.onnx", 3, "cut short or damaged"),
    ("future.onnx -o a.onnx", 3, "no such operator"),
]


@pytest.mark.parametrize(("arguments", "code", "reason"), BAD, ids=[f"{b[0][:40]} {b[2][:20]}" for b in BAD])
def test_bad_input_is_told_in_one_line(
    arguments: str, code: int, reason: str, bench: Path, forest: RandomForestClassifier, wine: Split,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    wine.held.rename(columns={"hue": "heu"}).to_csv("wrong.csv", index=False)
    wine.held.assign(hue="red").to_csv("words.csv", index=False)
    np.save("narrow.npy", wine.held.to_numpy()[:, :5])
    np.savez("two.npz", left=np.ones((3, 13)), right=np.ones((3, 13)))
    Path("ragged.csv").write_text("a,b,c\n1,2,3\n1,2\n")
    Path("model.pkl").write_bytes(pickle.dumps(forest))
    Path("cut.pkl").write_bytes(pickle.dumps(forest, 2)[:1500])
    whole = Path("wine.skops").read_bytes()
    Path("cut.skops").write_bytes(whole[: len(whole) // 2])
    node = onnx.helper.make_node("Teleport", ["x"], ["y"], domain="example.org")
    value = [onnx.helper.make_tensor_value_info(n, 1, [None, 4]) for n in "xy"]
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "g", value[:1], value[1:]),
        opset_imports=[onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("example.org", 1)], ir_version=8,
    )  # fmt: skip
    Path("future.onnx").write_bytes(model.SerializeToString())
    Path("cut.onnx").write_bytes(model.SerializeToString()[:40])
    Path("net.gguf").write_bytes(b"GGUF" + bytes(60))
    Path("net.mlmodel").write_bytes(b"\x08\x04\x12\x0a\x0a\x05model" + bytes(50))
    Path("net.pkl.gz").write_bytes(b"\x1f\x8b\x08" + bytes(20))
    Path("german.csv").write_text("hue;ash;proline\n0,5;1,2;1.234\n")

    assert reason in refused(arguments, code, capsys)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)], ids=["term", "int", "hup"]
)
def test_a_signal_ends_it_in_one_line_and_leaves_nothing_behind(bench: Path, number: int, code: int) -> None:
    os.mkfifo(bench / "slow.csv")
    (bench / "tmp").mkdir()
    process = subprocess.Popen(
        [BINARIES / "edge-convert", "wine.skops", "-o", "wine.onnx", "--sample", "slow.csv"],
        env={**os.environ, "TMPDIR": str(bench / "tmp")}, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    with (bench / "slow.csv").open("w"):  # which returns once it is read
        process.send_signal(number)
        _, said = process.communicate(timeout=PATIENCE_S)

    assert (process.returncode, said) == (code, "edge-convert: interrupted; a file is written whole or not at all\n")
    assert not (bench / "wine.onnx").exists()
    assert not list((bench / "tmp").iterdir())


def test_no_space_left_leaves_nothing_behind(bench: Path) -> None:
    """A limit on the size of files stands for a full disk: the same errors come from the same calls."""
    program = (
        "import resource, sys; from converter import cli;"
        "import sklearn.ensemble, skl2onnx, skops.io, onnx, pandas, tempfile;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000));"
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    arguments = ["wine.skops", "-o", "wine.onnx", "--sample", "held.csv"]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}

    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=bench, env=environment, capture_output=True, text=True,
        timeout=150, check=False,
    )  # fmt: skip

    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert "File too large" in done.stderr
    assert sorted(p.name for p in bench.iterdir()) == ["held.csv", "wine.skops"]
