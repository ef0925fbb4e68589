"""An update's trial: the new model on live samples beside the one that runs, before it takes over.

It is loaded already, and runs in a thread of its own (`edge.trial`) in what time is left over, a quarter of one core at
most. Nothing of it is a result: what it answers otherwise is told, for a new model is there to answer otherwise.
Refused is one that skips what the other answers, that breaks off, or at whose work the process has died twice; put off
is one that had too little memory, for that is of this moment.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from edge.app import control, proving
from edge.app import trial as trial_part
from edge.app.core import Core, Draft
from edge.app.proving import Proof
from edge.data.result import Result, Skipped
from edge.data.sample import Sample
from edge.data.units import SECOND_NS
from edge.plugins.protocols import Clock
from edge.runtime.controls import Controls
from edge.settings.settings import Settings
from edge.telemetry import memory
from edge.updates import gates
from edge.updates.gates import Tried

if TYPE_CHECKING:
    from edge.app.swap import Replacement
    from edge.trial.trial import Limits, Report, Trial

log = logging.getLogger("edge.updates")

LOOK_S = 0.2
MARKS = "update"
"""Beside those of `--trial`, in the state folder."""


class UpdateTrial:
    """`forget`, `hindrance` and `run` belong to the thread of the updates, `told` is for any; the rest to the main
    thread, before the service runs."""

    def __init__(self) -> None:
        self.to_blame = False
        """Whether a new model was tried when the process died last: then no input is to blame for that."""
        self._trial: Trial | None = None
        self._told: dict[str, Any] | None = None
        self._fed = False
        self._controls: Controls | None = None
        self._alone: Callable[[control.Outcomes], control.Outcomes] = lambda outcomes: outcomes

    def join(self, core: Core, draft: Draft, controls: Controls | None) -> None:
        """It sees each sample that comes, and what the model that runs said of it."""
        self._controls = controls
        if core.settings.drift.trial_time and trial_part.feeds(core) and not core.runs:
            self._fed = True
            trial_part.feed(core, draft, self._observe)
        draft.add("marks of an update's trial", lambda: self._take_over(core))

    def _take_over(self, core: Core) -> None:
        from edge.trial import blame

        self.to_blame = blame.take_over(core.settings.delivery.state_dir, f"{core.stem}.{MARKS}")

    def _observe(self, sample: Sample, outcomes: Sequence[Result | Skipped]) -> None:
        if (trial := self._trial) is not None:
            trial.offer(sample, self._alone(outcomes))

    def told(self) -> dict[str, Any] | None:
        """How the two models differ, as it stands, or as the last trial ended; None before the first."""
        trial = self._trial
        return _told(trial.report()) if trial is not None else self._told

    def forget(self) -> None:
        """Another version is on its way: what was told is of none that is named from now on."""
        self._told = None

    def hindrance(self, old: Core, new: Core | None) -> str:
        """Why the two cannot be compared on what comes, or it is not asked for; "" where they can. `new` None: it is
        not loaded beside the one that runs."""
        if not self._fed:
            return "--trial-time 0" if not old.settings.drift.trial_time else "nothing comes that both could be given"
        if new is None:
            return "the process begins anew for the switch"
        before, after = (core.loaded.manifest.task for core in (old, new))
        return "" if before == after else f"it does {after}, the model that runs {before}"

    def left_out(self, settings: Settings, reason: str) -> Proof:
        """What comes of it where there is a hindrance: where agreement is asked for it does not go on without."""
        log.info("the new model is not tried on live samples", extra={"reason": reason})
        self._told = {"samples": 0, "note": f"not tried: {reason}"}
        return _without_verdict(f"it was not tried on live samples ({reason})", proving.limits(settings))

    def _note(self, report: Report, settings: Settings) -> str:
        """What it could not say, for want of samples."""
        if report.samples >= gates.FEWEST or report.verdict.word == "broken":
            return ""
        wanted = settings.drift.trial_samples
        if report.samples >= wanted:
            said = f"--trial-samples {wanted}"
        else:
            came = "no sample" if not report.samples else f"{report.samples} of {wanted} samples"
            said = f"{came} came within --trial-time {settings.drift.trial_time:g} s"
        return f"{said}: of fewer than {gates.FEWEST} it cannot be said how far they agree"

    def run(
        self,
        old: Core,
        other: Replacement,
        leaving: threading.Event,
        progress: Callable[[int | None], None],
        gone: Callable[[Callable[[], bool]], str] = lambda _: "",
    ) -> Proof:
        """Tries it until both have answered enough, the time is over or the process is `leaving`. A model that does not
        stand it is closed. `progress` is told how many hundredths are over, None at the end. `gone` says, as often as
        the repository is asked, why it is no longer wanted, "" while it is, or once the trial is over: that may last
        for days."""
        from edge.trial.blame import TrialMarks
        from edge.trial.trial import Limits, Trial

        new = other.core
        settings, loaded = new.settings, new.loaded
        pipeline = trial_part.pipeline_of(old, new, self._controls)
        self._alone = control.told_alone(old, self._controls)
        marks = TrialMarks(settings.delivery.state_dir, f"{old.stem}.{MARKS}", loaded.path, loaded.sha256)
        limits = Limits(settings.drift.trial_samples)
        trial = Trial(pipeline, old.loaded.ref, new.clock, limits, marks)
        asks = _now_and_then(new.clock, settings.updates.interval)
        percent = _percent_of(trial, limits, new)
        trial.start()
        self._trial, no_longer = trial, ""
        try:
            while (done := percent()) is not None:
                progress(done)
                if leaving.wait(LOOK_S) or (next(asks) and (no_longer := gone(lambda: percent() is None))):
                    break
        finally:
            ended = trial.stop()
            report = trial.report()
            self._told, self._trial = _told(report, self._note(report, settings)), None
            progress(None)
        if leaving.is_set():
            return Proof()
        _log(self._told)
        if not ended:  # nor is it closed: it is still at work
            return Proof("it did not come to an end with a live sample that it was tried on")
        if no_longer:
            other.drop()
            reason = f"version {loaded.manifest.version} was on trial when {no_longer}"
            return Proof(reason, again=True, untried=True)
        proof = _judged(report, proving.limits(settings), trial.skip_reason, short=trial.lacked_memory)
        if not proof.reason and (note := self._told["note"]):
            proof = _without_verdict(note, proving.limits(settings))
        if proof.reason:
            other.drop()
        return proof


def _without_verdict(note: str, limits: gates.Limits) -> Proof:
    """Nobody can say how far the two agree. That is no fault of the model, and no reason to take one that may not."""
    if not limits.agreement:
        return Proof()
    return Proof(f"{note}, and --updates-agreement {limits.agreement:g} asks for that", again=True, untried=True)


def _judged(report: Report, limits: gates.Limits, why: str, *, short: bool) -> Proof:
    """`why` a sample was skipped by the new model alone. `short`: it broke off for want of memory. A sample that an
    engine had no memory for is a skipped one like any other, so where little is left skipping says nothing of the model
    either."""
    if report.verdict.word == "broken":
        return Proof(f"on trial: {report.verdict.reason}" if short else report.verdict.reason, again=short)
    skipped = report.skipped
    found = Tried(report.samples, report.agreement or 0.0, int(skipped.trial), int(skipped.running), why)
    reason = gates.tried(found, limits)
    if not reason or not skipped.trial or not (shortage := gates.memory(memory.available(), limits)):
        return Proof(reason)
    return Proof(f"{reason}, while memory was short: {shortage}", again=True)


def _percent_of(trial: Trial, limits: Limits, new: Core) -> Callable[[], int | None]:
    """How many hundredths are over, from now on; None once all are, or it has broken off."""
    most_ns = int(new.settings.drift.trial_time * SECOND_NS)
    began_ns = new.clock.monotonic_ns()

    def percent() -> int | None:
        past_ns, report = new.clock.monotonic_ns() - began_ns, trial.report()
        if past_ns >= most_ns or report.samples >= limits.samples or report.verdict.word == "broken":
            return None
        return int(100 * max(past_ns / most_ns, report.samples / limits.samples))

    return percent


def _now_and_then(clock: Clock, seconds: float) -> Iterator[bool]:
    """Whether so long has passed since it was so last, or since the beginning."""
    began_ns = clock.monotonic_ns()
    while True:
        now_ns = clock.monotonic_ns()
        due = now_ns - began_ns >= seconds * SECOND_NS
        began_ns = now_ns if due else began_ns
        yield due


def _told(report: Report, note: str = "") -> dict[str, Any]:
    """`note`: what it could not say, in words."""
    said: dict[str, Any] = msgspec.to_builtins(report)
    return {n: value for n, value in said.items() if n not in ("model", "trial", "verdict")} | {"note": note}


def _log(told: Mapping[str, Any]) -> None:
    if not told["samples"]:
        log.warning("the new model was tried on no live sample", extra={"note": told["note"] or "it broke off"})
        return
    said = {name: value for name, value in told.items() if value not in (None, "") and name != "differences"}
    log.info("the new model was tried on live samples", extra=said)
