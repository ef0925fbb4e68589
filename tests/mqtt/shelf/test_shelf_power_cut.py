"""Inputs on disk at a power cut: `support/powercut.py` says what that is, and what it cannot show."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from support import shelfchild
from support.fed import payloads
from support.powercut import PowerCut, build_shim, read_log
from support.shelving import Shared

from edge.testing.fakes import FakeClock


@pytest.mark.parametrize(
    ("seed", "cuts"), [(0, 25), *(pytest.param(n, 100, marks=pytest.mark.long) for n in range(1, 4))]
)
def test_an_input_that_was_acknowledged_and_is_not_safe_comes_again_whenever_the_power_goes(tmp_path, seed, cuts):
    disk, log = tmp_path / "disk", tmp_path / "log"
    disk.mkdir()
    marks = disk / "marks"
    shim = {"LD_PRELOAD": str(build_shim(tmp_path)), "DISKSHIM_ROOT": str(disk), "DISKSHIM_LOG": str(log)}
    environ = {**os.environ, **shim, "PYTHONPATH": str(Path(shelfchild.__file__).parents[1])}
    command = [sys.executable, shelfchild.__file__, disk / "inputs.spool", marks, str(seed), "400"]
    subprocess.run(command, env=environ, check=True)
    changes, rng = read_log(log), random.Random(seed)
    cut, left, looked = PowerCut(changes, disk), tmp_path / "left", 0
    moments = set(rng.sample(range(1, len(changes) + 1), cuts))
    acked, safe = set[int](), set[int]()
    for number, change in enumerate(changes, start=1):
        if change.kind == "w" and change.path == str(marks):
            word, _, mid = change.data.decode().partition(" ")
            (acked if word == "acked" else safe).add(int(mid))
        if number not in moments:
            continue
        cut.leave(number, left, rng)
        session = Shared()
        run = shelfchild.life(session, FakeClock(), left / "inputs.spool")
        found = []
        while (session.turn(), come := payloads(run.source))[1]:
            found += come
        run.spool.close()
        numbers = [int(one.split()[0]) for one in found]
        assert acked - safe <= set(numbers), f"cut at {number}: lost {sorted(acked - safe - set(numbers))}"
        assert numbers == sorted(set(numbers)), f"cut at {number}: out of order"
        assert found == [shelfchild.payload(one) for one in numbers]
        looked += len(acked - safe)
    assert looked > 10 * cuts
