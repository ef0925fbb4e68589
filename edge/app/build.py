"""From settings and loaded models to an `App`: each part made once, in the order in which they need each other.

What all runs share is made first, then each run, then what begins behind them.

Nothing is started here. What ends the process (`Stop`), what counts and what tells the time are made first and given
to whoever needs them; what a user has not asked for is not made, and stands in no list.
"""

from __future__ import annotations

import functools
import itertools
import logging
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec import structs

from edge.app import (
    assembly,
    capture,
    cascade,
    collect,
    connecting,
    control,
    drift,
    endpoint,
    following,
    inputs,
    joined,
    motion,
    refusals,
    tracking,
    trial,
    words,
)
from edge.app.core import Core, Draft
from edge.app.loading import Loaded
from edge.app.run import Made, Run, end
from edge.app.service import App, HangLog
from edge.app.status import Status
from edge.data import json_path
from edge.delivery.outbox import Outbox
from edge.errors import ConfigError
from edge.mqtt.messages import Outgoing
from edge.mqtt.session import MqttSession
from edge.mqtt.topics import Topics
from edge.pipeline.pipeline import Pipeline
from edge.plugins.contexts import SinkContext
from edge.plugins.protocols import RememberingSource, Source
from edge.plugins.rows import RowRules
from edge.postprocess import regress
from edge.remote.address import without_credentials
from edge.runtime import thermal
from edge.runtime.controls import Controls
from edge.runtime.guard import Guard
from edge.runtime.left_out import LeftOut
from edge.runtime.options import RunnerOptions
from edge.runtime.runner import Runner
from edge.runtime.stop import Stop
from edge.settings import runs
from edge.settings.settings import InputSettings, Settings
from edge.telemetry.board import temperature_celsius
from edge.telemetry.clock import SystemClock
from edge.telemetry.metrics import Metrics
from edge.telemetry.watchdog import Heartbeats, Watchdog

if TYPE_CHECKING:
    from edge.app.update_agent import UpdateAgent
    from edge.homeassistant.announcer import Announcer
    from edge.http.app import HttpServer
    from edge.mqtt.embedded import EmbeddedBroker
    from edge.mqtt.masks import MaskPublisher

log = logging.getLogger("edge.app.service")

ORIGINS_MOST = 1024
"""More than any broker sends without an acknowledgement."""


class Opened(msgspec.Struct, frozen=True):
    """The settings of a run, and its model, or why that cannot be loaded."""

    settings: Settings
    loaded: Loaded | Exception

    @property
    def name(self) -> str:
        """What its topics call it."""
        return self.loaded.manifest.name if isinstance(self.loaded, Loaded) else runs.name(self.settings)


class Shared(msgspec.Struct, frozen=True):
    """What all runs of the process have in common."""

    settings: Settings
    stop: Stop
    hearts: Heartbeats
    metrics: Metrics
    clock: SystemClock
    names: tuple[str, ...]
    """Of the runs, where there are several."""
    session: MqttSession | None
    server: HttpServer | None
    broker: EmbeddedBroker | None


def build(settings: Settings, loaded: Loaded, updates: UpdateAgent | None = None) -> App:
    """Every part of a process with one run, made and not yet started; `updates` may put another model in its place,
    later. Raises ConfigError."""
    return build_all(settings, [Opened(settings, loaded)], updates)


def build_all(settings: Settings, opened: Sequence[Opened], updates: UpdateAgent | None = None) -> App:
    """The same for the runs of `settings`. Of several, one that cannot be made is told of and does not begin.

    Raises FatalError of the only one, ConfigError."""
    names = [one.name for one in opened]
    joined.require_apart(opened)
    first, last = Draft(), Draft()
    clock, stop, metrics = SystemClock(), Stop(), Metrics()
    hearts = Heartbeats(clock)
    broker = connecting.embedded(settings, first)
    session = connecting.connect(settings, last, names, stop, hearts.beat, broker)
    server = endpoint.open_server(settings, stop, clock, metrics)
    shared = Shared(
        settings, stop, hearts, metrics, clock, tuple(names) if len(names) > 1 else (), session, server, broker
    )
    made = [_run(shared, one, updates) for one in opened]
    watchdog = Watchdog(joined.hearts(hearts, made), clock)
    last.ticks.append(HangLog(watchdog).tick)
    if server is not None:
        endpoint.begin(last, server, settings.http)
    if session is not None:
        joined.connect(settings, last, session, broker, made, names)
    joined.health(settings, last, made, clock)
    left = functools.partial(joined.leave, session, server)
    return App(
        stop, tuple(made), watchdog, tuple(first.parts), tuple(last.parts), last.tick, left, hears=session is not None
    )


def _run(shared: Shared, opened: Opened, updates: UpdateAgent | None) -> Run:
    """Of several runs one that cannot be made is none that raises."""
    topics = opened.settings.topics
    base = Topics(f"{topics.prefix}/{topics.device}/{opened.name}")
    stop = Stop(shared.stop) if shared.names else shared.stop
    outboxes: list[Outbox] = []  # filled below: what reports them is made before them
    made: Made | Exception
    try:
        if isinstance(opened.loaded, Exception):
            raise opened.loaded
        made = _made(shared, _core(shared, opened.settings, opened.loaded, stop), outboxes, updates)
    except Exception as exc:  # also a bug, of a plug-in: it is told by what looks after the runs
        if not shared.names:
            raise
        end(outboxes)
        made = exc
    run = Run(opened.name, base, stop, made)
    if run.error is not None and shared.server is not None:
        shared.server.fail(run.name, run.reason)
    return run


def _made(shared: Shared, core: Core, outboxes: list[Outbox], updates: UpdateAgent | None) -> Made:
    """Every part of a run. Raises FatalError."""
    settings, loaded, session, draft = core.settings, core.loaded, shared.session, Draft()
    running = updates.runs(core) if updates is not None else None
    draft.add("engine", stop=loaded.engine.close if running is None else running.close, lasting=True)
    status = Status(core.settings, loaded, core.metrics, core.clock, core.boot, core.topics, outboxes)
    if session is not None and shared.names:
        status.process_status = session.options.status_topic
    watched = drift.make(core, draft, session)
    if watched is not None:
        core = structs.replace(core, look=watched.look)
    status.drift = watched.counts if watched is not None else None
    captured = capture.make(core, draft, watched)
    status.capture = captured.counts if captured is not None else None
    announcer = _announcer(core, draft, session, status)
    own = inputs.make(core, draft, session)
    source = _source(core, session if own is None else own.session)
    masks = _masks(core, session)
    watches = [one.watch for one in (masks, watched) if one is not None]
    keep = captured.keep if captured is not None else None
    then = cascade.make(core, draft)
    status.then = then.loaded
    flow, track, controls = control.make(core, *tracking.make(core, source))
    follows = (*((track,) if track is not None else ()), *then.stages())
    pipeline = flow.pipeline(*watches, follows=follows, keep=keep)
    status.instances = _instances(core, pipeline)
    outboxes += _outboxes(core, source, session, announcer)
    refusals.report(outboxes, core.loaded.manifest.name, core.hearts.beat)
    _frame_saver(core, draft)
    tried = trial.make(core, draft, session, captured.differs if captured is not None else None)
    if shared.server is not None:
        endpoint.serve(core, draft, status, source, (watched, tried, captured), then, shared.server)
    if announcer is not None and announcer.pictures is not None:
        draft.observers.append(announcer.pictures.observe)
    if isinstance(source, RememberingSource):
        draft.add("inputs", functools.partial(_remind, source, outboxes))
    by_hand = updates.install if updates is not None and settings.updates.manual else None
    control.listen(core, draft, session, controls, by_hand)
    status.collects = collect.listen(core, draft, session, captured.folder if captured is not None else None)
    if session is not None:
        if shared.broker is None:
            connecting.hold(settings, draft, session, core.topics.base, loaded.path)
        connecting.join(core, draft, session, status)
        _terminal(core, draft, session)
    for name, part in (("drift's end", watched), ("trial's end", tried)):
        if part is not None:
            draft.add(name, stop=part.close)
    guard = _guard(core, draft, source, tried)
    if updates is not None:
        updates.join(core, draft, session, status)
    if own is not None:
        draft.add("connection of its inputs", own.session.start, own.session.stop)
    pipelines = (pipeline, *(flow.pipeline(*watches) for _ in range(status.instances if status.instances > 1 else 0)))
    runner = _runner(core, draft, source, pipelines, outboxes, guard, controls)
    told = controls is not None or words.are_used(settings)
    if running is not None and not (watches or follows or keep or told):  # these are made for the model that runs
        following.join(running, runner, shared.server, status, announcer)
    heard = (core.topics.set, core.topics.stats, core.topics.info) if session is not None else ()
    born = draft.born if own is None else own.born
    return Made(loaded, runner, tuple(draft.parts), outboxes, core.hearts, born, status.farewell, heard)


def _core(shared: Shared, settings: Settings, loaded: Loaded, stop: Stop) -> Core:
    clock, alone = shared.clock, not shared.names
    return Core(
        settings=settings,
        loaded=loaded,
        clock=clock,
        metrics=shared.metrics if alone else Metrics(),
        hearts=shared.hearts if alone else Heartbeats(clock),
        stop=stop,
        boot=os.urandom(4).hex(),
        seq=itertools.count(1),
        rows=_row_rules(settings.input),
        runs=shared.names,
    )


def _row_rules(settings: InputSettings) -> RowRules:
    return RowRules(
        settings.ignore_unknown,
        settings.absent == "missing",
        LeftOut(),
        json_path.parse(settings.path) if settings.path is not None else None,
        settings.text_numbers,
    )


def _terminal(core: Core, draft: Draft, session: MqttSession) -> None:
    """For a person who has just started it by hand; a console sink shows every result anyway."""
    from edge.app import terminal

    settings = core.settings
    if not terminal.is_there() or any(uri.startswith("console") for uri in settings.output.sinks):
        return
    asks = settings.input.source is None and not settings.join.features
    said = terminal.lines(session.options.url, settings.mqtt, core.topics, core.loaded.manifest, asks=asks)
    draft.add("terminal", functools.partial(terminal.show, said))
    draft.observers.append(terminal.KindsOfResult().observe)


def _announcer(core: Core, draft: Draft, session: MqttSession | None, status: Status) -> Announcer | None:
    if session is None or core.settings.publishing.home_assistant is None:
        return None
    from edge.homeassistant import build

    model = (core.loaded.manifest, core.loaded.engine.outputs)
    announcer = build.announcer(
        core.settings,
        *model,
        session,
        core.clock,
        lambda: [status.message()],
        drift=status.drift is not None,
        lowest=control.bounds(core.loaded, None).lowest if core.settings.topics.commands else None,
        process_status=session.options.status_topic if core.runs else "",
        runs=core.runs,
    )

    def births() -> Sequence[Outgoing]:
        announcer.born()
        return ()

    draft.births.append(births)
    draft.ticks.append(announcer.tick)
    draft.add("home assistant", announcer.open, announcer.close)
    return announcer


def _masks(core: Core, session: MqttSession | None) -> MaskPublisher | None:
    if not core.settings.output.mask:
        return None
    if session is None:
        raise ConfigError("--mask publishes on MQTT; with --mqtt none there is nowhere to")
    from edge.mqtt.masks import MaskPublisher  # brings OpenCV

    return MaskPublisher(core.topics.mask, assembly.masks_of(core.loaded), functools.partial(session.post, keep=True))


def _instances(core: Core, pipeline: Pipeline) -> int:
    count = assembly.instances(core.settings, pipeline)
    core.metrics.set("instances", count)
    if core.settings.model.instances not in (count, "auto"):
        log.warning("one instance: the model, or its window, keeps something from one input to the next")
    elif count > 1:
        log.info("instances", extra={"instances": count, "threads": core.settings.model.threads or 1})
    return count


# --- samples in, results out ----------------------------------------------------------------------------


def _source(core: Core, session: MqttSession | None) -> Source | None:
    uri = core.settings.input.source or ("mqtt:" if session is not None else None)
    if uri is None:
        if core.rows.path is not None:
            raise ConfigError("--input-path is for what a --source brings, and there is none; leave it out")
        return None
    context = assembly.source_context(
        core.loaded,
        core.clock,
        core.settings,
        session,
        core.topics.input,
        core.metrics.inc,
    )
    rules = assembly.join_rules(core.settings)
    if rules is None:
        return assembly.make_source(uri, context)
    from edge.mqtt import join

    return join.create(rules, context)


def _remind(source: RememberingSource, outboxes: Sequence[Outbox]) -> None:
    """Opens a source that was told which inputs of an earlier life are on disk. Raises SpoolError.

    Those are inputs whose results every outbox that matters has there.
    """
    held: list[set[bytes]] = []
    for outbox in outboxes:
        outbox.open()
        if outbox.durable:
            held.append(set(outbox.origins(ORIGINS_MOST)))
    source.remember(set.intersection(*held) if held else set())
    source.open()  # subscribed first: who reads `online` may publish at once


def _outboxes(
    core: Core, source: Source | None, session: MqttSession | None, announcer: Announcer | None
) -> Iterator[Outbox]:
    """One for each sink. Its name names the spool too: of a second `file:` it is `file-2`."""
    said, manifest = core.settings.words, core.loaded.manifest
    sparkplug = said.format == "sparkplug"
    own = ("mqtt", *((f"sparkplug:{said.host or ''}",) if sparkplug else ())) if session is not None else ()
    uris = tuple(dict.fromkeys((*own, *core.settings.output.sinks)))
    context = SinkContext(
        task=manifest.task,
        values=tuple(name for name, _ in regress.named(manifest, core.loaded.engine.outputs))
        if manifest.task == "regress"
        else (),
        results=not sparkplug,
        device=core.settings.topics.device,
        model=core.loaded.manifest.name,
        topic=core.topics.base,
        batch=core.settings.publishing.batch,
        retain=core.settings.words.retain,
        clock=core.clock,
        transport=session,
        reply_topics=core.settings.topics.reply_topics,
        discovery=core.discovery,
        sending=announcer.sending if announcer is not None else lambda _: None,
        count=core.metrics.inc,
        closed=core.stop.request if len(uris) == 1 else lambda: None,  # the others go on
    )
    names: list[str] = []
    for uri in uris:
        kind = uri.partition(":")[0]
        same = sum(name == kind or name.startswith(f"{kind}-") for name in names)
        names.append(f"{kind}-{same + 1}" if same else kind)
        sink = assembly.make_sink(uri, context)
        yield Outbox(
            names[-1],
            sink,
            assembly.make_spool(core.settings, sink, names[-1], core.stem),
            clock=core.clock,
            metrics=core.metrics,
            options=assembly.outbox_options(core.settings.delivery, sink, live=source is not None and source.live),
            beat=functools.partial(core.hearts.beat, f"outbox-{names[-1]}"),
        )


def _frame_saver(core: Core, draft: Draft) -> None:
    output = core.settings.output
    if output.save_frames is None:
        return
    if not core.loaded.manifest.takes_pictures:
        raise ConfigError(
            f"--save-frames: {core.loaded.path.name} takes no picture, so there is none to keep; leave it out"
        )
    from edge.overlay.frame_saver import FrameSaver  # brings OpenCV

    saver = FrameSaver(
        output.save_frames,
        output.save_frames_max,
        annotate=output.annotate,
        places=tracking.places(core.settings.tracking),
    )
    draft.observers.append(saver)
    draft.add("frame saver", saver.open)


def _guard(core: Core, draft: Draft, source: Source | None, tried: trial.TrialPart | None) -> Guard:
    """Behind the locks of spools and topics: of two processes only one may take over the marks. And behind the trial:
    where the process died of that, no input is suspected."""
    if not isinstance(source, RememberingSource):
        return Guard()
    from edge.runtime.crash_guard import CrashGuard
    from edge.storage.crash_marks import CrashMarks

    excused = (lambda: tried.to_blame) if tried is not None else (lambda: False)
    guard = CrashGuard(CrashMarks(core.settings.delivery.state_dir, core.stem), excused)
    draft.add("crash marks", guard.open, guard.close)
    return guard


def _runner(
    core: Core,
    draft: Draft,
    source: Source | None,
    pipelines: tuple[Pipeline, ...],
    outboxes: Sequence[Outbox],
    guard: Guard,
    controls: Controls | None,
) -> Runner:
    """`pipelines`: the flow's, and one for each instance where there are several."""
    settings, clock, metrics = core.settings, core.clock, core.metrics
    return Runner(
        source,
        pipelines[0],
        outboxes,
        clock=clock,
        metrics=metrics,
        stop=core.stop,
        options=RunnerOptions(
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
            idle=draft.idle,
            beside_others=bool(core.runs),
            instances=pipelines[1:],
            guard=guard,
            controls=controls,
            wording=words.make(settings, core.loaded, core.topics.base),
        ),
    )
