"""A repository in retained messages of a broker, for small fleets. Who reads needs no right to publish.

    <prefix>/_updates/metadata/<name>            a file of metadata
    <prefix>/_updates/targets/<path>/<number>    a target in pieces of PIECE bytes, counted from 0; the last is shorter
    <prefix>/_updates/end                        anything

MQTT has no "not there": what is retained comes for a subscription, and else nothing. So `end` is subscribed to behind
what is asked for: once that has come, what has not come by then is not there. A broker that answers out of order gets
GRACE_S more; what is missed all the same is found by a later check.

Few topics at a time: past a thousand messages a broker drops what waits for a subscriber without a word.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import quote, unquote

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode
from tuf.api.exceptions import DownloadError, DownloadHTTPError, DownloadLengthMismatchError, SlowRetrievalError

from edge.errors import UnavailableError
from edge.mqtt import tls
from edge.mqtt.messages import MqttOptions
from edge.mqtt.options import broker_url
from edge.mqtt.plain_client import dial, plain_client
from edge.mqtt.topics import UpdateTopics
from edge.settings.settings import MqttSettings
from edge.updates.order import MQTT

PIECE = 100_000
"""Below 128 kB, which is all that some hosted brokers take."""
WINDOW = 8
CONNECT_S = 10.0
ANSWER_S = 20.0
GRACE_S = 0.2
TICK_S = 0.1


def topic_of(prefix: str, path: str) -> str:
    """Where a file below `public/` is. A `+` of a version may not be part of a topic."""
    return f"{UpdateTopics(prefix).base}/{quote(unquote(path), safe='/')}"


class Connection:
    """One connection, asked and answered in the caller's thread. All of it raises DownloadError where the broker is not
    there, or goes away; nothing but `open` raises ConfigError."""

    def __init__(self, settings: MqttSettings, prefix: str) -> None:
        self._url = broker_url(settings)
        self._options = MqttOptions(self._url, "", ca=settings.ca, cert=settings.cert, key=settings.key)
        self._prefix = prefix
        self._client: paho.Client | None = None
        self._refused: str | None = None
        self._found: dict[str, bytes] = {}
        self._asked: frozenset[str] = frozenset()
        self._confirmed: set[int] = set()

    def open(self) -> None:
        """Connects where it has not yet. Raises ConfigError for certificates that cannot be used."""
        if self._client is not None:
            return
        url = self._url
        client = plain_client(self._options)
        client.on_connect, client.on_message, client.on_publish = self._on_connect, self._on_message, self._on_publish
        client.connect_timeout = CONNECT_S
        client.max_inflight_messages_set(WINDOW)
        try:
            dial(client, self._options)
        except UnavailableError as exc:
            raise DownloadError(str(exc)) from exc
        self._client = client
        self._until(lambda: self._refused is not None, CONNECT_S, "no answer; is a broker there?")
        if self._refused:
            raise DownloadError(f"{url}: the broker refuses: {self._refused}")

    def close(self) -> None:
        """May be called twice."""
        if self._client is not None:
            self._client.disconnect()
            sock: Any = self._client.socket()
            if sock is not None:
                sock.close()
            self._client = None

    def retained(self, topics: Sequence[str]) -> dict[str, bytes]:
        """What the broker holds of a few topics."""
        self.open()
        assert self._client is not None
        end = topic_of(self._prefix, "end")
        self._found, self._asked = {}, frozenset((*topics, end))
        self._client.subscribe([(topic, 0) for topic in topics])
        self._client.subscribe(end, 0)
        missing = f"no repository below {UpdateTopics(self._prefix).base}; edge-fleet publish puts one there"
        self._until(lambda: end in self._found, ANSWER_S, missing)
        grace = time.monotonic() + GRACE_S
        while len(self._found) < len(self._asked) and time.monotonic() < grace:
            self._turn(GRACE_S)
        self._client.unsubscribe([*topics, end])
        found, self._found, self._asked = self._found, {}, frozenset()
        return {topic: found[topic] for topic in topics if topic in found}

    def keep(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Has the broker retain these; an empty one is forgotten. Returns when it has them."""
        self.open()
        assert self._client is not None
        sent = {self._client.publish(topic, payload, qos=1, retain=True).mid for topic, payload in messages}
        self._until(lambda: sent <= self._confirmed, ANSWER_S, "it does not confirm what is published")
        self._confirmed.clear()

    def _until(self, so: Callable[[], bool], most_s: float, otherwise: str) -> None:
        end = time.monotonic() + most_s
        while not so():
            if time.monotonic() > end:
                raise SlowRetrievalError(f"{self._url}: {otherwise}")
            self._turn(TICK_S)

    def _turn(self, seconds: float) -> None:
        assert self._client is not None
        try:
            code = self._client.loop(seconds)
        except MemoryError:  # a message is read whole, as long as the broker says: `__main__` sets the bound
            self._client = None
            raise DownloadLengthMismatchError(f"{self._url}: a message larger than any file of a repository") from None
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS and not self._refused:
            self._client = None
            if self._refused is None and self._url.tls:
                raise DownloadError(tls.hung_up(self._options))
            raise DownloadError(f"{self._url}: the connection ended: {paho.error_string(code)}")

    def _on_connect(self, _client: paho.Client, _userdata: Any, _flags: Any, code: Any, _properties: Any) -> None:
        self._refused = str(code) if code.is_failure else ""

    def _on_message(self, _client: paho.Client, _userdata: Any, message: paho.MQTTMessage) -> None:
        if message.retain and message.topic in self._asked:  # a publisher may be at work meanwhile
            self._found[message.topic] = bytes(message.payload)

    def _on_publish(self, _client: paho.Client, _userdata: Any, mid: int, _code: Any, _properties: Any) -> None:
        self._confirmed.add(mid)


class Broker:
    """A `Fetcher` of `mqtt:` URLs."""

    def __init__(self, settings: MqttSettings, prefix: str) -> None:
        self._connection = Connection(settings, prefix)
        self._prefix = prefix

    def pieces(self, url: str, start: int) -> tuple[int, Iterator[bytes]]:
        topic = topic_of(self._prefix, url.removeprefix(MQTT))
        if url.startswith(f"{MQTT}targets/"):
            number = start // PIECE
            return number * PIECE, self._target(topic, number)
        found = self._connection.retained([topic])
        if topic not in found:
            raise DownloadHTTPError(f"{topic}: nothing is retained there", 404)
        return 0, iter((found[topic],))

    def _target(self, topic: str, number: int) -> Iterator[bytes]:
        """Ends at a piece that is short, or not there: the length is signed, so one that is missing is no end."""
        while True:
            names = [f"{topic}/{n}" for n in range(number, number + WINDOW)]
            found = self._connection.retained(names)
            for name in names:
                piece = found.get(name, b"")
                if len(piece) > PIECE:
                    raise DownloadLengthMismatchError(f"{name}: {len(piece)} bytes, a piece has {PIECE} at most")
                if piece:
                    yield piece
                if len(piece) < PIECE:
                    return
            number += WINDOW

    def close(self) -> None:
        """Of the connection."""
        self._connection.close()
