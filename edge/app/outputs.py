"""Where a run's results go: an outbox for each sink, and what shows them beside it: Home Assistant, masks, pictures on
disk, a person at the terminal."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge.app import assembly, control, tracking
from edge.app.core import Core, Draft
from edge.app.loading import Loaded
from edge.app.status import Status
from edge.data import codec, refusal
from edge.data.message import Message
from edge.data.names import topic_part
from edge.data.sample import ModelInput
from edge.data.tensor import Array, Tensors
from edge.delivery.ack import Ack
from edge.delivery.options import SAVE_PAST, SENT_IN_A_MOMENT, Durability, OutboxOptions
from edge.delivery.outbox import Outbox
from edge.errors import ConfigError
from edge.mqtt.messages import Outgoing
from edge.mqtt.session import MqttSession
from edge.plugins import registry
from edge.plugins.contexts import SinkContext, SpoolContext
from edge.plugins.declarations import SpoolInfo
from edge.plugins.protocols import BatchSink, Sink, Source, Spool
from edge.postprocess import regress
from edge.postprocess.segment import Segmenter
from edge.settings.settings import DeliverySettings, Settings

if TYPE_CHECKING:
    from edge.homeassistant.announcer import Announcer
    from edge.mqtt.masks import MaskPublisher


def outboxes(
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
        results_topic=said.topic or "",
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
            _spool(core.settings, sink, names[-1], core.stem),
            clock=core.clock,
            metrics=core.metrics,
            options=_options(core.settings.delivery, sink, live=source is not None and source.live),
        )


def _spool(settings: Settings, sink: Sink, name: str, stem: str) -> Spool:
    """That of `--spool` where the sink's results matter and `--durability` says so, else in memory."""
    kind = settings.delivery.spool if sink.durable and settings.delivery.durability != "none" else "memory"
    path = Path(settings.delivery.state_dir) / f"{stem}.{topic_part(name)}"
    context = SpoolContext(path, settings.delivery.spool_max, settings.delivery.spool_max_age or None)
    return registry.checked("edge.spools", kind, registry.declared(SpoolInfo, kind).create(context))


def _options(delivery: DeliverySettings, sink: Sink, *, live: bool) -> OutboxOptions:
    """How a sink's outbox keeps what waits; `live`: the source's newest sample is worth more than an old one."""
    return OutboxOptions(
        durability=Durability(delivery.durability) if sink.durable else Durability.NONE,
        replay_rate=delivery.replay_rate or 0.0,
        beside_past=SENT_IN_A_MOMENT if delivery.replay_rate is None and sink.durable else None,
        save_past=max(SAVE_PAST, _waiting_well(sink)),
        drop_oldest=live,
    )


def _waiting_well(sink: Sink) -> int:
    """Messages that may wait while a sink works: some joined ones, and as many again as it takes in one go."""
    return max(4 * sink.batch, 2 * sink.window) if isinstance(sink, BatchSink) else 0


def announcer(
    core: Core, draft: Draft, session: MqttSession | None, status: Status, *, drift: bool
) -> Announcer | None:
    """None where Home Assistant is not to know."""
    if session is None or core.settings.publishing.home_assistant is None:
        return None
    from edge.homeassistant import build

    beside = build.Beside(
        states=lambda: [status.message()],
        drift=drift,
        lowest=control.lowest(core),
        process_status=session.options.status_topic if core.runs else "",
        runs=core.runs,
    )
    manifest, outputs = core.loaded.manifest, core.loaded.engine.outputs
    announcer = build.announcer(core.settings, manifest, outputs, session, core.clock, beside)

    def births() -> Sequence[Outgoing]:
        announcer.born()
        return ()

    draft.births.append(births)
    draft.ticks.append(announcer.tick)
    draft.add("home assistant", announcer.open, announcer.close)
    return announcer


def masks(core: Core, session: MqttSession | None) -> MaskPublisher | None:
    """`--mask`; None where it is not asked for. Raises ConfigError."""
    if not core.settings.output.mask:
        return None
    if session is None:
        raise ConfigError("--mask publishes on MQTT; with --mqtt none there is nowhere to")
    from edge.mqtt.masks import MaskPublisher  # brings OpenCV

    return MaskPublisher(core.topics.mask, _classes_of_pixels(core.loaded), functools.partial(session.post, keep=True))


def _classes_of_pixels(loaded: Loaded) -> Callable[[Tensors, ModelInput], Array]:
    """What gives the class of each pixel. Raises ConfigError where the model is no segmentation."""
    decode = assembly.make_postprocessor(loaded)
    if not isinstance(decode, Segmenter):
        raise ConfigError(f"--mask: {loaded.path.name} does {loaded.manifest.task}, no segmentation; leave it out")
    return decode.mask


def frame_saver(core: Core, draft: Draft) -> None:
    """`--save-frames`, where it is asked for. Raises ConfigError."""
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


def show_at_terminal(core: Core, draft: Draft, session: MqttSession) -> None:
    """For a person who has just started it by hand; a console sink shows every result anyway."""
    from edge.app import terminal

    settings = core.settings
    if not terminal.is_there() or any(uri.startswith("console") for uri in settings.output.sinks):
        return
    asks = settings.input.source is None and not settings.join.features
    said = terminal.lines(session.options.url, settings.mqtt, core.topics, core.loaded.manifest, asks=asks)
    draft.add("terminal", functools.partial(terminal.show, [*said, terminal.HERE]))
    draft.observers.append(terminal.KindsOfResult(core.loaded.manifest.name if core.runs else "").observe)


BROKER = "mqtt"


def report_refusals(outboxes: Sequence[Outbox], model: str, beat: Callable[[str], None]) -> None:
    """Tells on the topic `error` of each result that a sink refuses for good. Before they run; without a broker the log
    alone tells.

    The error goes the way of every message, through the broker's outbox; while that has no room the thread of the
    sink that refused waits, and beats.
    """
    broker = next((o for o in outboxes if o.name == BROKER), None)
    if broker is None:
        return
    for outbox in outboxes:
        if outbox is not broker:
            waiting = functools.partial(beat, f"outbox-{outbox.name}")
            outbox.on_refused = functools.partial(_tell, broker, outbox.name, model, waiting)


def _tell(broker: Outbox, sink: str, model: str, waiting: Callable[[], None], message: Message, reason: str) -> None:
    error = refusal.of(message, sink, model, f"{sink}: {reason}")
    broker.put([(Message("error", codec.encode(error), message.seq), Ack(1, lambda: None))], waiting)
