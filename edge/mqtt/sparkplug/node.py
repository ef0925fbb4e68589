"""`--format sparkplug`: results as data of a device of an edge node, over a connection of their own.

Sparkplug wants a session that the broker does not keep and a will of its own, and its data are of QoS 0, which no
broker confirms. So a SUBSCRIBE follows each group of them: a broker works through a connection in order, and has taken
what came before it when it answers. What it does not answer is sent again on the next connection, as historical.

Which metrics there are follows from the results: the first one of another model is preceded by a new birth. A result of
an earlier model that comes late has its own added.

Edge node: device and model of our topics with - between; its only device: the model. Group: the prefix.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from edge.errors import ConfigError, SampleError, UnavailableError
from edge.mqtt import tls
from edge.mqtt.session import MqttSession
from edge.mqtt.sparkplug import payload as sparkplug
from edge.mqtt.sparkplug.metrics import ResultMetrics
from edge.mqtt.sparkplug.payload import BOOLEAN, STRING, UINT64, Metric, Payload
from edge.plugins.contexts import SinkContext
from edge.plugins.declarations import SinkInfo
from edge.plugins.protocols import SinkEvents
from edge.plugins.reach import Reached
from edge.remote.store import Record, StoreSink

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage

    from edge.mqtt.messages import MqttOptions

log = logging.getLogger("edge.mqtt")

NAMESPACE = "spBv1.0"
REBIRTH = "Node Control/Rebirth"
ANSWER_S = 5.0
HOST_S = 4.0
"""How long the state of the primary host is waited for: it is retained."""


class NodeTopics(msgspec.Struct, frozen=True):
    """Of one edge node and its device."""

    group: str
    node: str
    device: str

    def of(self, kind: str) -> str:
        """`NBIRTH`, `DDATA` and the like."""
        device = f"/{self.device}" if kind.startswith("D") else ""
        return f"{NAMESPACE}/{self.group}/{kind}/{self.node}{device}"


class Node:
    """A store, as `StoreSink` has them. Its methods belong to one thread; paho's thread tells it what comes."""

    def __init__(self, options: MqttOptions, topics: NodeTopics, metrics: ResultMetrics, host: str) -> None:
        """`host`: the id of a primary host, without which no data are sent; "" where there is none."""
        self._options = options
        self._topics = topics
        self._metrics = metrics
        self._model = ""
        """Whose metrics they are, by its sha256; "" before the first result."""
        self._host = f"{NAMESPACE}/STATE/{host}" if host else ""
        self._client: Client | None = None
        self._changed = threading.Condition()
        self._born, self._lost = False, "not connected"
        self._host_up, self._host_since = not host, -1
        self._answered: set[int] = set()
        self._subscribed = 0
        self._bd_seq = -1
        self._turn = threading.RLock()
        """Held while messages get their numbers and go."""
        self._seq = 0
        self._newest: Sequence[Metric] = ()
        """Of the newest result that was sent: a birth says what is known."""
        self.events: SinkEvents | None = None

    def connect(self) -> None:
        self.close()
        from paho.mqtt import client as paho
        from paho.mqtt.enums import CallbackAPIVersion

        url = self._options.url
        self._bd_seq = (self._bd_seq + 1) % 256
        self._lost, self._born, self._subscribed = "", False, 0
        self._host_up, self._host_since = not self._host, -1
        self._answered.clear()
        five = self._options.version == 5
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            f"{self._options.client_id}-sparkplug",
            clean_session=None if five else True,
            protocol=paho.MQTTv5 if five else paho.MQTTv311,
            transport="websockets" if url.websockets else "tcp",
            reconnect_on_failure=False,
        )
        if url.websockets:
            client.ws_set_options(url.request)
        if url.username is not None:
            client.username_pw_set(url.username, url.password)
        if (context := tls.tls_context(self._options)) is not None:
            client.tls_set_context(context)
        client.will_set(self._topics.of("NDEATH"), self._death(), qos=1)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.connect_timeout = self._options.connect_timeout_s
        self._client = client
        try:
            if five:
                client.connect(url.host, url.port, self._options.keepalive_s, clean_start=True)
            else:
                client.connect(url.host, url.port, self._options.keepalive_s)
        except (OSError, ValueError, paho.WebsocketConnectionError) as exc:
            raise UnavailableError(f"{url}: {exc}") from exc
        client.loop_start()
        self._wait(lambda: self._subscribed in self._answered, ANSWER_S, "no answer to CONNECT and SUBSCRIBE")
        self._wait(lambda: self._host_up, HOST_S, f"the primary host is not online ({self._host})")
        with self._turn:
            self._give_birth(client)
            self._born = True

    def _wait(self, until: Callable[[], bool], seconds: float, otherwise: str) -> None:
        """Raises UnavailableError when the connection goes, or the time is over."""
        with self._changed:
            there = self._changed.wait_for(lambda: bool(self._lost or until()), seconds)
        if self._lost or not there:
            raise UnavailableError(f"{self._options.url}: {self._lost or otherwise}")

    # --- what is sent ------------------------------------------------------------------------------------

    def write(self, records: Sequence[Record]) -> None:
        client = self._client
        if client is None or self._lost:
            raise UnavailableError(f"{self._options.url}: {self._lost or 'not connected'}")
        for record in records:
            result = msgspec.json.decode(record.payload)
            with self._turn:
                self._announce(client, result)
                metrics = self._metrics.of(result, record.payload)
                self._publish(client, "DDATA", metrics)
                if not self._newest or metrics[0].timestamp >= self._newest[0].timestamp:
                    self._newest = metrics
        _, mid = client.subscribe(self._topics.of("NCMD"), 1)
        self._wait(lambda: mid in self._answered, ANSWER_S, "the broker takes data and answers nothing")
        self._answered.discard(mid or 0)

    def _announce(self, client: Client, result: Mapping[str, Any]) -> None:
        """Gives birth where this result has metrics that were not announced, or another model runs."""
        model, late = result["model"]["sha256"], bool(result.get("replayed"))
        if model == self._model:
            return
        own = ResultMetrics.of_result(result)
        suits = own.kinds.items() <= self._metrics.kinds.items()
        first = not self._model
        if not late:
            self._model = model
        if suits and (late or (first and own.kinds == self._metrics.kinds)):
            return
        self._metrics = self._metrics.with_those_of(own) if late else own
        self._newest = ()
        self._give_birth(client)

    def _publish(self, client: Client, kind: str, metrics: Sequence[Metric]) -> None:
        data = sparkplug.encode(Payload(_now_ms(), metrics, self._seq))
        self._seq = (self._seq + 1) % 256
        client.publish(self._topics.of(kind), data, 0)

    def _give_birth(self, client: Client) -> None:
        now = _now_ms()
        self._seq = 0
        from edge import __version__

        node = [
            Metric("bdSeq", self._bd_seq, UINT64, timestamp=now),
            Metric(REBIRTH, False, BOOLEAN, timestamp=now),
            Metric("Properties/edge-run", __version__, STRING, timestamp=now),
        ]
        self._publish(client, "NBIRTH", node)
        known = [replace(metric, historical=False) for metric in self._newest]  # a host takes no other for the present
        self._publish(client, "DBIRTH", known or self._metrics.announced(now))

    def _death(self) -> bytes:
        now = _now_ms()
        return sparkplug.encode(Payload(now, [Metric("bdSeq", self._bd_seq, UINT64, timestamp=now)]))

    def close(self) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        if not self._lost and self._born:
            client.publish(self._topics.of("NDEATH"), self._death(), 1)
        self._lost = self._lost or "closed"
        client.disconnect()
        client.loop_stop()

    def reach(self) -> Reached:
        self.connect()
        return Reached(f"{self._options.url} answers, {self._topics.of('NBIRTH')}")

    # --- paho's thread -----------------------------------------------------------------------------------

    def _on_connect(self, client: Client, _: object, __: object, reason: object, ___: object) -> None:
        if getattr(reason, "is_failure", False):
            self._went(f"the broker refuses the connection: {str(reason).lower()}")
            return
        topics = [(self._topics.of("NCMD"), 1), *([(self._host, 1)] if self._host else [])]
        self._subscribed = client.subscribe(topics)[1] or 0

    def _on_subscribe(self, _: Client, __: object, mid: int, reasons: Sequence[object], ___: object) -> None:
        refused = [str(reason) for reason in reasons if getattr(reason, "is_failure", False)]
        if refused:
            self._went(f"the broker refuses to subscribe to {self._topics.of('NCMD')}: {refused[0].lower()}")
        with self._changed:
            self._answered.add(mid)
            self._changed.notify_all()

    def _on_disconnect(self, _: Client, __: object, ___: object, reason: object, ____: object) -> None:
        self._went(f"the connection was lost ({str(reason).lower()})")

    def _on_message(self, client: Client, _: object, message: MQTTMessage) -> None:
        if message.topic == self._host:
            self._on_state(client, bytes(message.payload))
        elif message.topic == self._topics.of("NCMD"):
            if message.retain:  # it would come with each SUBSCRIBE
                log.warning("a retained command is not followed", extra={"topic": message.topic})
                return
            try:
                command = sparkplug.decode(bytes(message.payload))
            except SampleError as exc:
                log.warning("a command that is none", extra={"topic": message.topic, "reason": str(exc)})
                return
            if any(metric.name == REBIRTH and metric.value is True for metric in command.metrics):
                with self._turn:
                    if self._born:
                        self._give_birth(client)

    def _on_state(self, client: Client, data: bytes) -> None:
        """An older word of an earlier session of the host counts for nothing."""
        try:
            state = msgspec.json.decode(data, type=_State)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            log.warning("a state of the primary host that is none", extra={"topic": self._host})
            return
        with self._changed:
            if state.timestamp < self._host_since:
                return
            self._host_since, self._host_up = state.timestamp, state.online
            self._changed.notify_all()
        if not state.online and self._born:
            client.publish(self._topics.of("NDEATH"), self._death(), 1)
            self._went(f"the primary host went offline ({self._host})")
            client.disconnect()

    def _went(self, reason: str) -> None:
        with self._changed:
            told, self._lost = bool(self._lost), self._lost or reason
            self._changed.notify_all()
        if self.events is not None and self._born and not told:
            self.events.lost(f"{self._options.url}: {reason}")


class _State(msgspec.Struct):
    online: bool
    timestamp: int = 0


class SparkplugSink(StoreSink):
    """Says at once that the connection went: the node is to be there without results, too."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self._node = node

    def open(self, events: SinkEvents) -> None:
        self._node.events = events
        super().open(events)


def create(rest: str, context: SinkContext) -> SparkplugSink:
    """`rest` is the id of the primary host, or nothing. Raises ConfigError."""
    if not isinstance(context.transport, MqttSession):
        raise ConfigError("--format sparkplug needs a broker, but --mqtt is none; name one with --mqtt mqtt://host")
    if any(c in rest for c in "+#/"):
        raise ConfigError(f"--sparkplug-host {rest}: an id has no /, + or #")
    sparkplug.check()
    prefix, device, model = context.topic.rsplit("/", 2)
    topics = NodeTopics(prefix.replace("/", "-"), f"{device}-{model}", model)
    return SparkplugSink(Node(context.transport.options, topics, ResultMetrics(context.task, context.values), rest))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


SINK = SinkInfo(edge_api=1, create=create, usage="sparkplug:")
