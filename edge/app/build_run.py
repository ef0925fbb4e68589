"""From settings and a loaded model to the parts of one run: each made once, in the order in which they need each other.

What a user has not asked for is not made, and stands in no list.
"""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec import structs

from edge.app import (
    assembly,
    capture,
    cascade,
    connecting,
    control,
    drift,
    endpoint,
    following,
    inputs,
    motion,
    outputs,
    sourcing,
    trial,
    words,
)
from edge.app.core import Core, Draft, Shared
from edge.app.pipelines import Kept, Pipelines
from edge.app.run import Made
from edge.app.status import Beside, Status
from edge.delivery.outbox import Outbox
from edge.mqtt.session import MqttSession
from edge.pipeline.pipeline import Pipeline
from edge.plugins.protocols import RememberingSource, Source
from edge.remote.address import without_credentials
from edge.runtime import thermal
from edge.runtime.options import RunnerOptions
from edge.runtime.runner import Runner
from edge.telemetry.board import temperature_celsius

if TYPE_CHECKING:
    from edge.app.update_agent import UpdateAgent

log = logging.getLogger("edge.app.service")


class _Flow(NamedTuple):
    """A run up to its outboxes. `inputs` is their connection, where they have one of their own."""

    core: Core
    source: Source | None
    inputs: inputs.Inputs | None
    pipeline: Pipeline
    instances: tuple[Pipeline, ...]
    sees: endpoint.Sees


def _flow(core: Core, draft: Draft, session: MqttSession | None) -> _Flow:
    """`core` comes back with what looks at pictures."""
    watched = drift.make(core, draft, session)
    if watched is not None:
        core = structs.replace(core, look=watched.look())
    captured = capture.make(core, draft, watched)
    own = inputs.make(core, draft, session)
    source = sourcing.source(core, session if own is None else own.session)
    then = cascade.make(core, draft)
    pipelines = Pipelines(core, session, source, Kept(watched, captured, then))
    pipeline = pipelines.of_flow(core)
    instances = pipelines.of_instances(core, pipeline)
    _say_instances(core, max(1, len(instances)))
    tried = trial.make(core, draft, session, pipelines.controls, captured.differs if captured is not None else None)
    sees = endpoint.Sees(watched, tried, captured, then, pipelines)
    return _Flow(core, source, own, pipeline, instances, sees)


def made(shared: Shared, core: Core, outboxes: list[Outbox], updates: UpdateAgent | None) -> Made:
    """Every part of a run. Raises FatalError."""
    settings, loaded, session, draft = core.settings, core.loaded, shared.session, Draft()
    running = updates.runs(core) if updates is not None else None
    draft.add("engine", stop=(loaded.engine if running is None else running).close, lasting=True)
    flow = _flow(core, draft, session)
    core, source, (watched, tried, captured, then, pipelines) = flow.core, flow.source, flow.sees
    beside = Beside(
        drift=watched.counts if watched is not None else lambda: None,
        capture=captured.counts if captured is not None else None,
        then=then.loaded,
        process_status=session.options.status_topic if session is not None and core.runs else "",
        instances=max(1, len(flow.instances)),
    )
    status = Status(core, beside, outboxes)
    announcer = outputs.announcer(core, draft, session, status, drift=watched is not None and watched.watches)
    outboxes += outputs.outboxes(core, source, session, announcer)
    outputs.report_refusals(outboxes, core.loaded.manifest.name, core.hearts.beat)
    outputs.frame_saver(core, draft)
    if shared.server is not None:
        served = functools.partial(
            endpoint.served, status=status, sees=flow.sees, seen=draft.asked, has_source=source is not None
        )
        following.endpoint(draft, shared.server, core, served)
    if announcer is not None and announcer.pictures is not None:
        draft.observers.append(announcer.pictures.newest.observe)
    if isinstance(source, RememberingSource):
        draft.add("inputs", functools.partial(sourcing.remind, source, outboxes))
    by_hand = updates.install if updates is not None and settings.updates.manual else None
    commands = control.listen(core, draft, session, pipelines.controls, by_hand)
    _give_out(core, draft, session, captured.folder if captured is not None else None)
    if session is not None:
        if shared.broker is None:
            connecting.hold(settings, draft, session, core.topics.base, loaded.path)
        connecting.join(core, draft, session, status)
        outputs.show_at_terminal(core, draft, session)
    for name, part in (("drift's end", watched), ("trial's end", tried)):
        if part is not None:
            draft.add(name, stop=part.close)
    if updates is not None:
        updates.join(core, draft, session, status, pipelines.controls)
    guard = sourcing.guard(core, draft, source, tried, updates, beside=bool(shared.server or updates))
    if flow.inputs is not None:
        draft.add("connection of its inputs", flow.inputs.session.start, flow.inputs.session.stop)
    options = structs.replace(
        _options(core, draft, source), instances=flow.instances, guard=guard, controls=pipelines.controls
    )
    runner = Runner(source, flow.pipeline, outboxes, clock=core.clock, metrics=core.metrics, options=options)
    if running is not None:
        running.parts += following.parts(draft, runner, pipelines, (status, announcer, watched, commands))
    heard = (core.topics.set, core.topics.stats, core.topics.info) if session is not None else ()
    born = (draft if flow.inputs is None else flow.inputs).born
    return Made(loaded, runner, tuple(draft.parts), outboxes, core.hearts, born, status.farewell, heard, draft.aborts)


def _give_out(core: Core, draft: Draft, session: MqttSession | None, folder: Path | None) -> None:
    """Kept samples, to who asks for them. Raises ConfigError where there are none."""
    if core.settings.capture.collect:
        from edge.app import collect  # and how they are stored, which costs time

        collect.listen(core, draft, session, folder)


def _say_instances(core: Core, count: int) -> None:
    core.metrics.set("instances", count)
    if core.settings.model.instances not in (count, "auto"):
        log.warning("one instance: the model, or its window, keeps something from one input to the next")
    elif count > 1:
        log.info("instances", extra={"instances": count, "threads": core.settings.model.threads or 1})


def _options(core: Core, draft: Draft, source: Source | None) -> RunnerOptions:
    """What settings say to the runner. Behind all that ticks, idles or observes."""
    settings, clock, metrics = core.settings, core.clock, core.metrics
    return RunnerOptions(
        grace_s=settings.delivery.grace,
        source_name=without_credentials(settings.input.source or "mqtt"),
        tick=draft.tick,
        observers=tuple(draft.observers),
        beat=core.hearts.beat,
        ended=core.hearts.ended,
        admit=thermal.admission(
            settings.input.max_temperature, source, temperature_celsius, clock=clock, metrics=metrics
        ),
        publish_filter=assembly.make_publish_filter(settings, core.loaded.manifest.task, metrics),
        gate=motion.make(core, source),
        idle=draft.idle if draft.idles else None,
        stop=core.stop,
        beside_others=bool(core.runs),
        run=core.loaded.manifest.name if core.runs else "",
        wording=words.make(settings, core.loaded, core.topics.base),
    )
