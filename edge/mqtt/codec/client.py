"""One paho client for one connection, by paho's public names only.

paho's external loop: the session's thread says when the socket can be read and written. What paho's callbacks bring is
set aside in `received` and `acknowledged`, and taken from there after they have returned: an error of ours never looks
like one of the network. `fastpath.py` does the same with fewer steps.
"""

from __future__ import annotations

import os
import socket
import ssl
import struct
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt import MQTTException
from paho.mqtt.enums import CallbackAPIVersion, LogLevel
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.mqtt.codec.packets import Acknowledgement, Publication, refusal
from edge.mqtt.messages import RECEIVE_MAXIMUM, Incoming, MqttOptions, ProtocolChoice

SESSION_EXPIRY_S = 7 * 24 * 3600
MAX_IN_FLIGHT = 65_535
LOST = "Unspecified error"
"""What paho calls an end that neither side gave a reason for."""

NOT_MQTT = (ValueError, IndexError, KeyError, struct.error, MQTTException)
"""What paho raises for bytes that are not MQTT."""


class Client:
    """From CONNECT to the end of one connection. Used by one thread at a time."""

    def __init__(self, options: MqttOptions, choice: ProtocolChoice, session: int = 0) -> None:
        """`session` numbers the connection, for what is received on it."""
        self.received: list[Incoming] = []
        self.acknowledged: list[Acknowledgement] = []
        self.connack: Connack | None = None
        self.granted: list[ReasonCode] = []
        """The broker's answer to `subscribe`, one for each topic."""
        self.end: str | None = None
        """Why the connection ended, where paho or the broker said so."""
        self.told_end = False
        """The broker said so, by a DISCONNECT of MQTT 5."""
        self.error = ""
        """The last error of the socket, in the system's words."""
        self.five = choice.version == 5
        self._options = options
        self.qos = choice.qos
        """Of subscriptions."""
        self._session = session
        _name_all_reasons()
        self._paho = self._make(choice)
        self.socket: Callable[[], Any] = self._paho.socket
        """For the selector; None where the connection has ended."""
        self.unread = False
        """True where `read` has something to do that a selector does not see."""
        self._encrypted = False

    def _make(self, choice: ProtocolChoice) -> paho.Client:
        url = self._options.url
        client = self._new(
            CallbackAPIVersion.VERSION2,
            client_id=self._options.client_id,
            clean_session=None if self.five else False,
            protocol=paho.MQTTv5 if self.five else paho.MQTTv311,
            transport="websockets" if url.websockets else "tcp",
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = self._options.connect_timeout_s
        client.max_inflight_messages_set(MAX_IN_FLIGHT)  # the publish queue has a bound of its own
        if url.websockets:
            client.ws_set_options(path=url.request)
        if url.username is not None:
            client.username_pw_set(url.username, url.password)
        if self._options.status_topic:
            qos, retain = (0, False) if choice.plain_will else (choice.qos, choice.retain)
            client.will_set(self._options.status_topic, b"offline", qos=qos, retain=retain)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_log = self._on_log
        # Set, so that paho leaves writing to `write`.
        client.on_socket_register_write = lambda *_: None
        return client

    def _new(self, *args: Any, **kwargs: Any) -> paho.Client:
        return paho.Client(*args, **kwargs)

    # --- the connection -------------------------------------------------------------------------------

    def use_tls(self, context: ssl.SSLContext) -> None:
        """Before `connect`."""
        self._paho.tls_set_context(context)
        self._encrypted = True

    def connect(self) -> None:
        """Opens the socket and queues CONNECT. Raises OSError, WebsocketConnectionError."""
        url = self._options.url
        properties = None
        if self.five:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = SESSION_EXPIRY_S
            properties.ReceiveMaximum = RECEIVE_MAXIMUM
        start: dict[str, Any] = {"clean_start": False, "properties": properties} if self.five else {}
        self._paho.connect(url.host, url.port, keepalive=self._options.keepalive_s, **start)
        # Else a packet behind another waits for the other side's delayed acknowledgement: 40 ms for a lone result.
        # By the descriptor, for what paho returns may be a wrapper of its own.
        with socket.socket(fileno=os.dup(self.socket().fileno())) as same:
            same.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.unread = decrypted(self.socket())

    def check_keepalive(self) -> None:
        """Pings, and ends the connection where the broker has not answered the last ping. About once a second."""
        self._paho.loop_misc()

    def disconnect(self) -> None:
        """Queues DISCONNECT: the broker does not publish the will."""
        self._paho.disconnect()

    def close(self) -> None:
        """Closes the socket, where it is open, without a word."""
        sock = self.socket()
        if sock is not None:
            sock.close()

    # --- out ------------------------------------------------------------------------------------------

    def subscribe(
        self, topics: Mapping[str, int], retained_again: Collection[str] = (), own_too: Collection[str] = ()
    ) -> None:
        """Each topic at its QoS, or the connection's where that is lower. With MQTT 5 the broker sends none that this
        client published, unless it is among `own_too`, and retained messages only where the subscription is new, or
        among `retained_again`."""
        wanted = {topic: min(qos, self.qos) for topic, qos in topics.items()}
        if self.five:
            said = [
                (t, _subscription(t, qos, retained_again=t in retained_again, own_too=t in own_too))
                for t, qos in wanted.items()
            ]
            self._paho.subscribe(said)
        else:
            self._paho.subscribe(list(wanted.items()))

    def unsubscribe(self, topics: Collection[str]) -> None:
        """From filters, whether the broker holds them or not."""
        self._paho.unsubscribe(list(topics))

    def publish(self, publications: Sequence[Publication]) -> list[int]:
        """Queues PUBLISH packets at QoS 1; their packet identifiers, none of which is in use."""
        return [self._publish(p, 1) for p in publications]

    def publish_unconfirmed(self, publications: Sequence[Publication]) -> None:
        """Queues PUBLISH packets at QoS 0."""
        for p in publications:
            self._publish(p, 0)

    def _publish(self, p: Publication, qos: int) -> int:
        properties = None
        if self.five:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.unpack(p.properties)  # type: ignore[no-untyped-call]
        while True:
            info = self._paho.publish(p.name, p.payload, qos, p.retain, properties)
            if info.rc != paho.MQTT_ERR_QUEUE_SIZE:  # else the identifier is still in use, and the next may be free
                return info.mid

    def acknowledge(self, mid: int, qos: int) -> None:
        """Queues the PUBACK of an input."""
        self._paho.ack(mid, qos)

    @property
    def closed_in_silence(self) -> bool:
        """The other side closed the connection, which did not break, and gave no reason."""
        return self.end == LOST and not (self.told_end or self.error)

    @property
    def wants_write(self) -> bool:
        return self._paho.want_write()

    def write(self) -> None:
        """Writes what waits, as far as the socket takes it."""
        self._paho.loop_write()

    # --- in -------------------------------------------------------------------------------------------

    def read(self) -> None:
        """Reads what has come into `received` and `acknowledged`. Raises one of NOT_MQTT."""
        self._paho.loop_read()
        self.unread = decrypted(self.socket())

    def _on_connect(
        self, client: paho.Client, userdata: Any, flags: paho.ConnectFlags, reason: ReasonCode, properties: Any
    ) -> None:
        self.connack = Connack(reason, flags.session_present, properties)

    def _on_disconnect(
        self, client: paho.Client, userdata: Any, flags: Any, reason: ReasonCode, properties: Any
    ) -> None:
        self.end = str(reason)
        self.told_end = bool(flags.is_disconnect_packet_from_server)

    def _on_subscribe(
        self, client: paho.Client, userdata: Any, mid: int, reasons: Sequence[ReasonCode], properties: Any
    ) -> None:
        self.granted.extend(reasons)

    def _on_message(self, client: paho.Client, userdata: Any, message: paho.MQTTMessage) -> None:
        properties = message.properties
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = "\ufffd"
        size = len(message.payload)
        unkept = size if size > self._options.payload_most else 0  # it is of no use, and may wait for long
        self.received.append(
            Incoming(
                topic=topic,
                payload=b"" if unkept else bytes(message.payload),
                qos=message.qos,
                dup=bool(message.dup),
                retain=bool(message.retain),
                mid=message.mid,
                session=self._session,
                response_topic=getattr(properties, "ResponseTopic", None),
                correlation=getattr(properties, "CorrelationData", None),
                unkept=unkept,
            )
        )

    def _on_publish(self, client: paho.Client, userdata: Any, mid: int, reason: ReasonCode, properties: Any) -> None:
        self.acknowledged.append((mid, refusal(reason.value)))

    def _on_log(self, client: paho.Client, userdata: Any, level: int, text: str) -> None:
        if level == LogLevel.MQTT_LOG_ERR:
            self.error = text.partition("on socket: ")[2] or self.error


def decrypted(sock: Any) -> bool:
    """Whether a socket of TLS holds what a selector does not see any more. Only to read from it brings that about."""
    pending = getattr(sock, "pending", None)
    return pending is not None and bool(pending())


def _subscription(topic: str, qos: int, *, retained_again: bool, own_too: bool) -> SubscribeOptions:
    shared = topic.startswith("$share/")  # where No Local is an error, and nothing retained comes
    return SubscribeOptions(qos=qos, noLocal=not (shared or own_too), retainHandling=0 if retained_again else 1)


class Connack:
    """The broker's answer to CONNECT."""

    def __init__(self, reason: ReasonCode, session_present: bool, properties: Any) -> None:
        self.failed = reason.is_failure
        self.reason = str(reason)
        self.session_present = session_present
        self.maximum_packet_size: int | None = getattr(properties, "MaximumPacketSize", None)
        self.receive_maximum: int | None = getattr(properties, "ReceiveMaximum", None)
        self.maximum_qos = int(getattr(properties, "MaximumQoS", 1))
        self.retains = bool(getattr(properties, "RetainAvailable", 1))


def _name_all_reasons() -> None:
    """paho ends a connection over a reason code that it has no name for, or knows for other packets only.

    From 2.2 on the names belong to the class, and are completed once. Before, `fastpath` reads PUBACKs itself.
    """
    names = dict(getattr(ReasonCode, "names", {}))
    if not names or 0xFE in names:
        return
    kinds = {PacketTypes.CONNACK, PacketTypes.PUBACK, PacketTypes.SUBACK, PacketTypes.DISCONNECT}
    for code in range(0x80, 0xFF):
        known = {kind for named in names.get(code, {}).values() for kind in named}
        if kinds - known:
            names[code] = {**names.get(code, {}), f"Reason code 0x{code:02x}": sorted(kinds - known)}
    ReasonCode.names = names
