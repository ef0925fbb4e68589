"""The folder of the updates on a disk that is cut off at any moment of an update.

`support/powercut.py` says what its power cut is and what it cannot show.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.powercut import PowerCut, build_shim, read_log
from support.updating import Fleet, write_model

from edge.model import identity
from edge.updates import order, seen, state, trust
from edge.updates.store import UpdateStore

UPDATE = """
import os, sys
from pathlib import Path
from edge.model.identity import sha256
from edge.updates import order, seen, state, trust
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
        store = UpdateStore(folder, identity.sha256)
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


CHECKS = """
import sys
from pathlib import Path
from edge.storage.lock import make_folder
from edge.updates import order, trust
for line in sys.stdin.buffer:
    asked = order.decode_order(line)
    make_folder(asked.folder)
    assert trust.ask(asked).fault is None
"""


@pytest.fixture(scope="module")
def checked(tmp_path_factory, made):
    """Every change that two checks make to the disk, with a new version and new keys between them; and the repository
    as it was at each."""
    folder = tmp_path_factory.mktemp("checks")
    first, root = Fleet(shutil.copytree(made / "fleet", folder / "first")), folder / "disk"
    second = Fleet(shutil.copytree(made / "fleet", folder / "second"))
    second.add(write_model(folder / "m2.onnx", "2"), "2")
    second.repository.rotate([], lost=False)
    root.mkdir()
    env = {
        **os.environ,
        "LD_PRELOAD": str(build_shim(folder)),
        "DISKSHIM_ROOT": str(root),
        "DISKSHIM_LOG": str(folder / "log"),
        "DISKSHIM_FAIL": str(folder / "fail"),
    }
    orders = [order.encode(fleet.order(root / "device", root=first.root)) for fleet in (first, second)]
    subprocess.run([sys.executable, "-c", CHECKS], input=b"".join(orders), env=env, check=True)
    return root, read_log(folder / "log"), first, second


def test_after_a_power_cut_in_a_check_the_next_one_goes_on_and_goes_by_nothing_that_was_not_verified(checked, tmp_path):
    root, log, first, second = checked
    rng, cut, old = random.Random(1), PowerCut(log, root), first.newest("timestamp").read_bytes()
    went = set()
    for until in (*range(1, len(log), 4), len(log)):
        left = tmp_path / "left"
        cut.leave(until, left, rng)
        device = left / "device"
        if not device.is_dir():
            continue
        for fleet in (first, second):
            asked = fleet.order(device, root=first.root, synced=False)
            if (known := seen.kept(asked)) is not None:
                at = {version.version for version in known.releases}
                went.add(tuple(sorted(at)))
                kept = seen.timestamp_of(device).read_bytes()
                assert at == ({"1"} if kept == old else {"1", "2"}), f"after {until} of {len(log)} changes"
        assert trust.ask(second.order(device, root=first.root)).release.version == "2"

    assert went == {("1",), ("1", "2")}
