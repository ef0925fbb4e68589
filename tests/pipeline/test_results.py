"""What a result and a skipped sample say of themselves, as they are published."""

from __future__ import annotations

import pytest
from msgspec import UNSET

from edge.data.result import ModelRef, Regression, Result, Skipped, Timing
from edge.data.sample import Sample
from edge.pipeline.results import Identity, ResultBuilder, timing

MODEL = ModelRef("pump", "2", "00ff")
IDENTITY = Identity("line3", MODEL, "regress", "5f0c9a1e")
TIME_NS = 1_700_000_000_123_456_789
TIMING = Timing(0.1, 0.2, 0.3)
FOUND = [Regression("flow", 2.5)]


@pytest.fixture
def builder():
    return ResultBuilder(IDENTITY, lambda: True)


def test_a_result_says_who_made_it_of_what_and_when(builder):
    sample = Sample([1], "mqtt:plant/pump3/data", 0, TIME_NS)
    assert builder.result(sample, tuple(FOUND), TIMING, synced=False, input_id="a7") == Result(
        schema=1,
        id="line3/pump/5f0c9a1e/1",
        time="2023-11-14T22:13:20.123456Z",
        clock_synced=False,
        device="line3",
        model=MODEL,
        source="mqtt:plant/pump3/data",
        seq=1,
        task="regress",
        predictions=FOUND,
        timing_ms=TIMING,
        input_id="a7",
    )


@pytest.mark.parametrize(("retained", "said"), [(True, True), (False, UNSET)])
def test_that_the_broker_had_retained_an_input_is_said_where_it_is_so(builder, retained, said):
    sample = Sample([1], "mqtt:t", 0, TIME_NS, retained=retained)
    assert builder.result(sample, FOUND, TIMING, synced=True, input_id=UNSET).retained is said


def test_a_skipped_sample_has_a_number_of_the_same_row_and_says_why(builder):
    sample = Sample([1], "camera:0", 0, TIME_NS)
    builder.result(sample, FOUND, TIMING, synced=True, input_id=UNSET)
    assert builder.skipped(sample, "not a picture", input_id=7) == Skipped(
        schema=1,
        id="line3/pump/5f0c9a1e/2",
        time="2023-11-14T22:13:20.123456Z",
        device="line3",
        model="pump",
        source="camera:0",
        seq=2,
        reason="not a picture",
        input_id=7,
    )


def test_numbers_that_were_reserved_are_nobody_elses(builder):
    sample = Sample([1], "camera:0", 0, TIME_NS)
    first = builder.reserve(3)
    later = builder.result(sample, FOUND, TIMING, synced=True, input_id=UNSET)
    held = builder.result(sample, FOUND, TIMING, synced=True, input_id=UNSET, seq=first + 2)
    assert (first, later.seq, held.seq, held.id) == (1, 4, 3, "line3/pump/5f0c9a1e/3")


def test_times_are_milliseconds_to_the_microsecond():
    assert timing(1_234_567, 2_000_999, 999) == Timing(1.234, 2.0, 0.0)
