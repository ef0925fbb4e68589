"""`--trial FILE`: a second model on the same samples, of which only is told how it differs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from edge.app import assembly, control, loading
from edge.app.core import Carried, Core, Draft
from edge.data import codec
from edge.data.result import SCHEMA, Result, Skipped
from edge.data.sample import Sample
from edge.data.units import SECOND_NS
from edge.errors import ConfigError
from edge.mqtt.messages import Outgoing
from edge.mqtt.session import MqttSession
from edge.pipeline.results import timestamp
from edge.pipeline.stages import Stages
from edge.runtime.controls import Controls
from edge.runtime.options import Observer

if TYPE_CHECKING:
    from edge.app.loading import Loaded
    from edge.pipeline.pipeline import Pipeline
    from edge.trial.trial import Differs, Report

log = logging.getLogger("edge.trial")


class TrialPart:
    """The trial, and what is told of it. `told` from any thread, the rest in the main thread."""

    def __init__(
        self,
        core: Core,
        draft: Draft,
        session: MqttSession | None,
        trial: tuple[Pipeline, Loaded],
        controls: Controls | None = None,
        differs: Differs | None = None,
    ) -> None:
        """`trial` is the second model and its pipeline; `differs` is shown what the two do not agree on."""
        from edge.trial.blame import TrialMarks
        from edge.trial.trial import Limits, Trial
        from edge.updates.gates import FEWEST  # of fewer nothing can be said of how far two agree

        pipeline, self._loaded = trial
        loaded = self._loaded
        self._core = core
        self._session = session
        self._marks = TrialMarks(core.settings.delivery.state_dir, core.stem, loaded.path, loaded.sha256)
        limits = Limits(samples=max(FEWEST, core.settings.drift.trial_samples))
        self._trial = Trial(pipeline, core.loaded.ref, core.clock, limits, self._marks, differs)
        self._controls, self._alone = controls, control.told_alone(core, controls)
        if core.settings.updates.uri is not None:
            self.follow(core)
        self._said = "undecided"
        self._every_ns = int(core.settings.topics.stats_interval * SECOND_NS)
        self._next_ns = core.clock.monotonic_ns() + self._every_ns
        feed(core, draft, self._observe)
        draft.add("trial", self._trial.start)
        draft.ticks.append(self._tick)
        draft.carried.append(Carried(told=self.follow))
        draft.aborts.append(self._marks.end)
        if session is not None:
            draft.births.append(lambda: [self._message()])

    def follow(self, core: Core) -> None:
        """Another model runs: the two are compared anew, where they can be. From any thread."""
        over = ""
        if core.loaded.sha256 == self._loaded.sha256:
            over = "the model on trial is the one that runs"
        else:
            try:
                _fit(core, self._loaded)
            except ConfigError as exc:
                over = str(exc)
        if over:
            log.warning("the trial ends while this model runs", extra={"reason": over})
        self._alone = control.told_alone(core, self._controls)
        self._trial.follow(core.loaded.ref, over)

    def _observe(self, sample: Sample, outcomes: Sequence[Result | Skipped]) -> None:
        self._trial.offer(sample, self._alone(outcomes))

    @property
    def to_blame(self) -> bool:
        """Whether it was at work when the process died last. Of the main thread, once the trial has started."""
        return self._marks.died

    def told(self) -> dict[str, Any]:
        """How the two models differ, and the verdict."""
        settings = self._core.settings
        about = {"schema": SCHEMA, "time": timestamp(self._core.clock.time_ns()), "device": settings.topics.device}
        return {**about, **msgspec.to_builtins(self._trial.report())}

    def close(self) -> None:
        """Before the session's end: what was found last is still published."""
        self._trial.stop()
        self._log(self._trial.report())
        if self._session is not None:
            self._session.post(self._message())

    def _tick(self) -> None:
        now = self._core.clock.monotonic_ns()
        if not self._every_ns or now < self._next_ns:
            return
        self._next_ns = now + self._every_ns
        report = self._trial.report()
        if report.verdict.word != self._said:
            self._log(report)
        if self._session is not None and self._session.up:
            self._session.post(self._message())

    def _log(self, report: Report) -> None:
        """Also for a service without a broker, whose trial is heard nowhere else."""
        self._said = report.verdict.word
        agreement = {} if report.agreement is None else {"agreement": f"{report.agreement:.4g}"}
        fields = {"verdict": self._said, "samples": report.samples, "passed_over": report.passed_over, **agreement}
        reason = {"reason": report.verdict.reason} if report.verdict.reason else {}
        log.info("trial", extra={"model": report.trial.name, "version": report.trial.version, **fields, **reason})

    def _message(self) -> Outgoing:
        payload = codec.encode(self.told())
        return Outgoing(self._core.topics.trial, payload, retain=True, content_type="application/json")


def _fit(core: Core, loaded: Loaded) -> None:
    """Raises ConfigError where the second model cannot be compared with the one that runs."""
    from edge.trial import fit

    both = (core.loaded.manifest, loaded.manifest, core.rows)
    fit.refuse(*both, loaded.path.name)
    for text in fit.remarks(*both):
        log.warning("trial", extra={"note": text})


def feeds(core: Core) -> bool:
    """Whether samples may come that a trial can be given."""
    return _flows(core) or core.settings.http.address is not None


def feed(core: Core, draft: Draft, observe: Observer) -> None:
    """Shows a trial what comes: by the flow, and by HTTP where that is read by the same rules and nothing is commanded,
    which is for the flow alone."""
    if _flows(core):
        draft.observers.append(observe)
    if not _flows(core) or (core.rows.path is None and not core.settings.topics.commands):
        draft.requests.append(observe)


def _flows(core: Core) -> bool:
    return core.settings.input.source is not None or core.settings.mqtt.url != "none"


def pipeline_of(running: Core, new: Core, controls: Controls | None) -> Pipeline:
    """The one of a model on trial: what commands say to the one that runs holds for it, too. Raises ConfigError."""
    settings = new.settings
    rows = running.rows if _flows(running) else running.of_requests.rows
    core, stages = control.stages(new, None, controls if _flows(running) else None)
    options = assembly.PipelineOptions("trial", rows, settings.input.max_input, stages=Stages(stages))
    return assembly.make_pipeline(core.loaded, settings.topics.device, options)


def make(
    core: Core,
    draft: Draft,
    session: MqttSession | None,
    controls: Controls | None,
    differs: Differs | None = None,
) -> TrialPart | None:
    """Loaded, its golden samples replayed; None where nobody asks for one. Raises ModelError, ConfigError."""
    settings = core.settings
    path = settings.drift.trial
    if path is None:
        return None
    if not feeds(core):
        raise ConfigError("--trial runs on what a --source, a broker or --http brings, and there is none; leave it out")
    loaded = loading.load_file(path, loading.engine_options(settings), engine=settings.model.engine)
    draft.add("trial's engine", stop=loaded.engine.close)
    loading.replay(loaded, settings)
    if settings.updates.uri is None:  # else it waits for a model that it fits
        _fit(core, loaded)
    pipeline = pipeline_of(core, replace(core, loaded=loaded), controls)
    if not pipeline.free:
        raise ConfigError(
            f"--trial {path.name} keeps something from sample to sample (a window, a state), and a trial sees only "
            "some of them; try it in the place of the model"
        )
    return TrialPart(core, draft, session, (pipeline, loaded), controls, differs)
