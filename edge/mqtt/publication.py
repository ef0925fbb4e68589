"""A PUBLISH at QoS 1, packed at once (MQTT 3.1.1 and 5, section 3.3).

paho's `publish` makes some ten objects of a message, and its `Properties` look up a name in a list for each attribute:
15 and 120 us, more than all else that a small model's result costs. Here a message becomes its bytes but for the packet
identifier, and what all results have in common is packed once (`Form`).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import cache

import msgspec

from edge.errors import SampleError
from edge.mqtt.messages import Outgoing, Told

PUBLISH_QOS1, RETAIN = 0x32, 0x01
# Identifiers of MQTT 5, section 2.2.2.2.
PAYLOAD_FORMAT, CONTENT_TYPE, CORRELATION_DATA, USER_PROPERTY = b"\x01", b"\x03", b"\x09", b"\x26"
FIELD_MOST = 65535
NO_PROPERTIES = b"\x00"


class Publication(msgspec.Struct, frozen=True):
    """A PUBLISH without its packet identifier. `properties` with their length before them; empty before MQTT 5."""

    first: int
    topic: bytes
    properties: bytes
    payload: bytes
    told: Told | None

    @property
    def size(self) -> int:
        """Bytes on the wire, or a few less than said where the message is short."""
        return 5 + len(self.topic) + 2 + len(self.properties) + len(self.payload)


class Form:
    """Messages that differ in their payload and in the value of one user property. From any thread."""

    def __init__(self, topic: str, content_type: str, properties: Mapping[str, str], varies: str) -> None:
        """`varies` names the property. Raises SampleError as `publication` does."""
        self.name = topic
        self.topic = topic_field(topic)
        self._fixed = _packed(content_type, None, properties) + _name(varies)
        self._heads: dict[int, bytes] = {}

    def properties(self, value: bytes) -> bytes:
        """As they go over the wire."""
        return (self._heads.get(len(value)) or self._head(len(value))) + value

    def _head(self, size: int) -> bytes:
        head = length(len(self._fixed) + 2 + size) + self._fixed + struct.pack(">H", size)
        self._heads[size] = head
        return head


class Letter(msgspec.Struct, frozen=True):
    """A message of a form: the value of the property that varies, and the payload."""

    form: Form
    value: bytes
    payload: bytes
    told: Told


def publication(message: Outgoing, version: int, told: Told | None) -> Publication:
    """Raises SampleError for a topic that nobody can publish on, and a text longer than MQTT has room for."""
    first = PUBLISH_QOS1 | (RETAIN if message.retain else 0)
    return Publication(first, topic_field(message.topic), properties(message, version), message.payload, told)


def packets(publications: list[tuple[int, Publication]]) -> bytes:
    """Each with its packet identifier, one behind the other."""
    parts: list[bytes] = []
    for mid, p in publications:
        rest = len(p.topic) + 2 + len(p.properties) + len(p.payload)
        parts += (p.first.to_bytes(1, "big"), length(rest), p.topic, mid.to_bytes(2, "big"), p.properties, p.payload)
    return b"".join(parts)


def properties(message: Outgoing, version: int = 5) -> bytes:
    """With their length before them. Raises SampleError for a text that is longer than MQTT has room for."""
    if version < 5:
        return b""
    if not (message.content_type or message.properties or message.correlation is not None):
        return NO_PROPERTIES
    body = _packed(message.content_type, message.correlation, message.properties)
    return length(len(body)) + body


def _packed(content_type: str, correlation: bytes | None, more: Mapping[str, str]) -> bytes:
    parts = [_content(content_type)] if content_type else []
    if correlation is not None:
        parts += [CORRELATION_DATA, _field(correlation)]
    for name, value in more.items():
        parts += [_name(name), _field(value.encode())]
    return b"".join(parts)


def topic_field(topic: str) -> bytes:
    """Raises SampleError for what is not a topic to publish on."""
    encoded = topic.encode()
    if not encoded or len(encoded) > FIELD_MOST or any(c in topic for c in "+#\0"):
        raise SampleError(f"{topic[:80]!r}: not a topic to publish on")
    return _field(encoded)


@cache
def _content(content_type: str) -> bytes:
    text = PAYLOAD_FORMAT + b"\x01" if content_type == "application/json" else b""  # 1: UTF-8
    return text + CONTENT_TYPE + _field(content_type.encode())


@cache
def _name(name: str) -> bytes:
    return USER_PROPERTY + _field(name.encode())


def _field(data: bytes) -> bytes:
    if len(data) > FIELD_MOST:
        raise SampleError(f"a property of {len(data)} bytes where MQTT has room for {FIELD_MOST}")
    return struct.pack(">H", len(data)) + data


def length(size: int) -> bytes:
    """A variable byte integer: seven bits a byte, the lowest first."""
    if 0x7F < size < 0x4000:  # nearly every result
        return bytes((size & 0x7F | 0x80, size >> 7))
    found = bytearray()
    while size > 0x7F:
        found.append(size & 0x7F | 0x80)
        size >>= 7
    found.append(size)
    return bytes(found)
