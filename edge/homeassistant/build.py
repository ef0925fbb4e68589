"""From settings and a model to an announcer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import msgspec

from edge import __version__
from edge.data.names import DISCOVERY
from edge.data.tensor import TensorSpec
from edge.homeassistant.announcer import Announcer
from edge.homeassistant.components import Results
from edge.homeassistant.document import Device, Document, document
from edge.homeassistant.pictures import Pictures
from edge.homeassistant.record import Record
from edge.model.manifest import Manifest
from edge.mqtt.messages import Outgoing
from edge.mqtt.session import MqttSession
from edge.plugins.protocols import Clock
from edge.postprocess import regress
from edge.settings.settings import Settings
from edge.storage.instance import board_serial
from edge.telemetry import board


class Beside(msgspec.Struct, frozen=True):
    """What a run has beside its model. `states` are published behind the document; `drift` is watched for; `lowest`:
    the threshold that commands may say; `process_status`: the status that several `runs` have in common."""

    states: Callable[[], Sequence[Outgoing]]
    drift: bool = False
    lowest: float | None = None
    process_status: str = ""
    runs: Sequence[str] = ()


def announcer(
    settings: Settings,
    manifest: Manifest,
    outputs: tuple[TensorSpec, ...],
    transport: MqttSession,
    clock: Clock,
    beside: Beside,
) -> Announcer:
    """Subscribed to Home Assistant's own status; to be made before the transport starts."""
    discovery = settings.publishing.home_assistant or DISCOVERY
    results = replace(_results(settings, manifest, outputs, drift=beside.drift), lowest=beside.lowest)
    device = replace(_device(settings, manifest), process_status=beside.process_status)
    built = Announcer(
        document(device, results, discovery),
        transport,
        Record(
            settings.delivery.state_dir,
            device.object_id,
            [replace(device, model=name).object_id for name in beside.runs],
        ),
        clock=clock,
        states=beside.states,
        pictures=Pictures(transport, clock, settings.publishing.image_interval) if results.pictures else None,
    )
    transport.subscribe(f"{discovery}/status", built.heard, qos=0)  # retained, or said to all who are there
    return built


def described(
    settings: Settings,
    manifest: Manifest,
    outputs: tuple[TensorSpec, ...],
    *,
    drift: bool = False,
    lowest: float | None = None,
) -> Document:
    """What Home Assistant is told of a model, `drift` and `lowest` as of `announcer`."""
    results = replace(_results(settings, manifest, outputs, drift=drift), lowest=lowest)
    return document(_device(settings, manifest), results, settings.publishing.home_assistant or DISCOVERY)


def _device(settings: Settings, manifest: Manifest) -> Device:
    return Device(
        name=settings.topics.device,
        model=manifest.name,
        model_version=manifest.version,
        prefix=settings.topics.prefix,
        version=__version__,
        board=board.HERE.model(),
        serial=board_serial(),
    )


def _results(settings: Settings, manifest: Manifest, outputs: tuple[TensorSpec, ...], *, drift: bool) -> Results:
    """What there is to be shown."""
    shows = settings.publishing.image_interval > 0 and manifest.takes_pictures
    tells = settings.topics.stats_interval > 0
    return Results(
        task=manifest.task,
        labels=tuple(manifest.labels),
        values=regress.named(manifest, outputs) if manifest.task == "regress" else (),
        pictures=shows,
        temperature=tells and board.temperature_celsius() is not None,
        throttling=tells and board.throttled() is not None,
        drift=drift,
        commands=settings.topics.commands,
        updates=settings.updates.uri is not None,
        by_hand=settings.updates.manual,
        zones=tuple(name for name, _ in settings.tracking.zones),
    )
