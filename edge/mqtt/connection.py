"""One MQTT connection: one paho client, from CONNECT to the end.

paho's external loop (`turn`) runs in the transport's thread. Who publishes may write as well (`flush`), one at a time.
What paho's callbacks bring is set aside and handed on after they return: an error of ours then never looks like one of
the network.
"""

from __future__ import annotations

import logging
import selectors
import socket
import ssl
import struct
import time
from collections.abc import Sequence
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt import MQTTException
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.errors import ConfigError, UnavailableError
from edge.mqtt.client import Client
from edge.mqtt.messages import Incoming, MqttOptions, Outgoing, Speech, Told
from edge.mqtt.publication import Letter
from edge.mqtt.publish_queue import Outflow
from edge.mqtt.waker import SocketWaker

log = logging.getLogger("edge.mqtt")

SESSION_EXPIRY_S = 7 * 24 * 3600
RECEIVE_MAXIMUM = 64
"""Inputs that the broker sends before we acknowledge: they are held in memory."""


class Connection:
    """One paho client, one TCP connection. Used by the transport's thread but for publishing, `flush` and `ack`."""

    def __init__(self, options: MqttOptions, speech: Speech, session: int, tls: ssl.SSLContext | None = None) -> None:
        self._options = options
        self._speech = speech
        self._version = speech.version
        self.session = session
        self._tls = tls
        self.up = False
        self.was_up = False
        self.hears = False
        self.resumed = False
        self.no_such_version = False
        self.hung_up = False
        self._refused: str | None = None
        self._gone: str | None = None
        self._inbox: list[Incoming] = []
        self._checked_at = 0.0
        self._wants = selectors.EVENT_READ
        self.client = self._make_client()
        self._outflow = Outflow(self.client, speech, str(options.url))

    @property
    def retains(self) -> bool:
        """False once the broker has said that it retains nothing."""
        return self._outflow.retains

    @property
    def largest(self) -> int:
        """The broker's Maximum Packet Size, in bytes."""
        return self._outflow.largest

    @property
    def protocol(self) -> str:
        return "MQTT 5" if self._version == 5 else "MQTT 3.1.1"

    @property
    def said_no(self) -> bool:
        """The broker refused the connection, for another reason than the protocol's version."""
        return self._refused is not None and not self.no_such_version

    def _make_client(self) -> Client:
        url = self._options.url
        five = self._version == 5
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._options.client_id,
            clean_session=None if five else False,
            protocol=paho.MQTTv5 if five else paho.MQTTv311,
            transport="websockets" if url.websockets else "tcp",
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = self._options.connect_timeout_s
        if url.websockets:
            client.ws_set_options(path=url.path)
        if url.username is not None:
            client.username_pw_set(url.username, url.password)
        if self._tls is not None:
            client.tls_set_context(self._tls)
        if self._options.status_topic:
            client.will_set(self._options.status_topic, b"offline", qos=1, retain=self._speech.retain)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        # Set, so that paho leaves writing to the thread that runs `turn`.
        client.on_socket_register_write = lambda *_: None
        return client

    def open(self) -> None:
        """Raises UnavailableError with the reason in a user's words."""
        url = self._options.url
        properties = None
        if self._version == 5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = SESSION_EXPIRY_S
            properties.ReceiveMaximum = RECEIVE_MAXIMUM
        start: dict[str, Any] = {"clean_start": False, "properties": properties} if self._version == 5 else {}
        try:
            self.client.connect(url.host, url.port, keepalive=self._options.keepalive_s, **start)
            self._send_at_once()
        except ssl.SSLCertVerificationError as exc:
            raise UnavailableError(
                f"{url}: the broker's certificate is not trusted ({exc.verify_message}); "
                "name its CA with --mqtt-ca FILE"
            ) from exc
        except ssl.SSLError as exc:
            raise UnavailableError(f"{url}: TLS fails: {exc.reason or exc}; is this the broker's TLS port?") from exc
        except (OSError, paho.WebsocketConnectionError) as exc:
            raise UnavailableError(f"{url}: {_os_reason(exc)}; is the broker running there? check --mqtt") from exc

    def _send_at_once(self) -> None:
        """Else a packet behind another waits for the other side's delayed acknowledgement: 40 ms for a lone result."""
        sock = self.client.socket()
        plain = getattr(sock, "_socket", sock)  # paho's websocket wraps it
        if isinstance(plain, socket.socket):
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def watch(self, selector: selectors.BaseSelector, waker: SocketWaker) -> None:
        """Registers what `turn` waits for."""
        selector.register(waker, selectors.EVENT_READ)
        sock = self.client.socket()
        if sock is not None:
            selector.register(sock, selectors.EVENT_READ)

    @staticmethod
    def matches(subscription: str, topic: str) -> bool:
        """Whether a topic is one that this filter asks for."""
        return bool(paho.topic_matches_sub(subscription, topic))

    def turn(self, selector: selectors.BaseSelector, waker: SocketWaker, timeout_s: float) -> list[Incoming]:
        """Waits for the network once and does what it asks; returns what came in.

        Raises UnavailableError when the connection is gone.
        """
        sock = self.client.socket()
        if sock is None:
            raise UnavailableError(self._why_gone())
        wants = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.client.want_write() else 0)
        if wants != self._wants:
            self._wants = wants
            try:
                selector.modify(sock, wants)
            except (KeyError, ValueError, OSError) as exc:
                raise UnavailableError(self._why_gone()) from exc
        pending = getattr(sock, "pending", None)
        ready = selector.select(0 if pending is not None and pending() else timeout_s)
        events = {key.fileobj: mask for key, mask in ready}
        if waker in events:
            waker.clear()
        if events.get(sock, 0) & selectors.EVENT_READ or (pending is not None and pending()):
            self._read()
        self._outflow.turn()
        if self.client.want_write():
            self.client.loop_write()
        now = time.monotonic()
        if now - self._checked_at > 1.0:
            self._checked_at = now
            self.client.loop_misc()
            self._check_confirms(now)
        if self.client.socket() is None or self._gone is not None or self._refused is not None:
            raise UnavailableError(self._why_gone())
        inbox, self._inbox = self._inbox, []
        return inbox

    def _read(self) -> None:
        try:
            self.client.loop_read()
            while self.client.has_read_ahead:
                self.client.loop_read()
        except (ValueError, IndexError, KeyError, struct.error, MQTTException) as exc:
            raise UnavailableError(f"{self._options.url}: answers with something that is not MQTT: {exc}") from exc

    def _check_confirms(self, now: float) -> None:
        since, limit = self._outflow.unconfirmed_since, self._options.confirm_timeout_s
        if limit and since is not None and now - since > limit:
            self._gone = f"the broker takes messages but has confirmed none for {limit:.0f} s"

    def _why_gone(self) -> str:
        url = self._options.url
        if self._refused is not None:
            return f"{url}: {self._refused}"
        if not self.was_up:
            self.hung_up = True
        return f"{url}: {self._gone or 'the connection was closed'}"

    def close(self, selector: selectors.BaseSelector, *, polite: bool) -> None:
        """Ends it; `polite`: with a DISCONNECT, so that the broker does not publish the will."""
        was_up, self.up = self.up, False
        try:
            if polite and was_up and self.client.socket() is not None:
                self.client.disconnect()
                until = time.monotonic() + 1.0
                while self.client.has_unwritten and time.monotonic() < until:
                    self.client.loop_write()
        finally:
            self.client.hang_up()
            for key in list(selector.get_map().values()):
                selector.unregister(key.fileobj)

    def subscribe(self, topics: Sequence[str]) -> None:
        """QoS 1; what is retained comes too. `hears` is true once the broker has answered."""
        if not topics:
            self.hears = True
            return
        if self._version == 5:
            self.client.subscribe([(t, SubscribeOptions(qos=1)) for t in topics])
        else:
            self.client.subscribe([(t, 1) for t in topics])

    def publish(self, message: Outgoing, told: Told | None = None) -> None:
        """Queues a message. Raises SampleError where it can never be sent: its topic, or too large for the broker."""
        self._outflow.publish(message, told)

    def publish_all(self, letters: Sequence[Letter]) -> list[tuple[int, str]]:
        """Queues many; the ticket and the reason of each that can never be sent."""
        return self._outflow.publish_all(letters)

    def flush(self) -> bool:
        """Writes what was published, from any thread. False: `turn` has to."""
        return self.client.write_now()

    # --- paho's callbacks, in the transport's thread ------------------------------------------------

    def _on_connect(
        self, client: paho.Client, userdata: Any, flags: paho.ConnectFlags, reason: ReasonCode, properties: Any
    ) -> None:
        if reason.is_failure:
            self._refused = self._refusal(reason)
            return
        self._outflow.heed(properties)
        self.up = self.was_up = True
        self.resumed = flags.session_present

    def _refusal(self, reason: ReasonCode) -> str:
        name = str(reason)
        if name == "Unsupported protocol version":
            self.no_such_version = True
        if name == "Retain not supported":
            self._outflow.retains = False
        if name in ("Bad user name or password", "Not authorized"):
            user = self._options.url.username
            who = f"the password of user {user!r}" if user else "a connection without user name"
            return f"the broker refuses {who} ({name.lower()}); check --mqtt user:...@ and --mqtt-password-file"
        return f"the broker refuses the connection: {name.lower()}"

    def _on_disconnect(
        self, client: paho.Client, userdata: Any, flags: Any, reason: ReasonCode, properties: Any
    ) -> None:
        self.up = False
        if self._gone is None:
            self._gone = f"the connection was lost ({str(reason).lower()})"
        if str(reason) == "Session taken over":
            self._gone = (
                f"another client connected with the id {self._options.client_id!r}; "
                "give this one another --name or --device"
            )

    def _on_subscribe(
        self, client: paho.Client, userdata: Any, mid: int, reasons: Sequence[ReasonCode], properties: Any
    ) -> None:
        self.hears = True
        refused = [str(r) for r in reasons if r.is_failure]
        if refused:
            log.error("the broker refuses a subscription", extra={"reason": refused[0]})

    def _on_message(self, client: paho.Client, userdata: Any, message: paho.MQTTMessage) -> None:
        properties = message.properties
        self._inbox.append(
            Incoming(
                topic=message.topic,
                payload=bytes(message.payload),
                qos=message.qos,
                dup=bool(message.dup),
                retain=bool(message.retain),
                mid=message.mid,
                session=self.session,
                response_topic=getattr(properties, "ResponseTopic", None),
                correlation=getattr(properties, "CorrelationData", None),
            )
        )


def tls_context(options: MqttOptions) -> ssl.SSLContext | None:
    """The system's store or `ca`, and a client certificate; None without TLS. Raises ConfigError."""
    if not options.url.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=str(options.ca) if options.ca else None)
        if options.ca is not None:
            # Python 3.13 asks for extensions that a CA made by hand (as mosquitto's manual shows) does not write.
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if options.cert is not None:
            context.load_cert_chain(str(options.cert), str(options.key) if options.key else None)
    except (OSError, ssl.SSLError) as exc:
        named = options.ca if options.cert is None else options.cert
        raise ConfigError(f"{named}: cannot be used as a certificate: {exc}") from exc
    return context


def _os_reason(exc: Exception) -> str:
    if isinstance(exc, socket.gaierror):
        return "no such host"
    if isinstance(exc, TimeoutError):
        return "no answer"
    return getattr(exc, "strerror", None) or str(exc)
