"""A new model of an update on live samples, beside the one that runs: refused, told, or without anything to see."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from msgspec.structs import replace
from onnx import helper, numpy_helper
from support.onnxmodels import scores
from support.processes import PATIENCE_S, until
from support.updating import write_model

from edge.app import control, loading
from edge.app.build import build
from edge.app.core import Core, Draft
from edge.app.proving import Proof
from edge.app.swap import RunningModel
from edge.app.update_trial import UpdateTrial
from edge.data.sample import Sample
from edge.data.tensor import Tensors
from edge.engines.onnxruntime import OnnxRuntime
from edge.errors import SampleError
from edge.settings import layers
from edge.telemetry import memory
from edge.testing.fakes import FakeClock
from edge.trial.blame import TrialMarks

DIES_AT_WORK = """import os, signal, sys
from pathlib import Path
from edge.trial.blame import TrialMarks
marks = TrialMarks(Path(sys.argv[1]), "d.m.update", Path("m2.onnx"), sys.argv[2])
marks.open()
marks.begin()
os.kill(os.getpid(), signal.SIGKILL)
"""


class Device:
    """Runs a model, and is offered another one. Samples come as fast as they are taken."""

    def __init__(self, folder: Path, running: Path, new: Path, *flags: str) -> None:
        words = [f"--model={running}", "--state-dir", str(folder / "state"), "--device", "d"]
        broker = () if "--mqtt" in flags else ("--mqtt", "embedded")
        self.settings = layers.read([*words, *broker, *flags], {}, "0")
        self.trial, self.draft = UpdateTrial(), Draft()
        self.leaving, self.said = threading.Event(), []
        self.tell = self.said.append
        cores: list[Core] = []
        build(self.settings, loading.open_model(self.settings), Following(cores.append))
        self.running = RunningModel(cores[0])
        self.other = self.running.load(self.settings, new)
        self.new = self.other.core
        self.trial.join(self.running.core, self.draft, control.make(self.running.core))
        for part in self.draft.parts:
            part.start()

    def run(self, *rows: dict) -> str:
        """Why the new one is refused, after a trial in which these rows come again and again."""
        return self.proof(*rows).reason

    def proof(self, *rows: dict, **more: Any) -> Proof:
        """What that trial says of the new one."""
        pipeline, over = self.running.core.pipeline(), threading.Event()

        def feed() -> None:
            while rows and not over.is_set():
                for row in rows:
                    sample = Sample(row, "test", 0, 0)
                    for observe in self.draft.observers or self.draft.requests:
                        observe(sample, pipeline.run(pipeline.prepare([sample]))[0])

        feeding = threading.Thread(target=feed)
        feeding.start()
        try:
            return self.trial.run(self.running.core, self.other, self.leaving, self.tell, **more)
        finally:
            over.set()
            feeding.join(PATIENCE_S)


class Following:
    """In the place of the updates: says what the parts are made with."""

    to_blame = False

    def __init__(self, made: Callable[[Core], None]) -> None:
        self._made = made

    def runs(self, core: Core) -> RunningModel:
        self._made(core)
        return RunningModel(core)

    def join(self, *_: object) -> None: ...


@pytest.fixture
def device(tmp_path) -> Iterator[Callable[..., Device]]:
    made: list[Device] = []

    def make(*flags: str, **new) -> Device:
        files = write_model(tmp_path / "m1.onnx", "1"), write_model(tmp_path / "m2.onnx", "2", **new)
        made.append(Device(tmp_path, *files, "--trial-samples", "50", "--trial-time", "60", *flags))
        return made[-1]

    yield make
    for one in made:
        for core in (one.running.core, one.new):
            core.loaded.engine.close()


def test_a_model_that_skips_what_the_other_one_answers_is_refused_with_both_figures(device):
    reason = device(features=("a", "b", "c")).run({"a": 1, "b": 2})

    assert "live samples, the model that runs 0; --updates-skips allows 2.0% more" in reason


def heavier(path: Path, count: int = 150) -> Path:
    """The same model, with so many weights of 240 kB, which the C library keeps for itself when they are freed."""
    model = onnx.load(path)
    graph, (total,) = model.graph, model.graph.node[0].output
    width = graph.input[0].type.tensor_type.shape.dim[1].dim_value
    graph.node[0].output[0] = "part0"
    for at in range(count):
        weights = np.full((width, 60_000 // width), at, np.float32)
        graph.initializer.append(numpy_helper.from_array(weights, f"weights{at}"))
        graph.node.append(helper.make_node("MatMul", ["row", f"weights{at}"], [f"wide{at}"]))
        graph.node.append(helper.make_node("ReduceMax", [f"wide{at}"], [f"most{at}"], axes=[1]))
        out = total if at == count - 1 else f"part{at + 1}"
        graph.node.append(helper.make_node("Add", [f"part{at}", f"most{at}"], [out]))
    onnx.save(model, path)
    return path


def resident_mb() -> float:
    memory.give_back()
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS")) / 1000


def test_the_memory_of_a_refused_model_goes_back(tmp_path, monkeypatch):
    running = write_model(tmp_path / "m1.onnx", "1")
    new = heavier(write_model(tmp_path / "m2.onnx", "2", features=("a", "b", "c"), golden=()))
    Device(tmp_path, running, running)  # whatever is taken once
    before = resident_mb()
    one = Device(tmp_path, running, new, "--trial-samples", "50", "--trial-time", "60")
    loaded = resident_mb()
    reason = one.run({"a": 1, "b": 2})
    monkeypatch.setattr(memory, "give_back", lambda: None)
    after = resident_mb()
    one.running.core.loaded.engine.close()

    assert "live samples" in reason
    assert loaded - before > 30
    assert after - before < (loaded - before) / 2


def fails(engine: object, with_: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on an engine has no answer, and no other one fails."""
    answers = OnnxRuntime.infer

    def infer(self: OnnxRuntime, tensors: Tensors) -> Tensors:
        if self is engine:
            raise with_
        return answers(self, tensors)

    monkeypatch.setattr(OnnxRuntime, "infer", infer)


def test_a_trial_that_memory_was_too_short_for_is_put_off_and_says_nothing_of_the_model(device, monkeypatch):
    one = device()
    fails(one.new.loaded.engine, MemoryError(), monkeypatch)

    assert one.proof({"a": 1, "b": 2}) == Proof("on trial: there was no memory left for it", again=True)
    monkeypatch.undo()
    with pytest.raises(SampleError, match="was closed"):
        one.new.loaded.engine.infer({"row": np.ones((1, 2), np.float32)})


@pytest.mark.parametrize(("left", "again"), [(10_000_000, True), (10_000_000_000, False)])
def test_samples_that_are_skipped_while_memory_is_short_put_it_off(device, monkeypatch, left, again):
    one = device()
    fails(one.new.loaded.engine, SampleError("the model refuses this input: std::bad_alloc"), monkeypatch)
    monkeypatch.setattr(memory, "available", lambda: left)
    proof = one.proof({"a": 1, "b": 2})

    assert "live samples, the model that runs 0" in proof.reason
    assert (proof.again, "while memory was short: 10 MB would stay free" in proof.reason) == (again, again)


def test_rows_that_both_skip_are_no_fault_of_the_new_one(device):
    assert device().run({"a": 1, "b": 2}, {"nothing": 1}) == ""


def test_what_the_new_model_answers_otherwise_is_told_and_no_reason_to_refuse_it(device):
    one = device(factor=10.0)
    reason, told = one.run({"a": 1, "b": 0}, {"a": 1, "b": 2}), one.trial.told()

    assert reason == ""
    assert told["samples"] >= 50
    assert 0.2 < told["agreement"] < 0.8  # the one row, and not the other
    assert [(d["from"], d["to"]) for d in told["differences"]] == [("sum", "sum higher")]
    assert told["latency_ms"].keys() == told["skipped"].keys() == {"running", "trial"}


def test_with_a_limit_of_agreement_it_is_refused(device):
    reason = device("--updates-agreement", "0.9", factor=10.0).run({"a": 1, "b": 0}, {"a": 1, "b": 2})

    assert "live samples, --updates-agreement wants 90.0%" in reason


def test_where_nothing_comes_it_goes_on_when_the_time_is_over(device):
    one = device("--trial-time", "0.2")

    assert one.run() == ""
    assert (one.trial.told()["samples"], one.trial.told()["agreement"]) == (0, None)


def test_what_too_few_samples_came_for_is_told_in_words(device, caplog):
    one = device("--trial-time", "0.2")
    one.run()
    nothing = one.trial.told()["note"]
    said = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    enough = device()
    enough.run({"a": 1, "b": 2})

    assert nothing == (
        "no sample came within --trial-time 0.2 s: of fewer than 20 it cannot be said how far they agree"
    )
    assert said == ["the new model was tried on no live sample"]
    assert enough.trial.told()["note"] == ""


def test_a_version_that_is_withdrawn_while_it_is_on_trial_is_put_off_and_does_not_take_over(device):
    """A trial may be told to last for days."""
    one = device("--trial-time", "100000", "--trial-samples", "1000000", "--updates-interval", "0.3")
    said = iter(("", "it is no longer offered"))
    proof = one.trial.run(one.running.core, one.other, one.leaving, one.said.append, lambda _: next(said))

    assert proof == Proof("version 2 was on trial when it is no longer offered", again=True, untried=True)
    with pytest.raises(SampleError, match="was closed"):
        one.new.loaded.engine.infer({"row": np.ones((1, 2), np.float32)})


def test_where_agreement_is_asked_for_and_too_few_samples_came_it_is_put_off_and_that_is_no_try(device):
    one = device("--trial-time", "0.2", "--updates-agreement", "0.9")
    proof = one.proof()

    assert proof.reason.startswith("no sample came within --trial-time 0.2 s")
    assert proof.reason.endswith("and --updates-agreement 0.9 asks for that")
    assert (proof.again, proof.untried) == (True, True)
    with pytest.raises(SampleError, match="was closed"):
        one.new.loaded.engine.infer({"row": np.ones((1, 2), np.float32)})


def test_where_agreement_is_asked_for_and_there_is_no_trial_it_does_not_go_on_without(device):
    one, other = device("--updates-agreement", "0.9"), device()
    proof = one.trial.left_out(one.settings, "it does detect, the model that runs regress")

    assert "it does detect" in proof.reason
    assert (proof.again, proof.untried) == (True, True)
    assert one.trial.told() == {"samples": 0, "note": "not tried: it does detect, the model that runs regress"}
    assert other.trial.left_out(other.settings, "--trial-time 0") == Proof()


def test_of_few_samples_it_is_refused_for_what_it_alone_skips(device):
    reason = device("--trial-samples", "5", features=("a", "b", "c")).run({"a": 1, "b": 2})

    assert "live samples, the model that runs 0" in reason


def test_it_ends_with_the_service(device):
    one = device()
    one.leaving.set()

    assert one.run() == ""
    assert one.trial.told()["samples"] == 0


def test_how_far_it_is_is_told(device):
    one, clock = device("--trial-samples", "1000000000", "--trial-time", "1"), FakeClock()
    one.other = replace(one.other, core=replace(one.new, clock=clock))
    one.tell = lambda percent: one.said.append(percent) or clock.advance(0.3)
    one.run({"a": 1, "b": 2})

    # The end is None, else a watch that begins would be told as far as the trial was.
    assert one.said == [0, 30, 60, 90, None]


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_model_at_whose_work_the_process_died_twice_is_refused_and_no_input_is_to_blame(device, tmp_path, deaths):
    one = device("--trial-samples", "1")
    for _ in range(deaths):
        subprocess.run([sys.executable, "-c", DIES_AT_WORK, tmp_path / "state", one.new.loaded.sha256], check=False)
        one = device("--trial-samples", "1")
        assert one.trial.to_blame
    reason = one.run({"a": 1, "b": 2})

    assert ("died twice while m2.onnx was at work" in reason) == (deaths == 2)
    assert reason or deaths == 1


def test_a_trial_that_ended_leaves_nothing_to_blame(device, tmp_path):
    device("--trial-samples", "1").run({"a": 1, "b": 2})

    assert not device().trial.to_blame
    assert TrialMarks(tmp_path / "state", "d.m.update", tmp_path / "m2.onnx", "0" * 64).open() == ""


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (("--trial-time", "0"), "--trial-time 0"),
    ],
)
def test_what_cannot_be_tried_is_not_and_why_is_told(device, flags, why):
    one = device(*flags)

    assert why in one.trial.hindrance(one.running.core, one.new)


def test_where_only_http_asks_it_is_tried_on_what_comes_there(device):
    one = device("--mqtt", "none", "--http", "0", features=("a", "b", "c"))

    assert one.trial.hindrance(one.running.core, one.new) == ""
    assert "live samples, the model that runs 0" in one.run({"a": 1, "b": 2})


def test_a_model_of_another_task_is_not_tried(tmp_path, device):
    one = device()
    other = scores(tmp_path / "other.onnx")

    assert one.trial.hindrance(one.running.core, one.new) == ""
    new = one.running.load(one.settings, other).core
    assert "it does" in one.trial.hindrance(one.running.core, new)
    new.loaded.engine.close()


def test_a_trial_that_is_over_waits_for_no_server_that_is_asked_meanwhile(device):
    one, asked = device("--updates-interval", "0.1", "--trial-time", "3"), []

    def gone(over: Callable[[], bool]) -> str:
        asked.append(one.said[-1])
        until(over, "the trial is over")
        return ""

    assert one.proof(gone=gone) == Proof()
    assert len(asked) == 1
    assert asked[0] < 100
