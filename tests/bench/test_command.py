"""`edge-bench` as a user runs it, on models so small that a round is over at once."""

from __future__ import annotations

import json
import os
import pty
import subprocess

import pytest
from PIL import Image
from support import onnxmodels
from support.processes import BINARIES

QUICK = ("--seconds", "0.02", "--rounds", "1")


@pytest.fixture
def bench(tmp_path):
    """Runs it in a folder with two models, `small.onnx` and `large.onnx`."""
    onnxmodels.scores(tmp_path / "small.onnx")
    onnxmodels.scores(tmp_path / "large.onnx", features=512)
    env = {k: v for k, v in os.environ.items() if not k.startswith("EDGE_")}
    env["XDG_STATE_HOME"] = str(tmp_path / "state")

    def run(*args, environ=None, **streams):
        return subprocess.run(
            [str(BINARIES / "edge-bench"), *args],
            cwd=tmp_path, env={**env, **(environ or {})}, timeout=100, text=True,
            **(streams or {"capture_output": True}),
        )  # fmt: skip

    return run


def test_files_are_compared_by_threads_in_aligned_lines(bench):
    done = bench("small.onnx", "large.onnx", "--threads", "1,2", "--provider", "cpu", *QUICK)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    assert "█" not in done.stdout
    lines = done.stdout.splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("model "))
    rows = [line.split() for line in lines[head + 1 :]]
    assert [r[:3] for r in rows] == [[f, "cpu", n] for f in ("small.onnx", "large.onnx") for n in ("1", "2")]
    assert len({len(line) for line in lines[head:]}) == 1
    assert all(float(figure) > 0 for row in rows for figure in row[3:])


def test_the_figures_are_saved_for_programs(bench, tmp_path):
    done = bench("small.onnx", "--threads", "1", "--provider", "cpu", "--seconds", "0.02", "--rounds", "2",
                 "--save", "figures.json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads((tmp_path / "figures.json").read_text())
    assert said["schema"] == 1
    assert said["models"][0]["engine"] == "onnxruntime"
    (row,) = said["rows"]
    assert (row["model"], row["provider"], row["threads"]) == ("small.onnx", "cpu", 1)
    assert 0 < row["p50_ms"] <= row["p99_ms"]
    assert row["memory_mb"] > 10
    assert row["runs"] >= 2


def test_the_page_needs_nothing_from_elsewhere_and_has_a_dark_side(bench, tmp_path):
    done = bench("small.onnx", "--threads", "1", "--provider", "cpu", *QUICK, "--save", "figures.html")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "figures.html").read_text()
    assert page.count("<svg") == 2
    assert "small.onnx cpu 1" in page
    assert "prefers-color-scheme: dark" in page
    assert "http" not in page
    assert "<script" not in page


def test_the_charts_are_saved_as_a_picture(bench, tmp_path):
    done = bench("small.onnx", "--threads", "1", "--provider", "cpu", *QUICK, "--save", "chart.png")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "chart.png") as picture:
        assert picture.format == "PNG"
        assert picture.width == 1800
        assert picture.height < 1000


def test_without_its_library_a_picture_is_refused_before_anything_is_measured(bench, tmp_path):
    absent = tmp_path / "absent" / "PIL"
    absent.mkdir(parents=True)
    (absent / "__init__.py").write_text("raise ImportError('not here')\n")
    done = bench("none.onnx", "--save", "chart.png", environ={"PYTHONPATH": str(absent.parent)})
    assert done.returncode == 2
    assert done.stderr == ("edge-bench: error: --save FILE.png needs Pillow: pip install 'edge-run[bench]'\n")


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        ((), 2, "required: MODEL"),
        (("none.onnx",), 3, "none.onnx: there is no such file; check the path"),
        (("text.onnx",), 3, "text.onnx"),
        (("small.onnx", "--theads", "2"), 2, "did you mean --threads?"),
        (("small.onnx", "--threads", "1,x"), 2, "--threads 1,x: a whole number belongs there"),
        (("small.onnx", "--provider", "tpu"), 2, "--provider tpu"),
        (("small.onnx", "--seconds", "0"), 2, "--seconds 0"),
        (("small.onnx", "--save", "nowhere/f.html"), 2, "there is no folder nowhere"),
        (("none.onnx", "--save", "chart.svg"), 2, "say chart.html"),  # before it looks at the model
    ],
)
def test_a_mistake_is_one_line_and_its_exit_code(bench, tmp_path, args, code, said):
    (tmp_path / "text.onnx").write_text("this is no model\n" * 9)
    done = bench(*args)
    assert done.returncode == code
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("edge-bench: error: ")
    assert said in line


def test_a_model_that_kills_its_engine_is_told_in_one_line(bench, tmp_path):
    engine = tmp_path / "elsewhere" / "onnxruntime"
    engine.mkdir(parents=True)
    (engine / "__init__.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    done = bench("small.onnx", environ={"PYTHONPATH": str(engine.parent)})
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "it ends its engine (Killed)" in done.stderr


def on_a_terminal(bench, *args, **environ):
    """What it writes where both of its streams are a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    environ = {"TERM": "xterm", "COLUMNS": "80", **environ}
    done = bench(*args, environ=environ, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL)
    os.close(theirs)
    said = b""
    try:
        while part := os.read(ours, 65536):
            said += part
    except OSError:
        pass  # the other side is closed and all is read
    os.close(ours)
    assert done.returncode == 0, said
    return said.decode()


def test_a_terminal_gets_a_progress_bar_and_a_chart(bench):
    said = on_a_terminal(bench, "small.onnx", "--threads", "1", "--provider", "cpu", *QUICK)
    assert "0/1 round 1: small.onnx, cpu, threads 1" in said
    assert "latency, \x1b[36m█\x1b[0m p50" in said
    assert "small.onnx cpu 1 \x1b[36m█" in said


def test_no_color_is_honoured(bench):
    said = on_a_terminal(bench, "small.onnx", "--threads", "1", "--provider", "cpu", *QUICK, NO_COLOR="1")
    assert "small.onnx cpu 1 █" in said
    assert "\x1b[36m" not in said


def test_tuning_keeps_a_profile_for_each_file(bench, tmp_path):
    done = bench("small.onnx", "large.onnx", "--threads", "2", "--provider", "cpu", *QUICK,
                 "--tune", "power", "--anyway", "--state-dir", "kept")  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = [json.loads(path.read_text()) for path in (tmp_path / "kept").glob("profile-*.json")]
    assert [(p["goal"], p["threads"], p["provider"]) for p in said] == [("power", 2, "cpu")] * 2
    assert "tuned for power: small.onnx, cpu, threads 2: kept in kept/profile-" in done.stdout


def test_a_state_folder_that_cannot_be_one_is_4_before_anything_is_measured(bench, tmp_path):
    (tmp_path / "file").write_text("")
    done = bench("small.onnx", "--tune", "latency", "--state-dir", "file")
    assert done.returncode == 4
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "--state-dir" in done.stderr


def test_edge_run_uses_the_profile_and_names_it_in_info(bench, tmp_path, edge_run, broker, client):
    state = str(tmp_path / "kept")
    flags = ("--threads", "2", "--provider", "cpu", *QUICK, "--tune", "throughput", "--anyway", "--state-dir", state)
    assert bench("small.onnx", *flags).returncode == 0
    listener = client(broker.port, "edge/#")
    started = ("--model", tmp_path / "small.onnx", "--mqtt", broker.url, "--device", "pi", "--state-dir", state)
    run = edge_run(*started)
    engine = listener.wait_for("info")[0]["engine"]
    assert (engine["threads"], engine["provider"], engine["profile"]) == (2, "cpu", "throughput")
    assert "tuned profile" in run.said()
    run.stop()
    edge_run(*started, "--threads", "1")
    engine = listener.wait_for("info", 2)[1]["engine"]
    assert engine["threads"] == 1
    assert "profile" not in engine
