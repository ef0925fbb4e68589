"""What goes over an MQTT connection, and how it is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from edge.mqtt.url import BrokerUrl

Confirmed = Callable[[list[int]], None]
Refused = Callable[[int, str], None]


class MqttOptions(msgspec.Struct, frozen=True):
    """How to reach the broker and what to say at birth and death. Times in seconds."""

    url: BrokerUrl
    client_id: str
    status_topic: str = ""
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    keepalive_s: int = 30
    confirm_timeout_s: float = 30.0
    connect_timeout_s: float = 5.0
    version: int | None = None
    """4 or 5; None: 5, falling back to 4 (MQTT 3.1.1)."""


class Incoming(msgspec.Struct, frozen=True):
    """A message of a subscription. `session` and `mid` find it again for the acknowledgement."""

    topic: str
    payload: bytes
    qos: int
    dup: bool
    retain: bool
    mid: int
    session: int
    response_topic: str | None = None
    correlation: bytes | None = None


class Outgoing(msgspec.Struct, frozen=True):
    """A message to publish at QoS 1. `properties` become MQTT 5 user properties."""

    topic: str
    payload: bytes
    retain: bool = False
    content_type: str = ""
    correlation: bytes | None = None
    properties: Mapping[str, str] = msgspec.field(default_factory=dict)


class Told(msgspec.Struct, frozen=True):
    """Who hears of a message's fate, from the transport's thread: `confirmed([ticket])` or `refused(ticket, why)`.

    Where nobody hears of a refusal, it counts as confirmed: to send it again would change nothing.
    """

    ticket: int
    confirmed: Confirmed
    refused: Refused | None = None


class Speech(msgspec.Struct, frozen=True):
    """How to speak on one connection: 4 or 5, and whether the broker takes retained messages."""

    version: int
    retain: bool = True
