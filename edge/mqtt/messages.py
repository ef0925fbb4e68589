"""What goes over an MQTT connection, and how it is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from edge.mqtt.url import BrokerUrl

RECEIVE_MAXIMUM = 64
"""Inputs that the broker should send before they are acknowledged: they are held in memory."""
PACKET_MOST = 268_435_460
"""Bytes of the largest packet that there can be."""


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
    payload_most: int = PACKET_MOST
    """Bytes of a payload that are of any use: of one that is much larger only its size is kept."""


class Incoming(msgspec.Struct, eq=False):
    """A message of a subscription. `session` numbers the connection it came on, `mid` is its packet identifier.
    `unkept`: the bytes of a payload that was too large to be kept, and is empty here; of the whole message, where it is
    what stands before the payload that is too large. `digest` and `safe` are set by `redelivery.py`, in a copy that is
    remembered without its payload; of that `mid` and `session` are those that the broker sent last."""

    topic: str
    payload: bytes
    qos: int
    dup: bool
    retain: bool
    mid: int
    session: int = 0
    response_topic: str | None = None
    correlation: bytes | None = None
    unkept: int = 0
    digest: bytes = b""
    safe: bool = False
    """Its result is confirmed, or on disk."""


class Outgoing(msgspec.Struct, frozen=True):
    """A message to publish. `properties` become MQTT 5 user properties. At `qos` 0 nothing is known of its way."""

    topic: str
    payload: bytes
    retain: bool = False
    content_type: str = ""
    correlation: bytes | None = None
    properties: Mapping[str, str] = msgspec.field(default_factory=dict)
    qos: int = 1


class Refusal(msgspec.Struct, frozen=True):
    """A broker's word that it does not take a message: the reason code of MQTT 5, and what it means."""

    code: int
    reason: str

    @property
    def forever(self) -> bool:
        """True where the same message can never be taken: it is the message that is wrong, no right and no quota."""
        return self.code in (0x90, 0x95, 0x99)  # topic name invalid, packet too large, payload format invalid


class OnDelivery(msgspec.Struct, frozen=True):
    """Who is told what becomes of messages, in the session's thread: `confirmed([key, ...])` or `refused(key, why)`.

    Without `refused` a refusal counts as confirmed: to send the message again would change nothing. `foreign`: somebody
    else has named the topic.
    """

    confirmed: Callable[[list[int]], None]
    refused: Callable[[int, Refusal], None] | None = None
    foreign: bool = False


PROBE = OnDelivery(lambda keys: None)
"""Of a small message that shows whether the broker takes anything. It is never to blame."""


class ProtocolChoice(msgspec.Struct, frozen=True):
    """How one connection is spoken: MQTT 4 (3.1.1) or 5, whether the broker retains, the QoS that it takes.
    `plain_will`: the will goes at QoS 0 and is not retained."""

    version: int
    retain: bool = True
    qos: int = 1
    plain_will: bool = False


class Listener:
    """What the session tells its users, in its own thread: none may wait in it."""

    def up(self, *, resumed: bool) -> None:
        """Connected; `resumed`: the broker surely still had our session."""

    def down(self, reason: str) -> None:
        """The connection went."""

    def away(self, reason: str) -> None:
        """There is no connection: one went, or a try came to nothing. Before `down`."""


class Retry(Protocol):
    """When a connection is tried again. Asked and told in the session's thread."""

    def next_s(self) -> float:
        """Seconds to wait before the next try."""
        ...

    def reset(self) -> None:
        """A connection has stood for a while."""
        ...

    def calm(self) -> None:
        """The broker said no: to ask again at once would change nothing."""
        ...


class Steady(msgspec.Struct, frozen=True):
    """A try each `wait_s` seconds, whatever becomes of it."""

    wait_s: float = 1.0

    def next_s(self) -> float:
        return self.wait_s

    def reset(self) -> None:
        pass

    def calm(self) -> None:
        pass
