"""The system's clocks, and whether the kernel calls its clock synchronised."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from edge.telemetry import clock as clocks
from edge.telemetry.clock import STA_UNSYNC, TIME_ERROR, ClockSync, SystemClock, Timex, kernel_status
from edge.testing.fakes import FakeClock


def test_the_kernels_answer_is_cached_for_some_seconds():
    clock, asked = FakeClock(), []

    def ask() -> tuple[int, int]:
        asked.append(1)
        return (0, 0)

    synced = ClockSync(clock, ask)
    assert all(synced() for _ in range(100))
    assert len(asked) == 1
    clock.advance(5.1)
    synced()
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("answer", "synced"),
    [((0, 0), True), ((0, 0x2001), True), ((0, STA_UNSYNC), False), ((TIME_ERROR, 0), False), (None, False)],
)
def test_synced_is_what_the_kernel_says_and_false_where_it_says_nothing(answer, synced):
    assert ClockSync(FakeClock(), lambda: answer)() is synced


def test_a_clock_that_gets_synced_is_noticed_and_so_is_one_that_loses_it():
    clock, answers = FakeClock(), [(TIME_ERROR, STA_UNSYNC), (0, 0), (TIME_ERROR, STA_UNSYNC)]
    synced = ClockSync(clock, lambda: answers.pop(0))
    seen = []
    for _ in range(3):
        seen.append(synced())
        clock.advance(6)
    assert seen == [False, True, False]


def test_this_kernel_answers_something_it_can_answer():
    answer = kernel_status()
    assert answer is not None
    assert answer[0] in range(6)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc tells where the kernel puts what we read")
def test_the_structure_is_laid_out_as_the_c_compiler_does(tmp_path: Path):
    names = ["offset", "status", "constant", "tick", "shift", "stabil", "tai"]
    prints = "".join(f'printf("%zu ", offsetof(struct timex, {n}));' for n in names)
    source = tmp_path / "layout.c"
    source.write_text(
        f"#include <stddef.h>\n#include <stdio.h>\n#include <sys/timex.h>\n"
        f'int main(void) {{ {prints} printf("%zu", sizeof(struct timex)); }}'
    )
    subprocess.run(["gcc", "-o", tmp_path / "layout", source], check=True)
    told = subprocess.run([tmp_path / "layout"], check=True, capture_output=True, text=True).stdout
    ours = [getattr(Timex, n).offset for n in names]
    assert [int(word) for word in told.split()] == [*ours, clocks.ctypes.sizeof(Timex)]


def test_the_system_clock_never_runs_backwards():
    clock = SystemClock()
    first = clock.monotonic_ns()
    assert clock.monotonic_ns() >= first
    assert clock.time_ns() > 1_600_000_000 * 10**9


def test_a_wait_for_a_core_between_the_two_clocks_makes_no_time_of_its_own_too_short_or_long(monkeypatch):
    class Waited:
        """Counts 100 ns of waiting between the first look and the second."""

        looks = iter([b"5 0 1", b"5 100 2", b"5 100 2"])

        def read_bytes(self) -> bytes:
            return next(self.looks)

    now_ns = iter([1000, 1200])
    monkeypatch.setattr(clocks, "WAITED", Waited())
    monkeypatch.setattr(clocks.time, "perf_counter_ns", lambda: next(now_ns))
    assert clocks.own_ns() == 1200 - 100
