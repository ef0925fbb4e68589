"""The pipelines of a run: what the flow and the endpoint are given of a model, the one that runs or another one that
takes its place. What goes on from model to model (objects that are followed, what was commanded, what is kept) is made
once, and each pipeline gets a stage of its own in front of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edge.app import assembly, control, outputs, tracking
from edge.app.core import Core
from edge.errors import ConfigError
from edge.mqtt.session import MqttSession
from edge.pipeline.pipeline import Pipeline
from edge.pipeline.stages import Stages, Watch
from edge.plugins.protocols import Source

if TYPE_CHECKING:
    from edge.app.capture import Capture
    from edge.app.cascade import Second
    from edge.app.drift import DriftPart, ModelWatch


class Kept(NamedTuple):
    """What goes on from model to model."""

    watched: DriftPart | None
    captured: Capture | None
    then: Second


class Pipelines:
    """Made in the main thread; the rest is for any."""

    def __init__(
        self,
        core: Core,
        session: MqttSession | None,
        source: Source | None,
        kept: Kept,
    ) -> None:
        """Raises ConfigError for what does not go with the model, or with each other."""
        self._session = session
        self._watched = kept.watched
        self._keep = kept.captured.keep if kept.captured is not None else None
        self._then = kept.then
        self._tracked = tracking.make(core, source)
        self.controls = control.make(core)
        """What commands change; None without them."""

    def of_flow(self, core: Core) -> Pipeline:
        """Raises ConfigError."""
        flow, stages = control.stages(core, self._tracked, self.controls)
        return flow.pipeline(Stages((*stages, *self._then.stages()), self._watches(core), self._keep))

    def of_instances(self, core: Core, of_flow: Pipeline) -> tuple[Pipeline, ...]:
        """One for each of several instances, beside the flow's, whose stages see the results; none where there is but
        one. Raises ConfigError."""
        count = assembly.instances(core.settings, of_flow)
        if count == 1:
            return ()
        flow, _ = control.stages(core, self._tracked, self.controls)
        return tuple(flow.pipeline(Stages(watches=self._watches(core))) for _ in range(count))

    def of_requests(self, core: Core) -> Pipeline:
        """One for what comes by HTTP. Raises ConfigError."""
        watched = self.watched(core)
        watches = (watched.watch_http,) if watched is not None else ()
        return core.of_requests.pipeline(Stages(self._then.stages(), watches, self._keep))

    def misfit(self, old: Core, new: Core) -> str:
        """Why what goes on from model to model cannot go on with this one; "" where it can."""
        before, after = old.loaded.manifest, new.loaded.manifest
        same = (before.task, before.labels) == (after.task, after.labels)
        if self._tracked is not None and not same:
            return "--track goes on with the objects of the model before, and this one tells others"
        if self._keep is not None and not same:
            return "--capture keeps samples of one task and its labels in a folder"
        try:
            self.of_flow(new)
            self.of_requests(new)
        except ConfigError as exc:
            return str(exc)
        now, then = (assembly.instances(core.settings, core.pipeline()) for core in (old, new))
        return "" if now == then else f"it is made for {then} instances at most, {now} run"

    def watched(self, core: Core) -> ModelWatch | None:
        """The watch on this model; None where there is none."""
        return self._watched.of(core) if self._watched is not None else None

    def _watches(self, core: Core) -> tuple[Watch, ...]:
        masks = outputs.masks(core, self._session)
        return tuple(one.watch for one in (masks, self.watched(core)) if one is not None)
