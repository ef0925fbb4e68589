"""Models that remember: each sequence of requests has a memory of its own, and a request of none leaves nothing."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from onnx import helper
from support import onnxmodels
from support.http import tensor

from edge.app import assembly
from edge.http import sequences
from edge.http.http_types import Refusal
from edge.http.sequences import Sequence, Sequences
from edge.model.manifest import Feature, Input, Window
from edge.testing.fakes import FakeClock


@pytest.fixture
def adder(serve, models):
    """`sum` is `x` and all that came before it."""
    x, held = (onnxmodels.info(n, "float32", (1, 1)) for n in ("x", "held"))
    total, again = (onnxmodels.info(n, "float32", (1, 1)) for n in ("sum", "next"))
    nodes = [helper.make_node("Add", ["x", "held"], ["sum"]), helper.make_node("Identity", ["sum"], ["next"])]
    loaded = assembly.load_file(onnxmodels.save(models / "adder.onnx", nodes, [x, held], [total, again]))
    inputs = (
        Input(name="x", kind="table", dtype="float32", shape=(1, 1), features=(Feature(name="x"),)),
        Input(name="held", dtype="float32", shape=(1, 1), state_from="next"),
    )
    return serve(replace(loaded, manifest=replace(loaded.manifest, inputs=inputs, task="raw")))


@pytest.fixture
def windows(serve, models):
    """A window of three rows of one number."""
    loaded = assembly.load_file(onnxmodels.identity(models / "windows.onnx", shape=(1, 3)))
    window = Window(size=3, hop=1)
    row = Input(name="x", kind="table", dtype="float32", shape=(1, 3), features=(Feature(name="a"),), window=window)
    return serve(replace(loaded, manifest=replace(loaded.manifest, inputs=(row,), task="raw")))


def infer(site, value, **parameters):
    return site.infer({"inputs": [tensor("x", [[value]], "FP32")], "parameters": parameters})


def total(answer):
    assert answer.status == 200, answer.body
    return {o["name"]: o["data"][0] for o in answer.json["outputs"]}["sum"]


# --- by tensors --------------------------------------------------------------------------------------------


def test_two_sequences_of_tensors_share_nothing(adder):
    first = total(infer(adder, 1, sequence_id="a", sequence_start=True))
    other = total(infer(adder, 10, sequence_id=7, sequence_start=True))
    second = total(infer(adder, 2, sequence_id="a"))
    third = total(infer(adder, 3, sequence_id="a", sequence_end=True))

    assert (first, other, second, third) == (1, 10, 3, 6)
    assert total(infer(adder, 5, sequence_id=7)) == 15


def test_a_sequence_that_has_ended_or_never_began_is_no_memory_of_zeros(adder):
    infer(adder, 1, sequence_id="a", sequence_start=True, sequence_end=True)

    for name in ("a", "b"):
        answer = infer(adder, 1, sequence_id=name)
        assert (answer.status, "sequence_start" in answer.error) == (400, True)


def test_a_client_may_hold_the_states_itself(adder):
    request = {"inputs": [tensor("x", [[1]], "FP32"), tensor("held", [[41]], "FP32")]}

    assert total(adder.infer(request)) == 42
    assert adder.infer({"inputs": [tensor("x", [[1]], "FP32")]}).status == 400
    assert "sequence(string_id)" in adder.get("/v2").json["extensions"]


@pytest.mark.parametrize(
    "parameters",
    [{"sequence_id": True}, {"sequence_id": [1]}, {"sequence_id": "x" * 200}, {"sequence_start": True},
     {"sequence_id": "a", "sequence_start": "yes"}, {"sequence_id": "a", "sequence_start": 1.5}],
)  # fmt: skip
def test_parameters_of_a_sequence_that_mean_nothing_are_refused(adder, parameters):
    assert infer(adder, 1, **parameters).status == 400


# --- by samples --------------------------------------------------------------------------------------------


def predict(site, body, query=""):
    return site.post(f"/predict{query}", body)


def test_a_window_fills_within_its_sequence(windows):
    first = predict(windows, {"a": 1}, "?sequence_id=s&sequence_start=1")
    predict(windows, {"a": 100}, "?sequence_id=t&sequence_start=1")
    predict(windows, {"a": 2}, "?sequence_id=s")
    full = predict(windows, {"a": 3}, "?sequence_id=s&sequence_end=1")

    assert first.status == 202
    assert full.json["predictions"][0]["data"] == [1, 2, 3]
    assert predict(windows, {"a": 4}, "?sequence_id=s").status == 400


def test_requests_of_no_sequence_leave_no_memory_to_the_next(windows):
    rows = [{"a": n} for n in range(3)]

    assert predict(windows, rows).json[0]["predictions"][0]["data"] == [0, 1, 2]
    answers = [predict(windows, {"a": n}) for n in range(5)]

    assert [a.status for a in answers] == [202] * 5
    assert "sequence_id" in answers[0].json["reason"]


def test_states_follow_the_rows_of_one_request(adder):
    def sums(answer):
        return [r["predictions"][0]["data"][0] for r in answer.json]

    assert sums(predict(adder, [{"x": 1}, {"x": 2}])) == [1, 3]
    assert sums(predict(adder, [{"x": 1}, {"x": 2}])) == [1, 3]


# --- bounds ------------------------------------------------------------------------------------------------


def begun(known, name):
    with known.turn(Sequence(name, start=True)) as memory:
        memory.append(name)


def test_more_sequences_than_there_is_room_for_are_told_to_come_again():
    known: Sequences[list[str]] = Sequences(list, FakeClock())
    for number in range(sequences.SEQUENCES_MOST):
        begun(known, str(number))

    with pytest.raises(Refusal, match="try again"):
        begun(known, "one more")
    with known.turn(Sequence("3", end=True)):
        pass
    begun(known, "one more")


def test_a_sequence_that_idles_is_forgotten_and_says_so():
    clock = FakeClock()
    known: Sequences[list[str]] = Sequences(list, clock)
    begun(known, "idle")
    clock.advance(sequences.IDLE_S / 2)
    begun(known, "used")
    clock.advance(sequences.IDLE_S / 2 + 1)

    with known.turn(Sequence("used")) as memory:
        assert memory == ["used"]
    with pytest.raises(Refusal, match="idle"), known.turn(Sequence("idle")):
        pass


# --- a memory of the engine's own -------------------------------------------------------------------------


@pytest.fixture
def summing(models):
    """The sum of all `x` so far, which the engine itself keeps."""
    tinytflite = pytest.importorskip("support.tinytflite", reason="needs ai-edge-litert", exc_type=ImportError)
    file = models / "summing.tflite"
    file.write_bytes(tinytflite.running_sum())
    return file


def given_x(site, *values, **parameters):
    name = site.loaded.engine.inputs[0].name
    return site.infer({"inputs": [tensor(name, [[v] for v in values], "FP32")], "parameters": parameters})


def test_a_memory_of_the_engine_s_own_is_empty_at_each_request(serve, summing):
    site = serve(summing)

    assert [given_x(site, 5).json["outputs"][0]["data"] for _ in range(2)] == [[5], [5]]
    rows = [site.post("/predict", [[1.0], [2.0]]).json for _ in range(2)]
    assert [[r["predictions"][0]["value"] for r in answer] for answer in rows] == [[1, 3]] * 2


def test_sequences_are_refused_where_the_engine_has_one_memory(serve, summing):
    site = serve(summing)

    for answer in (
        given_x(site, 5, sequence_id=1, sequence_start=True),
        site.post("/predict?sequence_id=1&sequence_start=1", [1.0]),
    ):
        assert (answer.status, "cannot be told apart" in answer.error) == (400, True)


def test_beside_a_flow_that_uses_the_memory_requests_are_refused(serve, summing):
    site = serve(summing, source="mqtt:in")

    for answer in (given_x(site, 5), site.post("/predict", [1.0]), site.post("/invocations", [[1.0]])):
        assert (answer.status, "mqtt:in" in answer.error) == (501, True)
