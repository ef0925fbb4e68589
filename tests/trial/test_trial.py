"""A second model on the same samples: it counts, judges, and holds nothing up."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from support import onnxmodels
from support.dying import die
from support.processes import until

from edge.app import assembly
from edge.data.result import Classification, ModelRef, Result, Skipped, Timing
from edge.data.sample import ModelInput, Sample
from edge.data.tensor import Tensors, TensorSpec
from edge.errors import SampleError
from edge.pipeline.pipeline import Pipeline
from edge.pipeline.prepare import Preparation
from edge.pipeline.results import Identity, ResultBuilder
from edge.storage.crash_marks import digest_of
from edge.telemetry.clock import SystemClock
from edge.trial.blame import TrialMarks
from edge.trial.trial import Differs, Limits, Report, Trial, Verdict

RUNNING, OTHER = ModelRef("m", "1", "a" * 64), ModelRef("m", "2", "b" * 64)


class Engine:
    """Answers at once, or when it is let."""

    name, version = "fake", "1"
    inputs = (TensorSpec("x", "float32", (1, 1)),)
    outputs = (TensorSpec("y", "float32", (1, 1)),)

    def __init__(self, infer: Callable[[float], float]) -> None:
        self._infer = infer

    def infer(self, tensors: Tensors) -> dict[str, np.ndarray]:
        return {"y": np.asarray([[self._infer(float(tensors["x"][0, 0]))]], dtype=np.float32)}

    def close(self) -> None: ...


class OneNumber:
    """A row is a list of one number; a list of lists is a batch."""

    by_row = True

    def split(self, payload: Sequence[object]) -> Sequence[object]:
        return payload if payload and isinstance(payload[0], list) else [payload]

    def __call__(self, sample: Sample) -> ModelInput:
        return ModelInput({"x": np.asarray([sample.payload], dtype=np.float32)})


def hot_or_cold(outputs: Tensors, given: ModelInput) -> list[Classification]:
    value = float(outputs["y"][0, 0])
    if value != value:
        raise SampleError("not a number")
    return [Classification(0, "hot" if value > 0 else "cold", 0.9)]


Make = Callable[..., Trial]


@pytest.fixture
def made() -> Iterator[Make]:
    """Starts a trial of a model that answers so."""
    trials: list[Trial] = []

    def make(
        infer: Callable[[float], float],
        limits: Limits | None = None,
        differs: Differs | None = None,
        now: Callable[[], int] = time.perf_counter_ns,
    ) -> Trial:
        identity = Identity("d", OTHER, "classify", "trial")
        pipeline = Pipeline(Engine(infer), Preparation(OneNumber(), now=now), hot_or_cold, ResultBuilder(identity))
        trials.append(Trial(pipeline, RUNNING, SystemClock(), limits or Limits(samples=3), differs=differs))
        trials[-1].start()
        return trials[-1]

    yield make
    for trial in trials:
        trial.stop()


def result(word: str = "hot", infer_ms: float = 1e6) -> Result:
    predictions = [Classification(0, word, 0.9)]
    return Result(1, "d/m/b/1", "", True, "d", RUNNING, "s", 1, "classify", predictions, Timing(0, infer_ms, 0))


def sample(payload: object) -> Sample:
    return Sample(payload, "test", 0, 0)


def given(trial: Trial, *pairs: tuple[object, Sequence[Result | Skipped]]) -> Report:
    """Each sample offered until the trial has taken it."""
    for payload, outcomes in pairs:
        before = trial.report().samples

        def taken(payload=payload, outcomes=outcomes, before=before) -> bool:
            if trial.report().samples == before:
                trial.offer(sample(payload), outcomes)
            return trial.report().samples > before

        until(taken, "the trial takes a sample")
    return trial.report()


def test_two_models_that_answer_alike_are_equal(made: Make) -> None:
    report = given(made(lambda x: x), *[([1.0], [result("hot")]), ([-1.0], [result("cold")])] * 2)

    assert report.samples >= 4
    assert report.agreement == 1.0
    assert report.verdict.word == "equal"
    assert (report.model.version, report.trial.version) == ("1", "2")


def test_what_they_answer_differently_is_counted_by_pair(made: Make) -> None:
    report = given(made(lambda x: -x), *[([1.0], [result("hot")])] * 4)

    assert report.agreement == 0.0
    assert [(c.running, c.trial) for c in report.differences] == [("hot", "cold")]
    assert report.differences[0].count == report.samples
    assert report.verdict.word == "differs"


def test_an_input_that_they_answer_differently_is_shown_with_both_answers(made: Make) -> None:
    shown: list[tuple[object, str, str]] = []

    def show(payload: object, frame: object, both: tuple[Result, Result]) -> None:
        shown.append((payload, *(one.predictions[0].label for one in both)))

    given(made(lambda x: 1.0, differs=show), ([1.0], [result("hot")]), ([-1.0], [result("cold")]))

    assert set(map(str, shown)) == {"([-1.0], 'cold', 'hot')"}


def test_before_enough_samples_came_there_is_no_verdict(made: Make) -> None:
    trial = made(lambda x: x, Limits(samples=200))

    report = given(trial, ([1.0], [result("hot")]))

    assert report.verdict.word == "undecided"
    assert report.verdict.reason.endswith("of 200 samples were answered by both")


def test_a_model_that_skips_what_the_other_answers_is_worse(made: Make) -> None:
    report = given(made(lambda x: float("nan")), *[([1.0], [result("hot")])] * 4)

    assert (report.verdict.word, report.differences[0].running) == ("worse", "answered")
    assert report.skipped.trial == report.samples


def test_a_slower_model_is_worse(made: Make) -> None:
    """Its clock has gone on by a millisecond at each look."""
    slow = made(lambda x: x, now=itertools.count(0, 1_000_000).__next__)
    report = given(slow, *[([1.0], [result("hot", infer_ms=1.0)])] * 4)

    assert report.verdict.word == "worse"
    assert "ms, the model that runs 1 ms" in report.verdict.reason


def test_microseconds_make_no_model_worse(made: Make) -> None:
    """The one that runs takes less for each of a dozen at once than the other for one alone."""
    apart = made(lambda x: x, now=itertools.count(0, 50_000).__next__)
    report = given(apart, *[([1.0], [result("hot", infer_ms=0.001)])] * 4)

    assert report.latency_ms.trial > 50 * report.latency_ms.running
    assert report.verdict.word == "equal"


def test_a_model_that_answers_nothing_has_no_latency_and_says_why_not(made: Make) -> None:
    report = given(made(lambda x: float("nan")), *[([1.0], [result("hot")])] * 4)

    assert report.latency_ms is None
    assert report.verdict.reason.endswith("samples more than the model that runs: not a number")


def test_where_neither_answers_anything_there_is_no_verdict(made: Make) -> None:
    skipped = Skipped(1, "d/m/b/1", "", "d", "m", "test", 1, "no")
    report = given(made(lambda x: float("nan")), *[([1.0], [skipped])] * 4)

    assert (report.verdict.word, report.agreement) == ("undecided", 1.0)
    assert report.verdict.reason.endswith("samples came that neither of the two could answer")


def test_while_it_is_busy_samples_are_passed_over_and_nothing_waits(made: Make) -> None:
    goes_on, began = threading.Event(), threading.Event()

    def slow(x: float) -> float:
        began.set()
        goes_on.wait(60)
        return x

    trial = made(slow)
    trial.offer(sample([1.0]), [result()])
    assert began.wait(60)

    for _ in range(10):  # one of them waits in the trial's place, the others are passed over
        trial.offer(sample([1.0]), [result()])

    assert trial.report().passed_over == 9
    goes_on.set()


def test_pieces_of_a_batch_are_passed_over(made: Make) -> None:
    trial = made(lambda x: x)

    trial.offer(sample([[1.0], [2.0]]), [result()])

    until(lambda: trial.report().passed_over == 1, "the batch is passed over")
    assert trial.report().samples == 0


def test_an_engine_that_fails_ends_the_trial_and_not_the_service(made: Make, caplog: pytest.LogCaptureFixture) -> None:
    def broken(x: float) -> float:
        raise ZeroDivisionError("by nothing")

    trial = made(broken)
    trial.offer(sample([1.0]), [result()])

    until(lambda: trial.report().verdict.word == "broken", "the trial breaks off")
    assert "ZeroDivisionError" in trial.report().verdict.reason
    trial.offer(sample([1.0]), [result()])


def test_a_trial_of_which_the_process_died_twice_is_not_begun_again(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    ran = threading.Event()

    def infer(x: float) -> float:
        ran.set()
        return x

    def begun() -> tuple[Trial, TrialMarks]:
        pipeline = Pipeline(
            Engine(infer),
            Preparation(OneNumber()),
            hot_or_cold,
            ResultBuilder(Identity("d", OTHER, "classify", "trial")),
        )
        marks = TrialMarks(tmp_path / "state", "d.m", Path("new.onnx"), OTHER.sha256, tmp_path / "run")
        return Trial(pipeline, RUNNING, SystemClock(), marks=marks), marks

    convict(tmp_path, OTHER.sha256)
    trial, marks = begun()
    trial.start()
    trial.offer(sample([1.0]), [result()])
    trial.stop()

    assert trial.report().verdict.word == "broken"
    assert "the process died twice while new.onnx was at work" in trial.report().verdict.reason
    assert not ran.is_set()
    assert marks.died


def convict(folder: Path, sha256: str) -> None:
    """Two lives in which this model was at work, and which were not ended."""
    for _ in range(2):
        die(folder / "state", "d.m.trial", (digest_of(sha256.encode()),), volatile=folder / "run")


def test_real_models_of_a_file_each(tmp_path: Path) -> None:
    loaded = assembly.load_file(onnxmodels.scores(tmp_path / "m.onnx", classes=3, features=4))
    running, other = (assembly.make_pipeline(loaded, "d") for _ in range(2))
    trial = Trial(other, loaded.ref, SystemClock(), Limits(samples=2, latency=1e9))
    trial.start()
    try:
        row = sample([0.1, 0.2, 0.3, 0.4])
        outcomes = running.process(row)
        report = given(trial, *[([0.1, 0.2, 0.3, 0.4], outcomes)] * 3)
    finally:
        trial.stop()
        loaded.engine.close()
    assert (report.agreement, report.verdict.word) == (1.0, "equal")


def test_what_was_counted_beside_another_model_counts_no_more_and_results_of_that_are_passed_over(made: Make) -> None:
    trial = made(lambda x: x)
    before = given(trial, ([1.0], [result("cold")]), ([1.0], [result("cold")]))
    newer = ModelRef("m", "3", "c" * 64)
    trial.follow(newer)
    anew = trial.report()
    for _ in range(3):
        trial.offer(sample([1.0]), [result("cold")])  # of the model before
    report = given(trial, ([1.0], [replace(result("hot"), model=newer)]))
    trial.follow(OTHER, "the model on trial is the one that runs")
    trial.offer(sample([1.0]), [replace(result("hot"), model=OTHER)])

    assert before.agreement == 0.0
    assert (anew.samples, anew.agreement, anew.differences) == (0, None, ())
    assert (report.model, report.agreement) == (newer, 1.0)
    assert trial.report().verdict == Verdict("ended", "the model on trial is the one that runs")
    assert trial.report().samples == 0
