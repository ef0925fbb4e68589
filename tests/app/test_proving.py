"""A new model loaded for the first time, on a device that has memory for it, and on one that has not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle

import pytest
from support.updating import write_model

from edge.app import proving
from edge.settings import layers
from edge.telemetry import memory
from edge.testing.fakes import FakeClock
from edge.updates.gates import Limits


@pytest.mark.parametrize(("left", "again"), [(20_000_000, True), (10_000_000_000, False)])
def test_a_model_that_does_not_load_while_memory_is_short_is_put_off_and_not_refused_for_good(
    tmp_path, monkeypatch, left, again
):
    old, new = write_model(tmp_path / "m1.onnx", "1"), tmp_path / "m2.onnx"
    new.write_bytes(b"what an engine says of this is what it says where it gets no memory")
    monkeypatch.setattr(memory, "available", lambda: left)
    proof = proving.prove(layers.read(["--model", str(old), "--mqtt", "none", "--http", "0"], {}, "0"), new, old)

    assert "m2.onnx" in proof.reason
    assert (proof.again, "while memory was short: 20 MB would stay free" in proof.reason) == (again, again)


def takes(clock: FakeClock, ms: float, others: Iterator[float]) -> Callable[[], None]:
    """An inference of so many milliseconds, and of those that others take from it on a busy machine."""
    return lambda: clock.advance((ms + next(others)) / 1000)


def compared(old_ms: float, new_ms: float, *others: float) -> tuple[proving.Proof, float]:
    """What is said, and after how many seconds."""
    clock, busy = FakeClock(), cycle(others)
    began_ns = clock.monotonic_ns()
    found = proving.compared(
        takes(clock, new_ms, busy), takes(clock, old_ms, busy), Limits(), clock, clock.monotonic_ns
    )
    return found, (clock.monotonic_ns() - began_ns) / 1e9


def test_a_model_that_is_slower_is_refused_however_busy_the_machine_is_if_it_has_a_core_now_and_then():
    """Its median says nothing here: what others take is ten times as long as the model."""
    busy = 90.0, 250.0, 130.0, 110.0, 170.0, 0.0, 140.0, 80.0, 200.0, 0.0, 60.0, 300.0, 150.0
    found, _ = compared(10.0, 25.0, *busy)
    alike, _ = compared(10.0, 11.0, *busy)

    assert "takes 25 ms, of the model that runs 10 ms: 2.5 times as long" in found.reason
    assert alike == proving.Proof()


def test_where_a_machine_is_too_busy_to_tell_it_is_measured_on_and_said_with_what_was_seen():
    found, seconds = compared(10.0, 25.0, *(20.0 * n * n for n in range(1, 50)))

    assert found.reason == ""
    assert found.note.startswith("latency is not compared: the fastest 3 of ")
    assert "the machine is too busy, or they are too near to --updates-latency 1.5" in found.note
    assert proving.MOST_S < seconds < 2 * proving.MOST_S


def test_a_model_that_takes_seconds_is_judged_by_the_few_inferences_there_is_time_for():
    few, _ = compared(1000.0, 5000.0, 0.0)
    fewer, _ = compared(10_000.0, 50_000.0, 0.0)

    assert "5 times as long" in few.reason
    assert fewer.note == "latency is not compared: there was time for 1 inferences of each, 3 are needed"
