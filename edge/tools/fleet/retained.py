"""What all devices have retained on a topic of theirs.

A broker puts all that is retained into a client's queue at once, and drops without a word what does not fit there: past
a thousand messages of QoS 1, and past some megabytes at QoS 0. So who is there is learnt from `status`, which is small,
and those of whom nothing came are asked by name, some hundreds at a time.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import paho.mqtt.client as paho

from edge.errors import UnavailableError
from edge.mqtt.messages import MqttOptions
from edge.mqtt.plain_client import begin, end, plain_client
from edge.mqtt.topics import Topics

QUIET_S = 1.0
"""No further retained message for so long after the broker has taken the subscription: that was all."""
MOST_S = 30.0
"""For each question."""
ASKED_AT_ONCE = 500

Kind = TypeVar("Kind")
Key = tuple[str, str]
"""Device and model."""


class Retained(msgspec.Struct, frozen=True):
    """The payloads by device and model. `unlisted`: so many of them have no `status`, and others of that kind may not
    have been heard. `offline`: whose `status` says so."""

    payloads: Mapping[Key, bytes]
    unlisted: int = 0
    offline: frozenset[Key] = frozenset()


def listen(broker: MqttOptions, prefix: str, kind: str) -> Retained:
    """What is retained on `<prefix>/<device>/<model>/<kind>`. Raises UnavailableError where the broker cannot be
    asked, ConfigError."""
    listener = _Listener(broker, prefix)
    try:
        listener.connect()
        said = listener.ask(["+/+"], Topics.status)
        there = set(said)
        found = dict(listener.ask(["+/+"], kind))
        unlisted = len(found.keys() - there)
        missing = sorted(there - found.keys())
        for some in _cut(missing):
            found.update(listener.ask([f"{device}/{model}" for device, model in some], kind))
    finally:
        listener.close()
    return Retained(found, unlisted, frozenset(key for key, payload in said.items() if payload == b"offline"))


def read(payload: bytes, kind: type[Kind]) -> Kind | None:
    """What a device says, as JSON; None where it is none of that kind."""
    try:
        return msgspec.json.decode(payload, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _cut(keys: Sequence[Key]) -> Iterator[Sequence[Key]]:
    for at in range(0, len(keys), ASKED_AT_ONCE):
        yield keys[at : at + ASKED_AT_ONCE]


class _Listener:
    """Payloads are decoded later, for a broker drops those of a slow reader, too."""

    def __init__(self, broker: MqttOptions, prefix: str) -> None:
        self._broker, self._prefix = broker, prefix
        self._changed = threading.Condition()
        self._came: dict[Key, bytes] = {}
        self._kind = ""
        self._asked: int | None = None
        self._refused = False
        self._newest_s = 0.0
        self._client = plain_client(broker)
        self._client.on_message = self._on_message
        self._client.on_subscribe = self._on_subscribe

    def _on_message(self, _client: paho.Client, _userdata: Any, message: paho.MQTTMessage) -> None:
        *_, device, model, kind = message.topic.split("/")
        with self._changed:
            if kind == self._kind and message.payload:
                self._came[device, model] = bytes(message.payload)
                self._newest_s = time.monotonic()
                self._changed.notify()

    def _on_subscribe(self, _client: paho.Client, _userdata: Any, mid: int, codes: Sequence[Any], *_: Any) -> None:
        with self._changed:
            if mid == self._asked:
                self._newest_s = time.monotonic()
                self._refused = all(code.is_failure for code in codes)
                self._changed.notify()

    def connect(self) -> None:
        begin(self._client, self._broker)

    def ask(self, whom: Sequence[str], kind: str) -> Mapping[Key, bytes]:
        """What comes until it is quiet, or all of them have answered who are named. Raises UnavailableError where the
        broker does not take the subscription: nothing heard would look like a fleet of nobody."""
        wanted = 0 if whom[0].startswith("+") else len(whom)
        topics = [f"{self._prefix}/{one}/{kind}" for one in whom]
        end_s = time.monotonic() + MOST_S
        with self._changed:
            self._came, self._kind, self._newest_s = {}, kind, math.inf
            self._refused = False
            _, self._asked = self._client.subscribe([(topic, 0) for topic in topics])
            while not (wanted and len(self._came) >= wanted):
                left_s = min(self._newest_s + QUIET_S, end_s) - time.monotonic()
                if left_s <= 0:
                    break
                self._changed.wait(left_s)
            came, self._came, self._kind = self._came, {}, ""
        if not came and self._newest_s == math.inf:
            raise UnavailableError(f"{self._broker.url}: it did not answer SUBSCRIBE within {MOST_S:.0f} s")
        if self._refused and kind != Topics.status:  # who may not hear that hears the rest of them all the same
            raise UnavailableError(f"{self._broker.url}: it refuses to tell of {topics[0]}; may this user read it?")
        self._client.unsubscribe(topics)
        return came

    def close(self) -> None:
        end(self._client)
