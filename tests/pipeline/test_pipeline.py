from __future__ import annotations

import msgspec
import numpy as np
import pytest
from msgspec import UNSET

from edge.data.json_path import parse
from edge.data.result import ModelRef, Result, Skipped
from edge.data.sample import ModelInput, Sample
from edge.data.tensor import Quantization, TensorSpec
from edge.errors import SampleError
from edge.model.manifest import Input, Manifest, Output
from edge.pipeline.batching import TOGETHER_NS
from edge.pipeline.pipeline import Pipeline
from edge.pipeline.prepare import Preparation
from edge.pipeline.results import Identity, ResultBuilder, timestamp
from edge.pipeline.stages import Stages
from edge.postprocess import anomaly, heatmaps
from edge.testing.fakes import DoublingEngine, NumbersPreprocessor, as_numbers

IDENTITY = Identity("line3", ModelRef("double", "1", "00"), "regress", "5f0c9a1e")


@pytest.fixture
def engine():
    return DoublingEngine()


@pytest.fixture
def pipeline(engine):
    return Pipeline(engine, Preparation(NumbersPreprocessor(), now=lambda: 0), as_numbers, ResultBuilder(IDENTITY))


def sample(payload):
    return Sample(payload, "test", 0, 1_700_000_000_123_456_789)


def values(outcomes):
    return [o.predictions[0].value if isinstance(o, Result) else o.reason for o in outcomes]


def test_a_sample_becomes_a_result_with_an_id_of_its_own(pipeline):
    first, second = (pipeline.process(sample(n))[0] for n in (1, 2))
    assert values([first, second]) == [2.0, 4.0]
    assert [first.id, second.id] == ["line3/double/5f0c9a1e/1", "line3/double/5f0c9a1e/2"]
    assert first.time == "2023-11-14T22:13:20.123456Z"


def test_a_batch_runs_once_and_gives_a_result_each(pipeline, engine):
    pipeline.process(sample([1, 2, 3]))  # how long an inference takes, and that rows are kept apart, is found out
    runs = engine.runs
    assert values(pipeline.process(sample([1, 2, 3]))) == [2.0, 4.0, 6.0]
    assert engine.runs == runs + 1


def test_samples_that_wait_run_together_and_are_told_apart(pipeline, engine):
    pipeline.process(sample([1, 2, 3]))
    runs = engine.runs
    outcomes = pipeline.run(pipeline.prepare([sample(4), sample([5, "x"]), sample(6)]))
    assert [values(found) for found in outcomes] == [[8.0], [10.0, "'x' is not a number"], [12.0]]
    assert engine.runs == runs + 1


def test_a_bad_row_in_a_batch_costs_nobody_else_its_result(pipeline):
    assert values(pipeline.process(sample([1, "x", 3]))) == [2.0, "'x' is not a number", 6.0]


def test_a_row_that_the_model_refuses_costs_nobody_else_its_result(pipeline):
    assert values(pipeline.process(sample([1, -2, 3]))) == [2.0, "the model refuses negative values", 6.0]


class Wordless(NumbersPreprocessor):
    """Of a stranger's: it refuses an input and does not say why."""

    def split(self, payload):
        raise SampleError


def test_an_input_that_is_refused_without_a_word_is_skipped_and_not_lost(engine):
    pipeline = Pipeline(engine, Preparation(Wordless()), as_numbers, ResultBuilder(IDENTITY))
    (skipped,) = pipeline.process(sample(1))
    assert isinstance(skipped, Skipped)


def test_bytes_that_are_no_input_are_skipped_with_a_reason(pipeline):
    (skipped,) = pipeline.process(sample(b"{broken"))
    assert isinstance(skipped, Skipped)
    assert "not JSON" in skipped.reason


def test_an_input_is_picked_out_of_what_others_send_and_keeps_the_id_of_the_whole(engine):
    pipeline = Pipeline(
        engine, Preparation(NumbersPreprocessor(), path=parse("$.data.values")), as_numbers, ResultBuilder(IDENTITY)
    )
    outcomes = pipeline.process(sample(b'{"id": "a7", "data": {"values": [1, 2]}}'))
    assert (values(outcomes), [o.input_id for o in outcomes]) == ([2.0, 4.0], ["a7", "a7"])
    assert values(pipeline.process(sample(b'{"data": {}}'))) == [
        "--input-path $.data.values: no 'values' (step 2); there is an object with nothing"
    ]
    for other in (b"3", b'"a"', b"null", b"1,2"):
        assert "no 'data' (step 1); there is" in pipeline.process(sample(other))[0].reason
    long = b'[{"data": {"values": [%s]}}]' % b",".join([b"3"] * 9000)
    nested = Pipeline(
        engine, Preparation(NumbersPreprocessor(), path=parse("$[0].data.values")), as_numbers, ResultBuilder(IDENTITY)
    )
    assert values(nested.process(sample(long))) == [6.0] * 9000


def test_an_input_past_the_limit_is_skipped_before_it_is_decoded(engine):
    pipeline = Pipeline(engine, Preparation(NumbersPreprocessor(), max_input=1000), as_numbers, ResultBuilder(IDENTITY))
    (skipped,) = pipeline.process(sample(b"1" * 1001))
    assert "--max-input" in skipped.reason


def test_numbers_are_counted_on_over_skipped_samples(pipeline):
    outcomes = pipeline.process(sample([1, "x", 3]))
    assert [o.seq for o in outcomes] == [1, 2, 3]


@pytest.mark.parametrize("given", ["a7", 7])
def test_the_id_of_an_object_comes_back(engine, given):
    class Objects(NumbersPreprocessor):
        def __call__(self, s):
            return super().__call__(Sample(s.payload["x"], s.source, 0, 0))

    pipeline = Pipeline(engine, Preparation(Objects()), as_numbers, ResultBuilder(IDENTITY))
    (result,) = pipeline.process(sample({"id": given, "x": 1}))
    assert result.input_id == given


def test_a_result_without_an_id_says_nothing_of_it(pipeline):
    (result,) = pipeline.process(sample(1))
    assert result.input_id is UNSET
    assert b"input_id" not in msgspec.json.encode(result)


def test_a_model_whose_rows_cannot_be_told_apart_runs_them_one_by_one():
    class Summing(DoublingEngine):
        def infer(self, tensors):
            return {"y": super().infer(tensors)["y"].sum(keepdims=True)}

    pipeline = Pipeline(Summing(), Preparation(NumbersPreprocessor()), as_numbers, ResultBuilder(IDENTITY))
    assert values(pipeline.process(sample([1, 2]))) == [2.0, 4.0]


def test_a_window_that_is_not_full_gives_nothing(engine):
    class Never(NumbersPreprocessor):
        def __call__(self, s):
            return None

    assert Pipeline(engine, Preparation(Never()), as_numbers, ResultBuilder(IDENTITY)).process(sample(1)) == []


def test_times_have_microseconds_in_utc():
    assert timestamp(0) == "1970-01-01T00:00:00.000000Z"
    assert timestamp(1_000) == "1970-01-01T00:00:00.000001Z"


def test_quantised_tensors_are_scaled_by_their_own_scale_and_zero_point():
    from edge.data.tensor import Quantization, TensorSpec, dequantize, quantize

    spec = TensorSpec("x", "int8", (1, 3), Quantization(0.5, -10))
    assert quantize(np.array([0.0, 1.0, 1000.0]), spec).tolist() == [-10, -8, 127]
    assert dequantize(np.array([-10, -8, 127], dtype=np.int8), spec).tolist() == [0.0, 1.0, 68.5]


def test_an_autoencoder_of_a_quantised_picture_is_compared_in_real_values():
    class Echo(DoublingEngine):
        def __init__(self):
            super().__init__()
            self.inputs = (TensorSpec("x", "uint8", (1, 2), Quantization(0.5, 10)),)
            self.outputs = (TensorSpec("y", "uint8", (1, 2), Quantization(0.25, 0)),)

        def infer(self, tensors):
            return {"y": np.array([[8, 12]], np.uint8)}  # 2.0 and 3.0

    class Pixels(NumbersPreprocessor):
        def __call__(self, sample):
            return ModelInput({"x": np.array([[14, 20]], np.uint8)})  # 2.0 and 5.0

    manifest = Manifest(
        name="m", task="anomaly", inputs=(Input(name="x"),), outputs=(Output(name="y", role="reconstruction"),)
    )
    engine = Echo()
    made = Pipeline(engine, Preparation(Pixels()), anomaly.create(manifest, engine.outputs), ResultBuilder(IDENTITY))
    (found,) = made.process(sample(1))
    assert found.predictions[0].score == 2.0


class LendingPreprocessor(NumbersPreprocessor):
    """Its tensors come back."""

    def __init__(self):
        self.events = []

    def __call__(self, sample):
        given = super().__call__(sample)
        return msgspec.structs.replace(given, release=lambda: self.events.append(f"{sample.payload} back"))


def test_tensors_are_released_once_when_all_have_seen_them(engine):
    lender = LendingPreprocessor()

    def watch(result, outputs, given):
        lender.events.append(f"{given.tensors['x'][0, 0]:g} seen")

    pipeline = Pipeline(
        engine, Preparation(lender, now=lambda: 0), as_numbers, ResultBuilder(IDENTITY), Stages(watches=(watch,))
    )
    pipeline.run(pipeline.prepare([sample(1), sample("x"), sample(-2), sample(3)]))
    assert lender.events == ["1 seen", "3 seen", "1 back", "-2 back", "3 back"]


def test_what_follows_is_given_each_part_of_a_batch(engine):
    seen = []

    def follow(sample, result, frame):
        seen.append(sample.payload)
        return result

    pipeline = Pipeline(
        engine, Preparation(NumbersPreprocessor()), as_numbers, ResultBuilder(IDENTITY), Stages(follows=(follow,))
    )
    pipeline.process(sample([1, 2, 3]))
    assert seen == [1, 2, 3]


def test_each_stage_is_given_what_the_one_before_it_made_and_the_others_see_what_is_published(engine):
    seen = []

    def add(text):
        return lambda sample, result, frame: msgspec.structs.replace(result, task=result.task + text)

    stages = Stages(
        (add(" one"), add(" two")),
        (lambda result, outputs, given: seen.append(result.task),) * 2,
        lambda payload, frame, result: seen.append(result.task),
    )
    pipeline = Pipeline(engine, Preparation(NumbersPreprocessor()), as_numbers, ResultBuilder(IDENTITY), stages)
    (result,) = pipeline.process(sample(1))
    assert result.task == "regress one two"
    assert seen == [result.task] * 3


def test_where_what_follows_takes_long_no_sample_waits_for_many_others(engine):
    passed_ns = [0]

    def follow(sample, result, frame):
        passed_ns[0] += TOGETHER_NS
        return result

    pipeline = Pipeline(engine, Preparation(NumbersPreprocessor(), now=lambda: 0), as_numbers, ResultBuilder(IDENTITY))
    pipeline.process(sample([1, 2]))
    assert pipeline.batching.at_once > 1

    slow = Pipeline(
        engine,
        Preparation(NumbersPreprocessor(), now=lambda: passed_ns[0]),
        as_numbers,
        ResultBuilder(IDENTITY),
        Stages(follows=(follow,)),
    )
    slow.process(sample([1, 2]))
    assert (slow.followed_at_once, slow.batching.at_once) == (1, 1)


@pytest.mark.parametrize(
    ("head", "task", "role", "shape"),
    [
        (anomaly, "anomaly", "score", (1, 0)),
        (anomaly, "anomaly", "map", (1, 1, 0, 8)),
        (heatmaps, "keypoints", "heatmaps", (1, 17, 0, 48)),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_an_output_without_values_skips_the_input_and_is_named(head, task, role, shape):
    class Empty(DoublingEngine):
        def infer(self, tensors):
            return {"out": np.zeros(shape, np.float32)}

    output = Output(name="out", role=role)
    manifest = Manifest(name="m", task=task, inputs=(Input(name="x", kind="tensor"),), outputs=(output,))
    decode = head.create(manifest, (TensorSpec("out", "float32", (1, *[None] * (len(shape) - 1))),))
    (outcome,) = Pipeline(Empty(), Preparation(NumbersPreprocessor()), decode, ResultBuilder(IDENTITY)).process(
        sample(1)
    )

    assert "'out'" in outcome.reason
