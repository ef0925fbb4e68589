"""The thread that follows a repository: it checks, fetches, has a new model proven, and watches it after the switch.

It owns the state (`edge.updates.state`) while the service runs. What speaks with the repository and what loads a new
model for the first time are processes of their own, so that their memory goes back and their death is nothing but an
answer. Where it is proven this thread loads it, writes `switching` and `watching` down, and has it take over in the
running flow (`swap.py`); where that cannot be done it asks for a restart in order (`updating.py`).
"""

from __future__ import annotations

import gc
import logging
import random
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from edge.app.core import Carried, Core, Draft
from edge.app.proving import Proof, limits
from edge.app.status import Status
from edge.app.swap import Replacement, RunningModel
from edge.app.update_calls import FIRST_S, UpdateCalls, soon
from edge.app.update_children import UpdateChildren, in_its_place
from edge.app.update_steps import UpdateSteps
from edge.app.update_told import UpdateTold
from edge.app.update_trial import UpdateTrial
from edge.app.update_watch import UpdateWatch
from edge.errors import ConfigError
from edge.mqtt.messages import Incoming
from edge.mqtt.session import MqttSession
from edge.mqtt.topics import UpdateTopics
from edge.runtime.controls import Controls
from edge.runtime.stop import Stop
from edge.settings.settings import Settings
from edge.telemetry.clock import SystemClock
from edge.telemetry.priority import stand_back
from edge.updates import state
from edge.updates.order import Answer
from edge.updates.release import Release
from edge.updates.state import Slot, State
from edge.updates.store import UpdateStore

log = logging.getLogger("edge.updates")

JITTER = 0.1
LOOK_S = 1.0


class UpdateAgent:
    """`start`, `stop`, `told` and `install` for the parts around it; all else belongs to its thread."""

    def __init__(self, settings: Settings, store: UpdateStore, model: str, flags: Sequence[str]) -> None:
        """`settings` with the file that the user named. `model`: its name in the repository; "": as the manifest of the
        one that runs says. `flags` are the service's own words, for the process that proves."""
        self._settings = settings
        self._store = store
        self._name = model
        self._given_up = self._asked = False
        self._stop, self._clock = Stop(), SystemClock()
        self._watch = UpdateWatch(limits(settings), self._clock)
        self._trial = UpdateTrial()
        self._told = UpdateTold(store, self._trial.told, self._watch.told)
        self._steps = UpdateSteps(store, self._told, self._clock)
        self._model: RunningModel | None = None
        self._wanted = ""
        self._calls = UpdateCalls()
        self._leaving = self._calls.leaving
        self._children = UpdateChildren(settings, store, flags, self._leaving)
        self._thread: threading.Thread | None = None

    def runs(self, core: Core) -> RunningModel:
        """The model of the service, for the parts that follow it."""
        self._model = RunningModel(core)
        self._model.parts.append(Carried(told=self._took_over))
        self._took_over(core)
        return self._model

    def join(
        self, core: Core, draft: Draft, session: MqttSession | None, status: Status, controls: Controls | None
    ) -> None:
        """Becomes a part of the service whose model it changes."""
        self._name = self._name or core.loaded.manifest.name
        self._watch.counts_with(core.metrics)
        self._stop = core.stop
        self._recall()
        self._told.join(core, draft, session, status)
        if session is not None:

            def announced(incoming: Incoming) -> None:
                session.ack(incoming)
                self._calls.announced(incoming)

            session.subscribe(UpdateTopics(core.settings.topics.prefix).announce(self._name), announced, qos=0)
        self._trial.join(core, draft, controls)
        draft.add("updates", self.start, self.stop)

    def _recall(self) -> None:
        """What waited for a person before this start waits still; the first check says whether it is offered yet."""
        release = self._children.remembered(self._name, self._told.running.sha256)
        if release is not None and release.sha256 != self._told.running.sha256 and not self._may(release):
            self._told.offered(release, waits=True)

    # --- for the parts around it --------------------------------------------------------------------

    @property
    def to_blame(self) -> bool:
        """Whether a new model was tried on live samples when the process died last. From the start on."""
        return self._trial.to_blame

    def start(self) -> None:
        self._thread = threading.Thread(target=self._guarded, name="updates", daemon=False)
        self._thread.start()

    def stop(self) -> None:
        """Ends what is under way. A process that ends in order while it watches goes on watching at the next start."""
        self._calls.leave()
        if self._thread is not None:
            self._thread.join()
        if self._stop.failure is None and not self._given_up:
            # Where nothing changes, nothing is written.
            self._steps.enter(state.ended(self._store.state, self._watch.watched))

    def install(self, version: str | None) -> str:
        """A person wants what waits; None: whatever it is. Why not, "" where it is begun. From any thread."""
        waiting = self._told.waiting
        if waiting is None and not self._asked:
            return f"the repository was not asked since the start, which takes {FIRST_S:.0f} s at most: try again then"
        if waiting is None:
            return "nothing waits to be installed: the topic update says what there is"
        if version not in (None, waiting.version):
            return f"version {version[:50]} does not wait to be installed, version {waiting.version} does"
        self._calls.install(waiting.sha256)
        return ""

    def told(self) -> dict[str, Any]:
        """What is said of updates, on `update` and in `info`. From any thread."""
        return self._told.told()

    # --- the thread ---------------------------------------------------------------------------------

    def _guarded(self) -> None:
        try:
            stand_back()
            self._run()
        except BaseException as exc:  # noqa: BLE001 - the end of a thread: the main thread raises it again
            self._stop.fail(exc)

    def _run(self) -> None:
        interval_s = self._settings.updates.interval
        due_ns, called = self._clock.monotonic_ns() + _ns(soon(interval_s)), False
        while True:
            watching = self._store.state.phase == "watching"
            left_s = max(0.0, (due_ns - self._clock.monotonic_ns()) / 1e9)
            held = self._model is not None and self._model.tidy()
            if self._calls.wait(min(LOOK_S, left_s) if watching or held else left_s):
                return
            if watching:
                self._judge()
                if self._given_up or self._store.state.phase != "watching":
                    continue
            if wanted := self._calls.wish():
                self._wanted, due_ns, called = wanted, self._clock.monotonic_ns(), False
            if not called and self._calls.news():
                called = True
                due_ns = min(due_ns, self._clock.monotonic_ns() + _ns(soon(interval_s)))
            if self._clock.monotonic_ns() >= due_ns:
                self.check(self._switch)
                if watching and self._store.state.phase == "idle":
                    continue  # it gave way to another one: now for that
                jitter = random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311
                due_ns, called = self._clock.monotonic_ns() + _ns(interval_s * jitter), False

    def _decided(self) -> bool:
        """The watch waits for no server."""
        return self._store.state.phase == "watching" and self._watch.decided(self._store.state.baseline)

    def _judge(self) -> None:
        now, watch, noted = self._store.state, self._watch, self._watch.note
        percent, reason = watch.look(now.baseline)
        self._told.progress(percent)
        version = self._told.running.version
        if reason:
            log.error("the new model is given up", extra={"version": version, "reason": reason})
            self._leave_watch(state.refuse(now, reason, self._steps.now()))
        elif watch.enough and self._steps.enter(state.confirms(now, self._steps.now(), watch.ended(now))):
            note = {"note": said} if (said := watch.ended(now)) else {}
            log.info("the new model is confirmed", extra={"version": version, "samples": watch.seen.samples, **note})
            self._steps.sweep()
        elif watch.note and not noted:
            log.info("the new model is watched on", extra={"version": version, "reason": watch.note})
            self._told.tell()

    def _leave_watch(self, new: State) -> None:
        # Also where it cannot be written down: a start that finds `watching` and no end in order goes back, too.
        self._given_up = not self._steps.enter(new)
        if self._given_up or not self._go_back():
            self._restart()

    def _while_watched(self, release: Release | None) -> None:
        """What the repository has for this device while a model is watched. One that is no longer offered gives way,
        whoever decides; a newer one waits for the person where one decides."""
        now = self._store.state
        if now.candidate is None or (release is not None and release.sha256 == now.candidate.sha256):
            if self._told.waiting is not None:
                self._told.offered(None)
            return
        confirmed = now.confirmed.sha256 if now.confirmed is not None else ""
        if release is not None and release.sha256 != confirmed and not self._may(release):
            self._told.offered(release, waits=True)
            return
        self._told.offered(None)
        reason = f"version {now.candidate.version} was watched when {in_its_place(release)}"
        log.warning("the model that is watched gives way", extra={"reason": reason})
        self._leave_watch(state.gives_way(now, reason, self._steps.now()))

    def _restart(self) -> None:
        self._calls.leave()
        self._stop.restart()

    def _switch(self, slot: Slot) -> None:
        """Loaded first: what kills the process there dies in `proving`, as a try. Raises OSError."""
        assert self._model is not None
        new = self._model.replacement(self._settings, self._store.path(slot))
        try:
            if not self._passes(slot, new):
                return
        except OSError:
            if new is not None:
                new.drop()
            raise
        log.info("switching", extra={"from": self._told.running.version, "to": slot.version})
        if new is None or not self._steps.enter(state.begin(self._store.state, self._steps.now()), say=False):
            self._restart()
            return
        self._swap(new)

    def _passes(self, slot: Slot, new: Replacement | None) -> bool:
        """True in `switching`, False where it is refused or the service ends. Raises OSError."""
        if not self._leaving.is_set() and (found := self._try(slot, new)).reason:
            self._fails(slot, found)
            return False
        if self._leaving.is_set():
            return False  # in `proving` or `trial`, which the next start takes for interrupted
        version, baseline = self._told.running.version, self._watch.seen.baseline()
        self._steps.go(state.switches(self._store.state, version, baseline, self._steps.now()))
        return True

    def _try(self, slot: Slot, new: Replacement | None) -> Proof:
        """What live samples say of it; nothing where none come to try it on. Raises OSError."""
        assert self._model is not None
        if reason := self._trial.hindrance(self._model.core, new.core if new is not None else None):
            found = self._trial.left_out(self._settings, reason)
            if new is not None and found.reason:
                new.drop()
            return found
        assert new is not None
        self._steps.go(state.on_trial(self._store.state, self._steps.now()))
        running = self._told.running.sha256
        gone = partial(self._children.gone, self._name, running, slot)
        return self._trial.run(self._model.core, new, self._leaving, self._told.progress, gone)

    def _go_back(self) -> bool:
        """The confirmed model takes over again; False where only a restart can do that."""
        slot = self._store.state.confirmed
        if slot is not None and not self._store.holds(slot):
            return False
        assert self._model is not None
        file = self._settings.model.file if slot is None else self._store.path(slot)
        new = self._model.replacement(self._settings, file)
        if new is None:
            return False
        self._swap(new)
        self._steps.sweep()
        return True

    def _swap(self, new: Replacement) -> None:
        assert self._model is not None
        self._model.swap(new, self._leaving)
        log.info("the model was switched in the running flow", extra={"version": self._told.running.version})
        self._told.tell()

    def _took_over(self, core: Core) -> None:
        """From now on it is this model's results that count."""
        loaded = core.loaded
        now, version = self._store.state, loaded.manifest.version
        for slot in (now.candidate, now.confirmed):
            if slot is not None and slot.sha256 == loaded.sha256:
                version = slot.version  # as the repository calls it: edge-fleet waits for that
        self._told.running = Slot(loaded.sha256, version, loaded.path.suffix)
        self._watch.begin(now.watched if now.phase == "watching" else None)

    # --- a check ------------------------------------------------------------------------------------

    def check(self, use: Callable[[Slot], None]) -> Answer:
        """Asks the repository, and takes what it has for this device as far as the gates let it; then `use`."""
        answer = self._children.ask(self._name, self._told.running.sha256, over=self._decided)
        if self._leaving.is_set() or (answer.fault is not None and self._decided()):
            return answer  # the process that asked was ended, with the service or the watch: that is no trouble
        self._asked, self._told.freshness = True, answer.freshness
        if answer.fault is not None:
            self._told.trouble(f"{answer.fault}: {answer.reason}")
            return answer
        new = answer.release
        if self._store.state.phase == "watching":
            self._told.trouble("")
            self._while_watched(new)
            return answer
        if new is None or new.sha256 == self._told.running.sha256:
            self._told.trouble("")
            self._told.offered(None)
            if new is not None and new.version != self._told.running.version:
                self._told.running = replace(self._told.running, version=new.version)
                self._told.tell()
        elif not self._may(new):
            self._told.trouble("")
            self._told.offered(new, waits=True)
        else:
            self._told.trouble("")
            self._told.offered(new)
            try:
                self._take(new, use)
            except OSError as exc:  # a full disk refuses the update, not the service
                self._steps.later(f"{self._store.folder}: {exc.strerror or exc}")
            self._steps.sweep()
        return answer

    def _may(self, release: Release) -> bool:
        """Whether it goes on by itself. What a person has begun does, over the next start, too; and without any model
        there is nothing to stay with."""
        begun = release.sha256 in (self._wanted, self._store.state.tried)
        return begun or not self._settings.updates.manual or self._model is None

    def _take(self, release: Release, use: Callable[[Slot], None]) -> None:
        slot = Slot(release.sha256, release.version, Path(release.file).suffix)
        log.info("a new model is there", extra={"version": release.version, "bytes": release.length})
        store = self._store
        self._trial.forget()
        self._steps.go(replace(state.found(store.state, slot, self._steps.now()), name=self._name))
        staged: Path | None = None
        if not store.holds(slot):
            try:
                answer = self._children.ask(self._name, self._told.running.sha256, release, self._told.progress)
            finally:
                self._told.progress(None)
            if self._leaving.is_set():
                return  # in `downloading`, which the next start takes for interrupted; what has come is kept
            if answer.fault is not None or answer.staged is None:
                self._steps.later(answer.reason or "no longer offered")
                return
            staged = answer.staged
        self._steps.go(state.downloaded(store.state, self._steps.now()))
        if staged is not None and not store.install(staged, slot):
            self._steps.later("the file is not the one that was signed")
            return
        self._steps.go(state.proves(store.state, self._steps.now()))
        old = self._model.core.loaded.path if self._model is not None else None
        proof = self._children.prove(store.path(slot), old)
        if self._leaving.is_set():
            return  # in `proving`, which the next start takes for interrupted
        if proof.note:
            log.warning("a gate does not judge the new model", extra={"version": slot.version, "note": proof.note})
            self._steps.go(state.noted(store.state, proof.note))
        if proof.reason:
            self._fails(slot, proof)
        else:
            use(slot)

    def _fails(self, slot: Slot, proof: Proof) -> None:
        """It does not stand a gate: for good, or for now."""
        if proof.again:
            self._steps.later(proof.reason, untried=proof.untried)
            return
        log.error("the new model is refused", extra={"version": slot.version, "reason": proof.reason})
        self._steps.go(state.refuse(self._store.state, proof.reason, self._steps.now()))

    # --- the first model ----------------------------------------------------------------------------

    def first(self) -> None:
        """Where there is no model yet: until one is there and proven. Of the main thread, before the service.

        Raises ConfigError for what only a person can mend."""
        gc.enable()  # the start goes without, and this may take days
        wait_s = 5.0
        while self._store.state.confirmed is None:
            answer = self.check(lambda _: self._steps.go(state.adopts(self._store.state, self._steps.now())))
            if answer.fault == "setup":
                raise ConfigError(answer.reason)
            if self._store.state.confirmed is not None or self._leaving.wait(wait_s):
                return
            wait_s = min(60.0, 2 * wait_s)


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
