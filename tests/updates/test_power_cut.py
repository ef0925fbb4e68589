"""The folder of the updates on a disk that is cut off at any moment of an update.

`support/powercut.py` says what its power cut is and what it cannot show.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from support.powercut import PowerCut, build_shim, read_log

from edge.model import container
from edge.updates import state
from edge.updates.store import UpdateStore

UPDATE = """
import os, sys
from pathlib import Path
from edge.model.container import sha256
from edge.updates import state
from edge.updates.state import Slot, State
from edge.updates.store import UpdateStore

store = UpdateStore(Path(sys.argv[1]) / "d.m.updates", sha256)
store.open()
for number, content in enumerate((b"one" * 1000, b"two" * 1000, b"three" * 1000)):
    staged = store.staging / "new.part"
    with staged.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    slot = Slot(sha256(staged), str(number))
    store.enter(state.found(store.state, slot, 0.0))
    store.enter(state.downloaded(store.state, 0.0))
    assert store.install(staged, slot)
    store.enter(state.proves(store.state, 0.0))
    if number == 0:
        store.enter(state.adopts(store.state, 0.0))
    else:
        store.enter(state.switches(store.state, "", None, 0.0))
        store.enter(state.begin(store.state, 0.0))
        store.enter(state.confirms(store.state, 0.0) if number == 1 else state.refuse(store.state, "no", 0.0))
    store.sweep()
"""


@pytest.fixture(scope="module")
def changes(tmp_path_factory):
    """Every change that three updates make to the disk: the first model, one that is confirmed, one that is not."""
    folder = tmp_path_factory.mktemp("cut")
    root = folder / "disk"
    root.mkdir()
    shim = build_shim(folder)
    env = {
        **os.environ,
        "LD_PRELOAD": str(shim),
        "DISKSHIM_ROOT": str(root),
        "DISKSHIM_LOG": str(folder / "log"),
        "DISKSHIM_FAIL": str(folder / "fail"),
    }
    subprocess.run([sys.executable, "-c", UPDATE, str(root)], env=env, check=True)
    return root, read_log(folder / "log")


@pytest.mark.parametrize("seed", range(3))
def test_after_a_power_cut_at_any_moment_the_model_that_is_named_is_there_whole(changes, tmp_path, seed):
    root, log = changes
    rng, cut = random.Random(seed), PowerCut(log, root)
    confirmed = 0
    for until in range(len(log) + 1):
        left = tmp_path / "left"
        cut.leave(until, left, rng)
        folder = left / "d.m.updates"
        if not folder.is_dir():
            continue
        store = UpdateStore(folder, container.sha256)
        store.read()
        assert not list(folder.glob("*.damaged")), f"after {until} of {len(log)} changes"
        at = state.begin(store.state, 0.0)
        confirmed = max(confirmed, int(at.confirmed.version) + 1 if at.confirmed is not None else 0)
        for slot in (at.confirmed, at.running):
            assert slot is None or store.holds(slot), f"{slot} after {until} of {len(log)} changes"

    assert confirmed == 2


def test_an_update_is_a_handful_of_writes(changes):
    """What an SD card lives on: the state's own, beside the model's file."""
    _, log = changes
    states = [c for c in log if c.kind == "r" and Path(c.to).name == "update.json"]

    assert len(states) == 4 + 6 + 6
