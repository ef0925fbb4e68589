"""Where a device stands: the step that every crash and every power cut leads to."""

from __future__ import annotations

import errno
import hashlib
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge.storage import atomic
from edge.updates import state
from edge.updates.state import TRIES, Slot, State, Watched, WrongStepError
from edge.updates.store import UpdateStore

MEMORY = Path("/dev/shm")
"""Where a sync costs nothing: this machine tries many a write, none of which has to last."""
OLD = Slot("a" * 64, "1")
NEW = Slot("b" * 64, "2")


def proving(**more) -> State:
    at = state.found(State(confirmed=OLD, **more), NEW, 1.0)
    return state.proves(state.downloaded(at, 2.0), 3.0)


def watching(**more) -> State:
    return state.begin(state.switches(proving(**more), "1", None, 4.0), 5.0)


def test_what_a_gate_could_not_look_at_is_told_until_the_watch_is_over():
    at = state.on_trial(state.noted(proving(), "latency is not compared"), 4.0)
    at = state.begin(state.switches(at, "1", None, 4.0), 5.0)

    assert (at.phase, at.reason) == ("watching", "latency is not compared")
    assert state.confirms(at, 6.0).reason == ""


def test_a_new_model_that_passes_everything_becomes_the_confirmed_one():
    at = state.confirms(watching(), 6.0)

    assert (at.phase, at.confirmed, at.candidate, at.running) == ("confirmed", NEW, None, NEW)


def test_a_start_after_a_crash_while_watching_is_on_the_confirmed_model():
    at = state.begin(watching(), 6.0)

    assert (at.phase, at.running, at.refused) == ("idle", OLD, ())


def test_a_start_after_an_end_in_order_goes_on_watching():
    at = state.begin(state.ended(watching()), 6.0)

    assert (at.phase, at.running, at.clean) == ("watching", NEW, False)


def test_what_was_seen_in_lives_that_ended_in_order_counts_and_nothing_of_it_in_another_watch():
    seen = Watched(60.0, 5, 0, 1.0, 5)
    twice = state.ended(state.begin(state.ended(watching(), seen), 6.0))

    assert state.begin(twice, 7.0).watched == seen
    for end in (state.confirms(twice, 7.0), state.refuse(twice, "slow", 7.0), state.gives_way(twice, "gone", 7.0),
                state.begin(state.begin(twice, 7.0), 8.0)):  # fmt: skip
        assert (end.watched, end.clean) == (None, False)


def test_a_watched_model_that_gives_way_to_another_one_is_not_refused_and_has_its_tries_again():
    at = state.gives_way(watching(tries=1, tried=NEW.sha256), "3 is offered", 6.0)

    assert (at.phase, at.running, at.refused, at.tries, at.reason) == ("idle", OLD, (), 0, "3 is offered")
    assert state.found(at, NEW, 7.0).candidate == NEW


def test_a_trial_without_samples_is_no_try_however_often():
    at = State(confirmed=OLD)
    for _ in range(TRIES + 1):
        at = state.proves(state.downloaded(state.found(at, NEW, 1.0), 1.0), 1.0)
        at = state.later(state.on_trial(at, 1.0), "no sample came", 1.0, untried=True)

    assert (at.phase, at.refused, at.tries, at.reason) == ("idle", (), 0, "no sample came")


def test_a_death_that_something_else_is_to_blame_for_goes_on_watching():
    at = state.begin(watching(), 6.0, excused=True)

    assert (at.phase, at.running, at.clean, at.tries) == ("watching", NEW, False, 1)


def test_a_model_that_ends_the_process_again_and_again_is_refused_for_good():
    at = State(confirmed=OLD)
    for _ in range(TRIES):
        at = state.proves(state.downloaded(state.found(at, NEW, 1.0), 1.0), 1.0)
        at = state.begin(state.begin(state.switches(at, "1", None, 1.0), 1.0), 1.0)

    assert (at.phase, at.refused, at.running) == ("rolled-back", (NEW.sha256,), OLD)


def test_ends_in_order_while_a_model_is_proven_are_no_tries_of_it():
    at = State(confirmed=OLD)
    for _ in range(TRIES + 1):
        at = state.proves(state.downloaded(state.found(at, NEW, 1.0), 1.0), 1.0)
        at = state.begin(state.ended(at), 1.0)

    assert (at.phase, at.refused, at.tries) == ("idle", (), 0)


def test_a_model_that_never_comes_out_of_its_proof_is_refused_for_good():
    at = State(confirmed=OLD)
    for _ in range(TRIES):
        at = state.begin(state.proves(state.downloaded(state.found(at, NEW, 1.0), 1.0), 1.0), 1.0)

    assert (at.phase, at.refused) == ("rolled-back", (NEW.sha256,))


def test_another_version_has_tries_of_its_own():
    at = state.begin(proving(), 4.0)

    assert state.found(at, NEW, 5.0).tries == 1
    assert state.found(at, Slot("c" * 64, "3"), 5.0).tries == 0


def test_a_step_that_does_not_follow_is_a_bug():
    with pytest.raises(WrongStepError, match="confirmed does not follow proving"):
        state.confirms(proving(), 4.0)


class PowerGone(BaseException):
    """The process ends here, at a write."""


class Disk:
    """Stands in for the file layer under the store: its n-th operation ends the process, or the disk is full."""

    def __init__(self) -> None:
        self.left = -1
        self.full = False
        self.writes = 0

    def write(self, path: Path, data: bytes) -> None:
        """Before the rename, or behind it: an atomic write knows no other moment."""
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._count()
        self.writes += 1
        atomic.write(path, data)
        self._count()

    def _count(self) -> None:
        if self.left == 0:
            self.left = -1
            raise PowerGone
        self.left -= self.left > 0


class Device(RuleBasedStateMachine):
    """A device that is offered versions, with a power cut at any write. `proven` are the models that passed a watch."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="updates-", dir=MEMORY if MEMORY.is_dir() else None))
        self.disk = Disk()
        self.store = self._opened()
        self.proven: set[str] = set()
        self.starts: dict[str, int] = {}
        self.number = 0
        self._install(b"0")
        self.store.enter(State(confirmed=self._slot(b"0")))
        self.proven.add(self._slot(b"0").sha256)

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def _opened(self) -> UpdateStore:
        store = UpdateStore(
            self.folder, lambda p: hashlib.sha256(p.read_bytes()).hexdigest(), lambda p, d: self.disk.write(p, d)
        )
        store.open()
        return store

    def _slot(self, content: bytes) -> Slot:
        return Slot(hashlib.sha256(content).hexdigest(), content.decode())

    def _install(self, content: bytes) -> None:
        staged = self.store.staging / f"{self._slot(content).sha256}.part"
        staged.write_bytes(content)
        assert self.store.install(staged, self._slot(content))

    def _start(self) -> None:
        """A new process, which a power cut may end as well; the one after it is left alone."""
        self.disk.full = False
        for _ in range(2):
            self.store.close()
            self.store = self._opened()
            try:
                self.store.enter(state.begin(self.store.state, 0.0))
                self.store.sweep()
                break
            except PowerGone:
                continue
        running = self.store.state.running
        assert running is not None
        assert self.store.holds(running), "it came back on no model"
        if running.sha256 not in self.proven:
            self.starts[running.sha256] = self.starts.get(running.sha256, 0) + 1
            assert self.starts[running.sha256] <= TRIES, "an unproven model was started again and again"

    def _do(self, *steps) -> None:
        """Steps, each written down; a power cut in between is followed by a start."""
        try:
            for step in steps:
                self.store.enter(step(self.store.state))
        except PowerGone:
            self._start()
        except OSError:
            at = self.store.state
            if at.phase in ("downloading", "verifying", "proving"):
                self.store.state = state.later(at, "full", 0.0)

    @property
    def phase(self) -> str:
        return self.store.state.phase

    @rule(left=st.integers(0, 3))
    def the_power_will_fail(self, left: int) -> None:
        self.disk.left = left

    @rule(full=st.booleans())
    def the_disk_is_full(self, full: bool) -> None:
        self.disk.full = full

    @precondition(lambda self: self.phase in ("idle", "confirmed", "rolled-back"))
    @rule(again=st.booleans(), passes=st.booleans())
    def a_version_is_offered(self, again: bool, passes: bool) -> None:
        self.number += not again
        content = str(max(1, self.number)).encode()
        slot = self._slot(content)
        confirmed = self.store.state.confirmed
        if slot.sha256 in self.store.state.refused or slot == confirmed:
            return

        def fetched(at: State) -> State:
            self._install(content)
            return state.downloaded(at, 0.0)

        judged = (lambda at: state.switches(at, "", None, 0.0)) if passes else (lambda at: state.refuse(at, "no", 0.0))
        self._do(
            lambda at: state.found(at, slot, 0.0),
            fetched,
            lambda at: state.proves(at, 0.0),
            judged,
        )
        self.store.sweep()

    @precondition(lambda self: self.phase == "switching")
    @rule()
    def it_begins_anew(self) -> None:
        self._start()

    @rule()
    def the_process_is_killed(self) -> None:
        watched = self.store.state.candidate if self.phase == "watching" else None
        self._start()
        assert watched is None or self.store.state.running != watched, "it came back on an unproven model"

    @precondition(lambda self: self.phase == "watching")
    @rule()
    def it_ends_in_order_and_starts(self) -> None:
        self._do(state.ended)
        if self.store.state.clean:
            self.starts[self.store.state.candidate.sha256] -= 1  # the same try goes on
        self._start()

    @precondition(lambda self: self.phase == "watching")
    @rule(well=st.booleans())
    def the_watch_comes_to_an_end(self, well: bool) -> None:
        candidate = self.store.state.candidate
        self._do(
            (lambda at: state.confirms(at, 0.0)) if well else (lambda at: state.refuse(at, "slow", 0.0)),
        )
        if self.store.state.confirmed == candidate:
            self.proven.add(candidate.sha256)
        self.store.sweep()

    @precondition(lambda self: self.phase == "watching")
    @rule()
    def another_one_is_offered_meanwhile(self) -> None:
        watched, before = self.store.state.candidate, self.store.state.confirmed
        self._do(lambda at: state.gives_way(at, "gone", 0.0))
        if self.phase == "idle":
            self.starts[watched.sha256] = 0
            assert self.store.state.running == before
        self.store.sweep()

    @invariant()
    def the_confirmed_model_is_proven_and_there(self) -> None:
        confirmed = self.store.state.confirmed
        assert confirmed is not None
        assert self.store.holds(confirmed)
        # A power cut right behind the write that confirms it: proven, though nothing could say so.
        self.proven.add(confirmed.sha256)

    @invariant()
    def there_are_two_models_at_most(self) -> None:
        assert len(list(self.store.models.iterdir())) <= 2


TestDevice = Device.TestCase
TestDevice.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
