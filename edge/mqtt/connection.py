"""One MQTT connection, from CONNECT to the end. Belongs to the session's thread but for `open`."""

from __future__ import annotations

import logging
import selectors
import socket
import ssl
import time
from collections.abc import Collection, Mapping

import paho.mqtt.client as paho

from edge.errors import UnavailableError
from edge.mqtt import tls
from edge.mqtt.acknowledgements import Acknowledgements
from edge.mqtt.codec import fastpath
from edge.mqtt.codec.client import NOT_MQTT, Client
from edge.mqtt.messages import RECEIVE_MAXIMUM, Incoming, MqttOptions, ProtocolChoice
from edge.mqtt.publish_queue import PublishQueue
from edge.mqtt.waker import PipeWaker

log = logging.getLogger("edge.mqtt")

CLOSE_WAIT_S = 1.0
"""How long the end waits for what is still to be written."""


def make_client(options: MqttOptions, choice: ProtocolChoice, session: int) -> Client:
    """The fast client where paho is of a version that it is made for."""
    if fastpath.FITS:
        return fastpath.FastClient(options, choice, session)
    if session == 1:
        known = ", ".join(f"{version}x" for version in fastpath.KNOWN)
        log.warning(
            "the installed paho-mqtt is not known here: it is used by its public interface, which is slower, and holds "
            "an input in memory as a whole before its size is looked at (--max-input)",
            extra={"installed": fastpath.INSTALLED, "known": known},
        )
    return Client(options, choice, session)


class Connection:
    """One client, one socket, one publish queue."""

    def __init__(
        self, options: MqttOptions, choice: ProtocolChoice, session: int, context: ssl.SSLContext | None = None
    ) -> None:
        """`session` numbers the connections of a process."""
        self._options = options
        self._choice = choice
        self.session = session
        self.client = make_client(options, choice, session)
        if context is not None:
            self.client.use_tls(context)
        self.queue = PublishQueue(self.client, choice, str(options.url))
        self.acks = Acknowledgements(self.client.acknowledge)
        self.up = False
        self.was_up = False
        self.leaving = False
        """The end is ours."""
        self.resumed = False
        self.no_such_version = False
        self.no_such_qos = False
        self.hung_up = False
        self._refused: str | None = None
        self._gone: str | None = None
        self._topics: list[tuple[str, int]] = []
        self._told_subscription = False
        self._asked_s = 0.0
        self._checked_s = 0.0
        self._flooded_s = 0.0
        """When inputs last came, of more than may be under way: confirmations stand behind them, for however long."""
        self._registered: object = None
        self._watches_write = False

    @property
    def protocol(self) -> str:
        return "MQTT 5" if self._choice.version == 5 else "MQTT 3.1.1"

    @property
    def said_no(self) -> bool:
        """The broker refused the connection, for another reason than how it is spoken."""
        return self._refused is not None and not (self.no_such_version or self.no_such_qos)

    @property
    def answered(self) -> bool:
        """The broker has accepted the connection, or refused it."""
        return self.client.connack is not None

    @property
    def taken_over(self) -> bool:
        """The broker said that it ended the connection, and not that it ends itself: for another client of the same
        id, by an administrator. The session may not be ours any more."""
        return self.client.told_end and self.client.end != "Server shutting down"

    @property
    def closed_in_silence(self) -> bool:
        """So does a broker that gives the session to another client, or ends itself."""
        return self.client.closed_in_silence

    @property
    def seems_without_qos_1(self) -> bool:
        """Of MQTT 3.1.1, where a broker cannot say what it lacks: it granted QoS 0 only, and confirmed nothing."""
        answers = zip(self._topics, self.client.granted, strict=False)
        granted = [reason.value for (_, qos), reason in answers if qos and not reason.is_failure]
        return not self.client.five and self.waits_in_vain and bool(granted) and max(granted) == 0

    @property
    def waits_in_vain(self) -> bool:
        """Messages were sent, and none was confirmed."""
        return self.queue.waits_since_s is not None and not self.queue.confirmed_any

    @property
    def hears(self) -> bool:
        """True once the broker has answered what was subscribed to."""
        return len(self.client.granted) >= len(self._topics)

    # --- the beginning and the end ----------------------------------------------------------------------

    def open(self) -> None:
        """Opens the socket; may wait for a name server and a handshake. Raises UnavailableError in a user's words."""
        url = self._options.url
        try:
            self.client.connect()
        except ssl.SSLCertVerificationError as exc:
            raise UnavailableError(tls.untrusted(self._options, exc)) from exc
        except (ssl.SSLEOFError, ConnectionResetError) as exc:
            if not url.tls:
                raise UnavailableError(f"{url}: {_os_reason(exc)}; {self._way_out(exc)}") from exc
            raise UnavailableError(tls.no_tls(self._options)) from exc
        except ssl.SSLError as exc:
            raise UnavailableError(tls.failed(self._options, f"SSL {exc.reason or exc}") or str(exc)) from exc
        except (OSError, paho.WebsocketConnectionError) as exc:
            raise UnavailableError(f"{url}: {_os_reason(exc)}; {self._way_out(exc)}") from exc

    def _way_out(self, exc: Exception) -> str:
        if isinstance(exc, paho.WebsocketConnectionError):
            tls_too = "" if self._options.url.tls else "; if TLS is spoken there, say wss://"
            return f"are websockets spoken there, at this path? check --mqtt{tls_too}"
        if self._options.url.tls and isinstance(exc, TimeoutError):
            return "is the broker running there, and is this its TLS port? check --mqtt"
        return "is the broker running there? check --mqtt"

    def tell(self) -> None:
        """Says in the log that it stands, and what the broker cannot do."""
        if not self.queue.retains:
            log.warning("the broker retains nothing: status and info reach only those who listen at that moment")
        if not self.queue.qos:
            log.warning("the broker has QoS 0 only: it confirms no result, and what is lost on the way stays lost")
        broker, who = str(self._options.url), self._options.client_id
        log.info("connected to the broker", extra={"broker": broker, "protocol": self.protocol, "client_id": who})

    def close(self, selector: selectors.BaseSelector, *, polite: bool) -> None:
        """Ends it; `polite`: with a DISCONNECT, so that the broker does not publish the will."""
        was_up, self.up = self.up, False
        try:
            if polite and was_up and self.client.socket() is not None:
                self.client.disconnect()
                until = time.monotonic() + CLOSE_WAIT_S
                while self.client.socket() is not None and self.client.wants_write:
                    self.client.write()
                    if time.monotonic() >= until:  # not before it was tried: a busy machine may stand still so long
                        break
        finally:
            if self._registered is not None:
                selector.unregister(self._registered)  # type: ignore[arg-type]
                self._registered = None
            self.client.close()

    # --- one turn ---------------------------------------------------------------------------------------

    def read(self, selector: selectors.BaseSelector, waker: PipeWaker, timeout_s: float) -> list[Incoming]:
        """Waits for the network or the waker, and takes what has come.

        Raises UnavailableError when the connection is gone.
        """
        if self.client.socket() is None:
            return self._taken()  # raises, once it has taken what came before the end
        if self._registered is None or self.client.wants_write != self._watches_write:
            self._watch(selector)
        readable = self.client.unread
        for key, mask in selector.select(0 if readable else timeout_s):
            if key.fileobj is waker:
                waker.clear()
            elif mask & selectors.EVENT_READ:
                readable = True
        if readable:
            if not self.was_up and self._is_tls():
                raise UnavailableError(tls.spoken(self._options))
            try:
                self.client.read()
            except NOT_MQTT as exc:
                url = self._options.url
                raise UnavailableError(f"{url}: answers with something that is not MQTT: {exc}") from exc
        return self._taken()

    def _watch(self, selector: selectors.BaseSelector) -> None:
        sock = self.client.socket()
        self._watches_write = self.client.wants_write
        wants = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._watches_write else 0)
        try:
            if self._registered is None:
                selector.register(sock, wants)
                self._registered = sock
            else:
                selector.modify(sock, wants)
        except (KeyError, ValueError, OSError) as exc:
            raise UnavailableError(self._why_gone()) from exc

    def _is_tls(self) -> bool:
        """Whether the answer to a CONNECT without TLS is an alert of it. Looks, and takes nothing."""
        url = self._options.url
        if url.tls or url.websockets or self.client.socket() is None:
            return False
        try:
            return bool(self.client.socket().recv(1, socket.MSG_PEEK) == tls.ALERT)
        except OSError:
            return False  # told by the read that follows

    def _taken(self) -> list[Incoming]:
        client = self.client
        if client.connack is not None and not self.was_up:
            self._on_connack()
        if client.acknowledged:
            acknowledged, client.acknowledged = client.acknowledged, []
            self.queue.settle(acknowledged)
        if client.socket() is None or client.end is not None or self._refused is not None:
            raise UnavailableError(self._why_gone())
        if not client.received:
            return []
        received, client.received = client.received, []
        if self.acks.owe(received) > RECEIVE_MAXIMUM:
            self._flooded_s = time.monotonic()
        return received

    def write(self) -> None:
        """Writes what was published and acknowledged."""
        if self.client.wants_write:
            self.client.write()
        if self.client.socket() is not None and not self.client.wants_write:
            self.acks.written()

    def check(self) -> None:
        """Looks after the keep-alive, and whether the broker confirms. Right after `read`: what came while the machine,
        or a worker, stood still is not held against the broker. Raises UnavailableError."""
        now = time.monotonic()
        if now - self._checked_s > 1.0:
            self._checked_s = now
            self.client.check_keepalive()
            self._check_subscriptions()
            self._check_answers(now)

    def _check_answers(self, now: float) -> None:
        """One that never answers SUBSCRIBE may send no inputs, and confirm results that it gives to nobody (amqtt 0.12,
        in a session that it had kept)."""
        limit = self._options.confirm_timeout_s
        waits = [
            (self.queue.waits_since_s, "takes messages but has confirmed none"),
            (None if self.hears else self._asked_s, "has not answered what was subscribed to"),
        ]
        for since_s, what in waits if limit else ():
            if since_s is not None and now - max(since_s, self._flooded_s) > limit:
                self._gone = f"the broker {what} for {limit:.0f} s"
                self.queue.given_up = True
                raise UnavailableError(self._why_gone())

    def _check_subscriptions(self) -> None:
        answers = zip(self._topics, self.client.granted, strict=False)  # not all are answered yet
        refused = [(topic, str(reason)) for (topic, qos), reason in answers if reason.is_failure and qos]
        if refused and not self._told_subscription:
            self._told_subscription = True
            topic, reason = refused[0]
            log.error("the broker refuses a subscription", extra={"topic": topic, "reason": reason})

    # --- what is said -----------------------------------------------------------------------------------

    def subscribe(
        self, topics: Mapping[str, int], retained_again: Collection[str] = (), own_too: Collection[str] = ()
    ) -> None:
        """Topic filters with the QoS that is wanted; `hears` is true once the broker has answered. Of those of QoS 0
        a refusal is not told. The others: as `Client.subscribe`'s."""
        if topics:
            self._topics += topics.items()
            self._asked_s = time.monotonic()
            self.client.subscribe(topics, retained_again, own_too)

    def unsubscribe(self, topics: Collection[str]) -> None:
        """Topic filters that the broker may still hold."""
        if topics:
            self.client.unsubscribe(topics)

    @staticmethod
    def matches(subscription: str, topic: str) -> bool:
        """Whether a topic is one that this filter asks for."""
        return bool(paho.topic_matches_sub(subscription, topic))

    # --- why it ended -----------------------------------------------------------------------------------

    def _on_connack(self) -> None:
        connack = self.client.connack
        if connack is None:
            return
        if connack.failed:
            self._refused = self._refusal(connack.reason)
            return
        self.queue.apply_connack(connack)
        self.up = self.was_up = True
        self.resumed = connack.session_present

    def _refusal(self, name: str) -> str:
        if name == "Unsupported protocol version":
            self.no_such_version = True
        if name == "Retain not supported":
            self.queue.retains = False
        if name == "QoS not supported":
            self.no_such_qos = True
            self.queue.qos = 0
        if name in ("Bad user name or password", "Not authorized"):
            user = self._options.url.username
            login = f"the password of user {user!r}" if user else "a connection without user name"
            return f"the broker refuses {login} ({name.lower()}); check --mqtt user:...@ and --mqtt-password-file"
        return f"the broker refuses the connection: {name.lower()}"

    def _why_gone(self) -> str:
        url, end = self._options.url, self.client.end
        self.up = False
        if self._refused is not None:
            return f"{url}: {self._refused}"
        if not self.was_up:
            self.hung_up = True
        if end == "Session taken over":
            return (
                f"{url}: another client connected with the id {self._options.client_id!r}; "
                "give this one another --name or --device"
            )
        if not self.was_up and url.tls and "EOF OCCURRED" in self.client.error.upper():
            return tls.hung_up(self._options)
        said = tls.failed(self._options, self.client.error)
        if said is not None:
            return said
        if self._gone is None and not self.was_up:  # a broker's TLS alert may be lost with the connection
            return tls.hung_up(self._options) if url.tls else tls.silent(self._options)
        if self._gone is None and end is not None:
            self._gone = f"the connection was lost ({end.lower()})"
        return f"{url}: {self._gone or 'the connection was closed'}"


def _os_reason(exc: Exception) -> str:
    if isinstance(exc, socket.gaierror):
        return "no such host"
    if isinstance(exc, TimeoutError):
        return "no answer"
    return getattr(exc, "strerror", None) or str(exc)
