"""The connection to the broker, and what it carries beside inputs and results: status, stats, other devices' signs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from edge.app.core import Core, Draft
from edge.app.run import TOPICS
from edge.app.status import StatsPublisher, Status
from edge.app.topics import TopicsLock
from edge.delivery.retry import for_broker
from edge.errors import ConfigError
from edge.mqtt.asked_before import AskedBefore
from edge.mqtt.messages import MqttOptions, Outgoing
from edge.mqtt.options import broker_url
from edge.mqtt.retained_before import RetainedBefore
from edge.mqtt.session import MqttSession
from edge.mqtt.topics import Topics
from edge.mqtt.twin import TwinWatch
from edge.mqtt.url import BrokerUrl
from edge.runtime.stop import Stop
from edge.settings.settings import Settings
from edge.storage.instance import instance_id

if TYPE_CHECKING:
    from edge.mqtt.embedded import EmbeddedBroker

log = logging.getLogger("edge.app.service")

Births: TypeAlias = Callable[[], Sequence[Outgoing]]


def embedded(settings: Settings, draft: Draft) -> EmbeddedBroker | None:
    """The broker inside the process, where a user wants it. Raises ConfigError."""
    name, _, port = settings.mqtt.url.partition(":")
    if name != "embedded":
        return None
    if port and not port.isdigit():
        raise ConfigError(f"--mqtt {settings.mqtt.url}: {port!r} is not a port; say embedded:1883")
    from edge.mqtt.embedded import EmbeddedBroker  # brings asyncio

    broker = EmbeddedBroker(int(port) if port else None)

    def start() -> None:
        broker.start()
        log.warning(
            "embedded broker, for trying out only: nothing is kept, nobody is asked for a password",
            extra={"broker": f"mqtt://127.0.0.1:{broker.port}"},
        )

    draft.add("embedded broker", start, broker.stop)
    return broker


def connect(
    settings: Settings,
    draft: Draft,
    names: Sequence[str],
    stop: Stop,
    beat: Callable[[str], None],
    broker: EmbeddedBroker | None,
) -> MqttSession | None:
    """That of the process, None with `--mqtt none`. `names` are the runs'. Raises ConfigError."""
    mqtt = settings.mqtt
    if mqtt.url == "none":
        return None
    if mqtt.connections == "each" and len(names) == 1:
        log.warning("mqtt-connections is for several [[run]] tables: here it changes nothing", extra={"said": "each"})
    url = BrokerUrl("mqtt", "127.0.0.1", broker.port) if broker is not None else broker_url(mqtt)
    session = MqttSession(
        MqttOptions(
            url=url,
            client_id=client_id(settings, names[0] if len(names) == 1 else ""),
            status_topic=status_topic(settings, names),
            ca=mqtt.ca,
            cert=mqtt.cert,
            key=mqtt.key,
            keepalive_s=mqtt.keepalive,
            confirm_timeout_s=mqtt.confirm_timeout,
            version=4 if broker is not None else _version(settings),
            payload_most=max(one.input.max_input for one in settings.each),
        ),
        births=draft.born,
        retry=for_broker(),
        failed=stop.fail,
        beat=beat,
    )
    if broker is None:
        remember_retained(settings, session)
    return session


def remember_retained(settings: Settings, session: MqttSession) -> None:
    """What is retained, and an earlier life has inferred, is not inferred again. Before the sources are made."""
    retained = RetainedBefore(settings.delivery.state_dir, str(session.options.url), session.options.client_id)
    session.subscriptions.retained_before = retained
    session.attach(retained)


def remember_asked(settings: Settings, session: MqttSession, *, all_known: bool = True) -> None:
    """Where all that is asked for in this life is known, what only an earlier one has asked for is given up."""
    place = settings.delivery.state_dir, str(session.options.url), session.options.client_id
    session.subscriptions.before = AskedBefore(*place, gives_up=all_known)


def client_id(settings: Settings, name: str, *, of_several: bool = False) -> str:
    """By it the broker knows the session that it keeps. `name`: the run's, "" for what several have in common."""
    if settings.mqtt.client_id:
        return f"{settings.mqtt.client_id}-{name}" if of_several else settings.mqtt.client_id
    instance = instance_id(settings.delivery.state_dir)
    return "-".join(part for part in ("edge-run", settings.topics.device, name, instance) if part)


def status_topic(settings: Settings, names: Sequence[str]) -> str:
    """Where the broker says `offline` for a process that died: the run's, or the one that several have in common."""
    topics = settings.topics
    return Topics(f"{topics.prefix}/{topics.device}" + (f"/{names[0]}" if len(names) == 1 else "")).status


def _version(settings: Settings) -> int | None:
    """None: 5, or what the broker speaks. Attributes of a CloudEvent must not be lost for want of it."""
    if any(one.words.format == "cloudevents-binary" for one in settings.each):
        return 5
    return {"5": 5, "3.1.1": 4}.get(settings.mqtt.version or "")


def hold(settings: Settings, draft: Draft, session: MqttSession, base: str, model: Path) -> None:
    """The topics below `base` are this process's alone, to its end. Behind the spools: of two processes with one spool
    the second ends with the spool's error."""
    lock = TopicsLock(settings.delivery.state_dir, str(session.options.url), base, model)
    draft.add(TOPICS, lock.hold, lock.release, lasting=True)


def begin(draft: Draft, session: MqttSession, broker: EmbeddedBroker | None, last: Births) -> None:
    """Behind all that subscribes: what reads `online` may publish at once. `last` is said before a clean end."""
    draft.add("mqtt", session.start, lambda: session.stop(last()))
    if broker is not None:
        draft.add("results handed out", stop=broker.hand_out)


def join(core: Core, draft: Draft, session: MqttSession, status: Status) -> None:
    """What a run says of itself, and whether another one says the same."""
    twins = TwinWatch(
        core.boot,
        core.topics,
        core.clock,
        answer=lambda: session.post(status.message()),
        changed=lambda: session.post(status.information()),
    )
    twins.listen(session)
    status.twin = lambda: twins.there
    draft.ticks.append(twins.tick)
    draft.births.append(status.births)
    draft.ticks.append(StatsPublisher(session, status, core.settings.topics.stats_interval, core.clock).tick)
