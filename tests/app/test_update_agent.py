"""The thread that follows a repository, a check at a time, on a disk that fails at any of its writes."""

from __future__ import annotations

import errno
import gc
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.processes import PATIENCE_S, until
from support.updating import Fleet, RangeServer, write_model

from edge.app import loading
from edge.app.build import build
from edge.app.update_agent import UpdateAgent
from edge.app.update_children import UpdateChildren
from edge.errors import SampleError
from edge.model import identity
from edge.settings import layers
from edge.settings.settings import Settings
from edge.storage import atomic
from edge.tools.fleet.repository import About
from edge.updates import state, trust
from edge.updates.order import Answer
from edge.updates.state import Slot, State
from edge.updates.store import UpdateStore


class Disk:
    """Full from a write on, until there is room again."""

    def __init__(self) -> None:
        self.left = -1

    def write(self, path: Path, data: bytes) -> None:
        if self.left == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.left -= self.left > 0
        atomic.write(path, data)


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def fleet(tmp_path) -> Fleet:
    """With version 1 of a model, for all devices."""
    fleet = Fleet(tmp_path / "fleet")
    fleet.add(write_model(tmp_path / "m1.onnx", "1"), "1")
    return fleet


@pytest.fixture
def store(tmp_path, disk):
    """Where a device keeps its state."""
    store = UpdateStore(tmp_path / "state" / "d.m.updates", identity.sha256, disk.write)
    store.open()
    yield store
    store.close()


def agent_of(fleet: Fleet, store: UpdateStore, uri: str) -> UpdateAgent:
    """Of a device that runs nothing yet."""
    flags = ["--model", "m@stable", "--updates", uri, "--updates-root", str(fleet.root), "--device", "d",
             "--state-dir", str(store.folder.parent)]  # fmt: skip
    return UpdateAgent(layers.read(flags, {}, "0"), store, "m", flags)


@pytest.fixture
def agent(fleet, store):
    return agent_of(fleet, store, fleet.uri), store


def worked_in(fleet: Fleet) -> list[Path]:
    """Folders in memory that a check of this repository, whose keys are its own, has left behind."""
    roots = trust.MEMORY.glob("edge-run-*/metadata/root_history/1.root.json")
    return [file for file in roots if file.read_bytes() == fleet.root.read_bytes()]


def adopt(store: UpdateStore) -> None:
    store.enter(state.adopts(store.state, 0.0))


@pytest.mark.parametrize("left", range(4))
def test_a_disk_that_is_full_at_a_write_puts_the_update_off_and_the_next_check_goes_on(agent, disk, left):
    agent, store = agent
    disk.left = left
    agent.check(lambda _: adopt(store))
    told = agent.told()
    disk.left = -1
    agent.check(lambda _: adopt(store))

    assert (told["state"], "No space left" in told["reason"]) == ("idle", True)
    assert store.state.confirmed.version == "1"
    assert store.holds(store.state.confirmed)


def test_garbage_is_looked_for_while_a_device_waits_for_its_first_model(agent):
    """A start goes without, and this one may take days."""
    agent, _ = agent
    gc.disable()
    try:
        agent.first()
        assert gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize(("holds", "phase"), [("timestamp", "idle"), ("/targets/", "downloading")])
def test_a_stop_while_the_repository_is_asked_is_no_trouble(fleet, store, caplog, holds, phase):
    with RangeServer(fleet.public) as server:
        server.holds = holds
        agent = agent_of(fleet, store, server.uri)
        asks = threading.Thread(target=agent.check, args=(lambda _: adopt(store),))
        asks.start()
        assert server.held.wait(PATIENCE_S)

        agent.stop()
        asks.join(PATIENCE_S)

    assert not asks.is_alive()
    assert worked_in(fleet) == []
    assert [r.getMessage() for r in caplog.records if r.levelname != "INFO"] == []
    assert (agent.told()["state"], agent.told()["reason"]) == (phase, "")


def test_a_model_that_is_not_loaded_beside_the_one_that_runs_is_judged_by_a_start_of_its_own(
    fleet, store, tmp_path, monkeypatch
):
    """It has passed its proof alone: what it lacks may be memory, and that is no fault of its own."""
    flags = f"--model {tmp_path}/m1.onnx --mqtt none --http 0 --device d --updates-interval 0.1".split()
    flags += ["--updates", fleet.uri, "--updates-root", str(fleet.root)]
    settings = layers.read(flags, {}, "0")
    agent = UpdateAgent(settings, store, "m", flags)
    app = build(settings, loading.open_model(settings), agent)
    fleet.add(write_model(tmp_path / "m2.onnx", "2", factor=5.0), "2")

    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(loading, "open_model", full)
    agent.start()
    until(lambda: app.stop.begins_again or app.stop.failure is not None, "the process is to begin anew")
    agent.stop()

    assert app.stop.failure is None
    assert (store.state.phase, store.state.candidate.version) == ("switching", "2")


def test_a_model_that_is_loaded_when_the_disk_is_full_goes_from_memory_again(fleet, store, disk, tmp_path, monkeypatch):
    flags = f"--model {tmp_path}/m1.onnx --mqtt mqtt://localhost:1 --device d --updates-interval 0.1".split()
    flags += ["--updates", fleet.uri, "--updates-root", str(fleet.root)]
    settings = layers.read(flags, {}, "0")
    agent = UpdateAgent(settings, store, "m", flags)
    app = build(settings, loading.open_model(settings), agent)
    fleet.add(write_model(tmp_path / "m2.onnx", "2"), "2")
    loaded, load = [], loading.open_model

    def kept(settings: Settings) -> loading.Loaded:
        loaded.append(load(settings))
        return loaded[-1]

    monkeypatch.setattr(loading, "open_model", kept)
    disk.left = 3  # it is proven, and not on trial
    agent.start()
    until(lambda: "No space left" in agent.told()["reason"], "the update is put off")
    agent.stop()
    app.parts[0].stop()

    assert agent.told()["state"] == "idle"
    with pytest.raises(SampleError, match="was closed"):
        loaded[0].engine.infer({"row": np.ones((1, 2), np.float32)})


def by_hand_flags(fleet, store, tmp_path) -> list[str]:
    flags = f"--model {tmp_path}/m1.onnx --http 0 --device d --updates-manual --mqtt mqtt://localhost:1".split()
    flags += ["--trial-time", "0"]
    return [*flags, "--updates", fleet.uri, "--updates-root", str(fleet.root), "--state-dir", str(store.folder.parent)]


def by_hand_settings(fleet, store, tmp_path):
    return layers.read(by_hand_flags(fleet, store, tmp_path), {}, "0")


@pytest.fixture
def by_hand(fleet, store, tmp_path):
    """The agent of a service that runs version 1, with --updates-manual; version 2 is there, with notes."""
    settings = by_hand_settings(fleet, store, tmp_path)
    agent = UpdateAgent(settings, store, "m", by_hand_flags(fleet, store, tmp_path))
    app = build(settings, loading.open_model(settings), agent)
    file = write_model(tmp_path / "m2.onnx", "2", factor=5.0)
    fleet.repository.add(file, "m", "2", "stable", share=10_000, about=About("n" * 300))
    yield agent
    agent.stop()
    app.parts[0].stop()


def test_a_version_that_waits_for_a_person_is_told_and_nothing_is_written_or_fetched(by_hand, store):
    began: list[object] = []
    by_hand.check(began.append)
    told = by_hand.told()

    assert (told["state"], told["from"], told["latest"], told["waiting"]) == ("idle", "1", "2", True)
    assert told["notes"] == "n" * 255
    assert (began, store.state, list(store.staging.iterdir())) == ([], state.State(), [])


def test_what_waits_is_installed_once_a_person_says_so_and_another_version_never(by_hand, store):
    not_yet = by_hand.install(None)
    by_hand.check(lambda _: None)

    assert "was not asked since the start, which takes 60 s at most: try again then" in not_yet
    assert "version 3 does not wait to be installed, version 2 does" in by_hand.install("3")
    by_hand.start()
    assert by_hand.install("2") == ""
    until(lambda: store.state.phase == "watching", "version 2 runs, and is watched")


def test_what_waited_before_a_restart_waits_at_once_and_can_be_installed(by_hand, store, fleet, tmp_path):
    by_hand.check(lambda _: None)
    settings = by_hand_settings(fleet, store, tmp_path)
    again = UpdateAgent(settings, store, "m", [])
    app = build(settings, loading.open_model(settings), again)
    told = again.told()
    app.parts[0].stop()

    assert (told["waiting"], told["latest"], told["notes"]) == (True, "2", "n" * 255)
    assert again.install("2") == ""


def test_what_a_person_has_begun_goes_on_after_a_start_without_being_asked_again(by_hand, store, disk):
    version_2 = by_hand.check(lambda _: None).release
    slot = state.Slot(version_2.sha256, "2")
    store.enter(state.later(state.found(store.state, slot, 0.0), "interrupted", 0.0))
    began: list[object] = []
    by_hand.check(began.append)

    assert began == [slot]


def test_the_model_that_runs_is_called_as_the_repository_calls_it(fleet, store, tmp_path):
    """Its manifest says version 1; `edge-fleet wait --version 9` waits for what the fleet was told."""
    flags = f"--model {tmp_path}/m1.onnx --mqtt none --http 0 --device d".split()
    flags += ["--updates", fleet.uri, "--updates-root", str(fleet.root)]
    settings = layers.read(flags, {}, "0")
    agent = UpdateAgent(settings, store, "m", flags)
    app = build(settings, loading.open_model(settings), agent)
    fleet.add(tmp_path / "m1.onnx", "9")
    before = agent.told()["running"]["version"]
    agent.check(lambda _: None)

    assert app.stop.failure is None
    assert (before, agent.told()["running"]["version"]) == ("1", "9")


def test_a_watch_that_has_seen_enough_waits_for_no_server_that_is_asked_meanwhile(fleet, store, tmp_path, monkeypatch):
    flags = f"--model {tmp_path}/m1.onnx --mqtt none --http 0 --device d --updates-interval 0.1".split()
    flags += ["--updates", fleet.uri, "--updates-root", str(fleet.root), "--trial-time", "0"]
    flags += ["--updates-watch-time", "2", "--updates-watch-samples", "0"]
    settings = layers.read(flags, {}, "0")
    watched = Slot(identity.sha256(tmp_path / "m1.onnx"), "1", ".onnx")
    store.enter(State(phase="watching", candidate=watched))
    agent = UpdateAgent(settings, store, "m", flags)
    build(settings, loading.open_model(settings), agent)
    held = []

    def slow(_: UpdateChildren, *asked: Any, over: Callable[[], bool]) -> Answer:
        held.append((store.state.phase, agent.told()["reason"]))
        if len(held) > 1:
            return Answer()
        until(over, "nobody waits for the answer")
        return Answer(fault="away", reason="it was ended")

    monkeypatch.setattr(UpdateChildren, "ask", slow)
    agent.start()
    until(lambda: len(held) > 1, "what is watched is confirmed, and the server asked again")
    agent.stop()

    assert held[:2] == [("watching", ""), ("confirmed", "")]


def test_what_is_asked_of_a_server_ends_where_nobody_waits_for_it_any_more(fleet, store):
    words = ["--model", "m@stable", "--updates-root", str(fleet.root), "--device", "d"]
    over, answers = threading.Event(), []
    with RangeServer(fleet.public) as server:
        settings = layers.read([*words, "--updates", server.uri], {}, "0")
        children = UpdateChildren(settings, store, words, threading.Event())
        assert children.ask("m", "").release.version == "1"
        server.holds = "timestamp"
        asks = threading.Thread(target=lambda: answers.append(children.ask("m", "", over=over.is_set)))
        asks.start()
        assert server.held.wait(PATIENCE_S)
        asked = len(server.asked)
        over.set()
        asks.join(PATIENCE_S)

    assert (answers[0].fault, len(server.asked)) == ("away", asked)
