"""The start does two things at once, and yet tells what is wrong in the order of one after the other."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import pytest
from support import onnxmodels

from edge.plugins import registry

SPY = """
import sys, threading, traceback
from edge.cli import run
from edge.engines import probe
def main_does():
    while True:
        frame = sys._current_frames()[threading.main_thread().ident]
        if any(call.name == 'wait' and call.filename.endswith('start.py') for call in traceback.extract_stack(frame)):
            return 'waits'
        if 'edge.app.build' in sys.modules:
            return 'imports'
def spy(run, told=probe.run_in_child):
    print('forked while the main thread', main_does(), file=sys.stderr)
    return told(run)
probe.run_in_child = spy
sys.exit(run.run(sys.argv[1:]))
"""


@pytest.fixture
def model(tmp_path):
    return onnxmodels.scores(tmp_path / "m.onnx", classes=2, features=2)


@pytest.fixture
def start(tmp_path):
    def start(*words, code="import sys; from edge.cli import run; sys.exit(run.run(sys.argv[1:]))"):
        line = [sys.executable, "-c", code, *map(str, words), "--state-dir", str(tmp_path / "state"), "--mqtt", "none"]
        return subprocess.run(line, capture_output=True, text=True, timeout=150, check=False, stdin=subprocess.DEVNULL)

    return start


def test_a_file_that_was_never_seen_is_tried_before_anything_else_is_imported(start, model):
    first = start("--model", model, "--source", "synthetic:1", code=SPY)
    assert first.returncode == 0, first.stderr
    assert "forked while the main thread waits" in first.stderr
    second = start("--model", model, "--source", "synthetic:1", code=SPY)
    assert (second.returncode, "forked" in second.stderr) == (0, False)


@pytest.mark.parametrize("seen", [False, True], ids=["never seen", "seen"])
@pytest.mark.parametrize(("words", "code", "said"), [
    (["--labels", "gone.txt", "--engine", "litert"], 2, "gone.txt"),
    (["--engine", "litert", "--min-score", "0.5", "--task", "regress"], 2, "--engine litert"),
    (["--provider", "abacus", "--deadband", "1", "--task", "raw"], 2, "--provider abacus"),
    (["--min-score", "0.5", "--task", "regress", "--source", "gone.csv"], 2, "--min-score 0.5"),
    (["--source", "gone.jpg"], 2, "gone.jpg"),
])  # fmt: skip
def test_of_two_faults_the_first_in_the_order_of_the_start_is_told(start, model, seen, words, code, said):
    if seen:
        assert start("--model", model, "--source", "synthetic:1").returncode == 0
    done = start("--model", model, "--source", "synthetic:1", *words)
    assert (done.returncode, done.stderr.count("error:")) == (code, 1), done.stderr
    assert said in done.stderr


def test_a_model_that_is_none_is_told_before_a_rule_that_does_not_fit(start, tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"\x08\x07" * 64)
    done = start("--model", tmp_path / "bad.onnx", "--source", "gone.csv", "--min-score", "1", "--task", "raw")
    assert done.returncode == 3
    assert "bad.onnx" in done.stderr


def test_nothing_that_takes_long_is_imported_before_the_model_file_is_hashed(start, model):
    code = (
        "import sys; from edge.app import start; from edge.cli import run\n"
        "told = start._load_beside\n"
        "def look(*given): print('numpy' in sys.modules, 'onnxruntime' in sys.modules); return told(*given)\n"
        "start._load_beside = look\n"
        "sys.exit(run.run(sys.argv[1:]))"
    )
    done = start("--model", model, "--source", "synthetic:1", code=code)
    assert done.stdout.splitlines()[0] == "False False", done.stderr


def test_no_garbage_is_looked_for_among_what_is_imported(start, model):
    code = (
        "import gc, sys; from edge.cli import run; from edge.settings import layers\n"
        "told = layers.read\n"
        "def look(*given): print(gc.isenabled()); return told(*given)\n"
        "layers.read = look\n"
        "sys.exit(run.run(sys.argv[1:]))"
    )
    done = start("--model", model, "--source", "synthetic:1", code=code)
    assert done.stdout.splitlines()[0] == "False", done.stderr


def test_garbage_is_collected_once_the_service_runs(start, model):
    code = (
        "import gc, sys; from edge.app import service, start; from edge.cli import run\n"
        "def look(self): print(gc.isenabled(), gc.get_freeze_count() > 1000)\n"
        "service.App.run = look\n"
        "sys.exit(run.run(sys.argv[1:]))"
    )
    done = start("--model", model, "--source", "synthetic:1", code=code)
    assert done.stdout.split() == ["True", "True"], done.stderr


def test_no_thread_of_numpy_takes_the_core_on_which_the_model_is_loaded(start, model):
    # The start's own threads have ended for Python before the kernel has taken them away; numpy's would stay.
    code = (
        "import os, sys, time; from edge.cli import run; from edge.app import start\n"
        "def threads(): return len(os.listdir('/proc/self/task'))\n"
        "def look(settings, told=start.app):\n"
        "    made = told(settings)\n"
        "    until = time.monotonic() + 100\n"
        "    while threads() > 1 and time.monotonic() < until: os.sched_yield()\n"
        "    print(threads())\n"
        "    return made\n"
        "start.app = look\n"
        "sys.exit(run.run(sys.argv[1:]))"
    )
    assert start("--model", model, "--source", "synthetic:1").returncode == 0
    seen = start("--model", model, "--source", "synthetic:1", code=code)
    assert seen.stdout.splitlines()[0] == "1", seen.stdout


@pytest.mark.parametrize(
    "sink", [[], ["--sink", "console"], ["--sink", "file:results.jsonl"]], ids=["none", "console", "file"]
)
def test_a_plain_start_does_not_read_what_every_installed_package_lists(start, model, tmp_path, sink):
    code = (
        "import importlib.metadata as metadata, sys; from edge.cli import run\n"
        "def look(**given): raise AssertionError(f'looked for {given}')\n"
        "metadata.entry_points = look\n"
        "sys.exit(run.run(sys.argv[1:]))"
    )
    words = [word.replace("file:", f"file:{tmp_path}/") for word in sink]
    done = start("--model", model, "--source", "synthetic:1", *words, code=code)
    assert done.returncode == 0, done.stderr
    assert "looked for" not in done.stderr


@pytest.mark.parametrize("group", ["edge.engines", "edge.sources", "edge.preprocess", "edge.postprocess"])
def test_our_own_plug_ins_are_those_that_the_distribution_lists(group):
    points = metadata.distribution("edge-run").entry_points.select(group=group)
    assert dict(registry.own(group)) == {p.name: p.value for p in points}
