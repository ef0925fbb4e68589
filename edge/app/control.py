"""What commands act on, made where `--commands` is said: a decoder that tells more, and a stage that cuts it down."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge.app import assembly, loading
from edge.app.core import LOW, Core, Draft
from edge.app.loading import Loaded
from edge.data.vocabulary import OBJECTS
from edge.errors import ConfigError
from edge.mqtt.reply_fence import ReplyFence
from edge.mqtt.session import MqttSession
from edge.plugins.protocols import ThresholdPostprocessor
from edge.runtime.controls import Controls, Selection

if TYPE_CHECKING:
    from edge.app.commands import Bounds, Install
    from edge.tracking.stage import Tracking

NAMED = ("classify", *OBJECTS)
"""Tasks whose predictions have a label and a score."""


def make(core: Core, flow: Core, tracked: Tracking | None) -> tuple[Core, Selection | Tracking | None, Controls | None]:
    """The stage behind the decoder, what pipelines before it are made with, and what commands change. Raises
    ConfigError."""
    if not core.settings.topics.commands:
        return flow, tracked, None
    if core.settings.drift.trial is not None:
        raise ConfigError("--commands beside --trial: what one model is told the other is not; leave one out")
    controls = Controls()
    if core.loaded.manifest.task not in NAMED:
        return flow, tracked, controls
    if tracked is not None:
        start = tracked.sure or None
        selection = Selection(controls, start, tracked, partial(setattr, tracked, "sure") if start else None)
        return flow, selection, controls
    lower, start = core.lowered()
    return lower, Selection(controls, core.loaded.manifest.threshold if start is None else start), controls


def listen(
    core: Core, draft: Draft, session: MqttSession | None, controls: Controls | None, install: Install | None
) -> None:
    """Subscribes to `set`, and tells the state at each birth. `install`: where an update waits for a person."""
    if session is None or (controls is None and install is None):
        return
    from edge.app.commands import Commands, Service

    settings = core.settings
    service = Service(
        core.topics,
        (settings.topics.device, core.loaded.manifest.name, core.boot),
        settings.delivery.state_dir / f"{core.stem}.commands.json",
        bounds(core.loaded, settings.manifest.labels) if controls is not None else None,
        install,
    )
    fence = ReplyFence(core.topics.base, core.discovery, settings.topics.reply_topics)
    commands = Commands(service, controls or Controls(), session, fence, core.clock)
    session.subscribe(core.topics.set, commands.heard, qos=0)  # one of QoS 1 waits behind inputs, in a pause for ever
    draft.ticks.append(commands.tick)
    if controls is not None:
        draft.births.append(lambda: [commands.told()])
        draft.add("commands", commands.open, commands.close)


def bounds(loaded: Loaded, labels: Path | tuple[str, ...] | None) -> Bounds:
    """What this model can be told."""
    from edge.app.commands import Bounds

    manifest = loaded.manifest
    if manifest.task not in NAMED:
        return Bounds()
    decode = assembly.make_postprocessor(loaded)
    start = decode.threshold if isinstance(decode, ThresholdPostprocessor) else manifest.threshold
    lowest = min(start or 0.0, LOW) if isinstance(decode, ThresholdPostprocessor) else start or 0.0
    read = partial(loading.labels_of, loaded, labels) if isinstance(labels, Path) else None
    return Bounds(tuple(manifest.labels), True, lowest, start, read)
