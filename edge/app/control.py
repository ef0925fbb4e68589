"""What commands act on, made where `--commands` is said: a decoder that tells more, and a stage that cuts it down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from msgspec.structs import replace

from edge.app import assembly, loading
from edge.app.core import LOW, Core, Draft
from edge.app.loading import Loaded
from edge.data.result import Result, Skipped
from edge.data.vocabulary import OBJECTS
from edge.mqtt.reply_fence import ReplyFence
from edge.mqtt.session import MqttSession
from edge.pipeline.stages import Follow
from edge.plugins.protocols import ThresholdPostprocessor
from edge.runtime.controls import Controls, Selection

if TYPE_CHECKING:
    from edge.app.commands import Bounds, Commands, Install
    from edge.tracking.stage import Tracking

Outcomes: TypeAlias = Sequence[Result | Skipped]

NAMED = ("classify", *OBJECTS)
"""Tasks whose predictions have a label and a score."""


def make(core: Core) -> Controls | None:
    """What commands change, whichever model runs."""
    if not core.settings.topics.commands:
        return None
    return Controls()


def stages(core: Core, tracked: Tracking | None, controls: Controls | None) -> tuple[Core, tuple[Follow, ...]]:
    """What a pipeline of the flow is made with, and what stands behind its decoder: where something cuts down what that
    tells, it tells more."""
    selects = controls is not None and core.loaded.manifest.task in NAMED
    if tracked is None and not selects:
        return core, ()
    lower, start = core.lowered()
    if not selects:
        assert tracked is not None
        return lower, (tracked.sure_from(start or 0.0),)
    assert controls is not None
    if tracked is None:
        return lower, (Selection(controls, core.loaded.manifest.threshold if start is None else start),)
    if not start:
        return lower, (Selection(controls, None, tracked.sure_from(0.0)),)
    return lower, (Selection(controls, start, tracked, partial(setattr, tracked, "sure")),)


def told_alone(core: Core, controls: Controls | None) -> Callable[[Outcomes], Outcomes]:
    """Of what a model of the flow told, that which it would tell without those before: a model on trial is given some
    samples only, so it follows no objects. Those that were told for their track alone go."""
    if core.settings.tracking.lost_s is None:
        return lambda outcomes: outcomes
    start = core.lowered()[1] or 0.0

    def cut(outcomes: Outcomes) -> Outcomes:
        commanded = controls.wanted.threshold if controls is not None else None
        least = start if commanded is None else commanded
        return [
            replace(o, predictions=[one for one in o.predictions if one.score >= least]) if isinstance(o, Result) else o
            for o in outcomes
        ]

    return cut


def listen(
    core: Core, draft: Draft, session: MqttSession | None, controls: Controls | None, install: Install | None
) -> Commands | None:
    """Subscribes to `set`, and tells the state at each birth. `install`: where an update waits for a person."""
    if session is None or (controls is None and install is None):
        return None
    from edge.app.commands import Commands, Service

    settings = core.settings
    service = Service(
        core.topics,
        (settings.topics.device, core.loaded.manifest.name, core.boot),
        settings.delivery.state_dir / f"{core.stem}.commands.json",
        bounds(core.loaded, settings.manifest.labels) if controls is not None else None,
        install,
    )
    fence = ReplyFence(core.topics.base, core.discovery, settings.topics.reply_topics, settings.words.topic or "")
    commands = Commands(service, controls or Controls(), session, fence, core.clock)
    # One of QoS 1 waits behind inputs, in a pause for ever. A retained one is refused at each start, so it is known.
    session.subscribe(core.topics.set, commands.heard, qos=0, retained_again=True)
    draft.ticks.append(commands.tick)
    if controls is not None:
        draft.births.append(lambda: [commands.told()])
        draft.add("commands", commands.open, commands.close)
    return commands


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


def lowest(core: Core) -> float | None:
    """The lowest threshold that commands may say; None where they may say none."""
    return bounds(core.loaded, None).lowest if core.settings.topics.commands else None
