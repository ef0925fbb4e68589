"""The connection to the broker, and what it carries beside inputs and results: status, stats, other devices' signs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from edge.app.core import Core, Draft
from edge.app.status import StatsPublisher, Status
from edge.app.topics import TopicsLock
from edge.delivery.retry import for_broker
from edge.errors import ConfigError
from edge.mqtt.messages import MqttOptions
from edge.mqtt.options import broker_url
from edge.mqtt.session import MqttSession
from edge.mqtt.twin import TwinWatch
from edge.mqtt.url import BrokerUrl
from edge.settings.settings import Settings
from edge.storage.instance import instance_id

if TYPE_CHECKING:
    from edge.mqtt.embedded import EmbeddedBroker

log = logging.getLogger("edge.app.service")


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


def connect(core: Core, draft: Draft, broker: EmbeddedBroker | None) -> MqttSession | None:
    """The one connection, None with `--mqtt none`. Raises ConfigError."""
    mqtt, topics = core.settings.mqtt, core.settings.topics
    if mqtt.url == "none":
        return None
    url = BrokerUrl("mqtt", "127.0.0.1", broker.port) if broker is not None else broker_url(mqtt)
    name = core.loaded.manifest.name
    client_id = mqtt.client_id or f"edge-run-{topics.device}-{name}-{instance_id(core.settings.delivery.state_dir)}"
    backoff = for_broker()
    return MqttSession(
        MqttOptions(
            url=url,
            client_id=client_id,
            status_topic=core.topics.status,
            ca=mqtt.ca,
            cert=mqtt.cert,
            key=mqtt.key,
            keepalive_s=mqtt.keepalive,
            confirm_timeout_s=mqtt.confirm_timeout,
            version=4 if broker is not None else _version(core.settings),
        ),
        births=draft.born,
        wait_s=backoff.next_s,
        worked=backoff.reset,
        refused=backoff.calm,
        failed=core.stop.fail,
        beat=core.hearts.beat,
    )


def _version(settings: Settings) -> int | None:
    """None: 5, or what the broker speaks. Attributes of a CloudEvent must not be lost for want of it."""
    if settings.words.format == "cloudevents-binary":
        return 5
    return {"5": 5, "3.1.1": 4}.get(settings.mqtt.version or "")


def join(core: Core, draft: Draft, session: MqttSession, status: Status, broker: EmbeddedBroker | None) -> None:
    """Behind all that subscribes: who reads `online` may publish at once."""

    if broker is None:
        # Behind the spools: of two processes with one spool the second ends with the spool's error.
        lock = TopicsLock(
            core.settings.delivery.state_dir, str(session.options.url), core.topics.base, core.loaded.path
        )
        draft.add("topics", lock.hold, lock.release)
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
    draft.add("mqtt", session.start, lambda: session.stop(status.farewell()))
    if broker is not None:
        draft.add("results handed out", stop=broker.hand_out)
