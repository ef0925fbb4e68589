from __future__ import annotations

import pytest

from edge.cli.bench import usual_threads
from edge.errors import ModelError
from edge.tools.bench import rounds, table
from edge.tools.bench.figures import Answer, Case, Round, median

ONE, TWO = Case("m.onnx", "cpu", 1), Case("m.onnx", "cpu", 2)


def figures(p50_ms=1.0, **more):
    usual = {"p99_ms": 2.0, "per_second": 900.0, "cpu_ms": 1.0, "memory_mb": 50.0, "load_ms": 9.0, "runs": 10}
    return Round(p50_ms=p50_ms, **{**usual, **more})


class Children:
    """Answers in order, by combination; remembers who was asked for how long."""

    def __init__(self, **answers):
        self.asked = []
        self._answers = {k: list(v) for k, v in answers.items()}

    def __call__(self, request):
        self.asked.append((request.case, request.seconds))
        answer = self._answers[request.case.provider].pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Answer(round=answer)


def test_combinations_take_turns_and_share_the_seconds():
    children = Children(cpu=[figures()] * 4)
    steps = []
    rounds.measure([ONE, TWO], seconds=3.0, rounds=2, step=steps.append, ask=children)
    assert children.asked == [(ONE, 1.5), (TWO, 1.5), (ONE, 1.5), (TWO, 1.5)]
    assert steps[0] == "round 1: m.onnx, cpu, threads 1"
    assert len(steps) == 4


def test_one_round_that_was_disturbed_does_not_count():
    children = Children(cpu=[figures(1.0), figures(80.0), figures(1.2)])
    (row,), broken = rounds.measure([ONE], seconds=3.0, rounds=3, step=lambda _: None, ask=children)
    assert row.median.p50_ms == 1.2
    assert row.median.runs == 30
    assert not broken


def test_a_provider_that_cannot_take_the_model_is_left_out_and_not_asked_again():
    acl = Case("m.onnx", "acl", 1)
    children = Children(cpu=[figures()] * 2, acl=[ModelError("no such operator")])
    rows, broken = rounds.measure([acl, ONE], seconds=1.0, rounds=2, step=lambda _: None, ask=children)
    assert [row.case for row in rows] == [ONE]
    assert broken == {acl: "no such operator"}


@pytest.mark.parametrize(("cores", "tried"), [(1, [1]), (2, [1, 2]), (4, [1, 2, 4]), (6, [1, 2, 4, 6])])
def test_thread_counts_double_up_to_the_cores(cores, tried):
    assert usual_threads(cores) == tried


def test_each_figure_has_a_median_of_its_own():
    row = median(ONE, [figures(1.0, cpu_ms=9.0), figures(2.0, cpu_ms=8.0), figures(3.0, cpu_ms=1.0)])
    assert (row.median.p50_ms, row.median.cpu_ms) == (2.0, 8.0)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.00912, "0.00912"), (0.0336, "0.0336"), (0.217, "0.217"), (1.234, "1.23"), (45.67, "45.7"), (12345.6, "12346")],
)
def test_three_digits_of_a_figure_are_shown(value, text):
    assert table.number(value) == text
