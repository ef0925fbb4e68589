"""PUBLISH and PUBACK as bytes (MQTT 3.1.1 and 5, sections 3.3 and 3.4).

paho's `publish` makes some ten objects of a message, and its `Properties` look up a name in a list for each attribute:
15 and 120 us, more than all else that a small model's result costs. Here a message becomes its bytes but for the packet
identifier, and what all results have in common is packed once (`PublishTemplate`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from functools import cache
from typing import TypeAlias

import msgspec

from edge.errors import SampleError
from edge.mqtt.messages import Incoming, OnDelivery, Outgoing, Refusal

PUBLISH, PUBACK = 0x30, 0x40
RETAIN = 0x01
# Identifiers of MQTT 5, section 2.2.2.2.
PAYLOAD_FORMAT, CONTENT_TYPE, CORRELATION_DATA, USER_PROPERTY = b"\x01", b"\x03", b"\x09", b"\x26"
MAX_FIELD = 65535
NO_PROPERTIES = b"\x00"
FAILURE = 0x80
REASONS = {
    0x80: "unspecified error",
    0x83: "implementation specific error",
    0x87: "not authorized",
    0x90: "topic name invalid",
    0x91: "packet identifier in use",
    0x95: "packet too large",
    0x97: "quota exceeded",
    0x99: "payload format invalid",
}


class Publication(msgspec.Struct, frozen=True):
    """A PUBLISH but for its packet identifier. `properties` are those of MQTT 5, their length before them. By `key`
    `on_delivery` knows it."""

    topic: bytes
    properties: bytes
    payload: bytes
    retain: bool = False
    on_delivery: OnDelivery | None = None
    key: int = 0
    qos: int = 1

    @property
    def size(self) -> int:
        """Bytes on the wire, or a few less than said where the message is short."""
        return 5 + len(self.topic) + 2 + len(self.properties) + len(self.payload)

    @property
    def name(self) -> str:
        """The topic as text."""
        return self.topic[2:].decode()


class PublishTemplate:
    """Messages of one topic that differ in their payload and in the value of one user property."""

    def __init__(
        self, topic: str, content_type: str, properties: Mapping[str, str], varies: str, *, retain: bool = False
    ) -> None:
        """`varies` names the property. Raises SampleError as `publication` does."""
        self._retain = retain
        self._topic = topic_field(topic)
        self._fixed = _packed(content_type, None, properties) + _name(varies)
        self._heads: dict[int, bytes] = {}

    def publication(self, value: bytes, payload: bytes, on_delivery: OnDelivery, key: int) -> Publication:
        """The message of one payload; `value` is the property's."""
        head = self._heads.get(len(value)) or self._head(len(value))
        return Publication(self._topic, head + value, payload, self._retain, on_delivery, key)

    def _head(self, size: int) -> bytes:
        head = length(len(self._fixed) + 2 + size) + self._fixed + struct.pack(">H", size)
        self._heads[size] = head
        return head


def publication(message: Outgoing, on_delivery: OnDelivery | None = None, key: int = 0) -> Publication:
    """Raises SampleError for a topic that no client may publish on, and a text longer than MQTT has room for."""
    topic, said = topic_field(message.topic), properties(message)
    return Publication(topic, said, message.payload, message.retain, on_delivery, key, message.qos)


def publish_packets(numbered: Iterable[tuple[int, Publication]], version: int) -> bytes:
    """PUBLISH packets at QoS 1, each with its packet identifier, one behind the other."""
    parts: list[bytes] = []
    for mid, p in numbered:
        extra = p.properties if version == 5 else b""
        rest = len(p.topic) + 2 + len(extra) + len(p.payload)
        first = b"\x33" if p.retain else b"\x32"
        parts += (first, length(rest), p.topic, mid.to_bytes(2, "big"), extra, p.payload)
    return b"".join(parts)


def properties(message: Outgoing) -> bytes:
    """With their length before them. Raises SampleError for a text that is longer than MQTT has room for."""
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
    if not encoded or len(encoded) > MAX_FIELD or any(c in topic for c in "+#\0"):
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
    if len(data) > MAX_FIELD:
        raise SampleError(f"a property of {len(data)} bytes where MQTT has room for {MAX_FIELD}")
    return struct.pack(">H", len(data)) + data


def length(size: int) -> bytes:
    """A variable byte integer: seven bits a byte, the lowest first."""
    if 0x7F < size < 0x4000:  # nearly every result
        return bytes((size & 0x7F | 0x80, size >> 7))
    encoded = bytearray()
    while size > 0x7F:
        encoded.append(size & 0x7F | 0x80)
        size >>= 7
    encoded.append(size)
    return bytes(encoded)


# --- what the broker sends --------------------------------------------------------------------------------


Acknowledgement: TypeAlias = tuple[int, Refusal | None]
"""A PUBACK: the packet identifier, and the refusal where the broker does not take the message."""

Parsed: TypeAlias = tuple[int, bool, int]
"""Where `parse` ended; whether a whole packet of another kind begins there; how many bytes the packet that begins there
has in all, 0 where that is not known yet."""


def parse(
    data: bytes, five: bool, session: int, received: list[Incoming], acknowledged: list[Acknowledgement]
) -> Parsed:
    """Takes the whole PUBLISH packets below QoS 2 and the PUBACKs at the front of `data`, and adds them to the lists.

    Raises ValueError for what is not MQTT.
    """
    at, end = 0, len(data)
    while end - at >= 2:
        size, start = data[at + 1], at + 2
        if size > 0x7F:
            size, start = _length_at(data, at + 1)
            if not start:
                return at, False, 0
        stop = start + size
        if stop > end:
            return at, False, stop - at
        kind = data[at] & 0xF0
        if kind == PUBACK and size >= 2:
            code = data[start + 2] if five and size > 2 else 0
            acknowledged.append((data[start] << 8 | data[start + 1], None if code < FAILURE else refusal(code)))
        elif kind == PUBLISH and data[at] & 0x04 == 0:
            received.append(_publish(data[at], data[start:stop], five, session))
        else:
            return at, True, stop - at
        at = stop
    return at, False, 0


def refusal(code: int) -> Refusal | None:
    """What a reason code of a PUBACK means; None where the broker took the message.

    MQTT 5 makes each code of 0x80 and above a failure, also one that no standard names.
    """
    if code < FAILURE:
        return None
    return Refusal(code, REASONS.get(code, f"reason code 0x{code:02x}"))


HEAD_MOST = 262_144
"""Bytes that a PUBLISH has before its payload, unless it says what nobody asks for."""


def is_large_publish(data: bytes | bytearray, size: int, payload_most: int) -> bool:
    """Whether a PUBLISH below QoS 2 begins there, of `size` bytes in all, whose payload is larger than this."""
    return size > payload_most + HEAD_MOST and data[0] & 0xF4 == PUBLISH


def publish_without_payload(head: bytes, size: int, five: bool, session: int) -> Incoming:
    """Such a PUBLISH, of `size` bytes in all, from its first `HEAD_MOST`. Raises ValueError for what is not MQTT."""
    _, start = _length_at(head, 1)
    return _publish(head[0], head[start:], five, session, size - len(head))


def _publish(first: int, body: bytes, five: bool, session: int, missing: int = 0) -> Incoming:
    """`missing`: bytes at its end that are not in `body`; then the payload is not kept."""
    qos = first >> 1 & 0x03
    topic, at = _bytes_at(body, 0, len(body))
    mid = 0
    if qos:
        mid = int.from_bytes(body[at : at + 2], "big")
        at += 2
    response = correlation = None
    if five:
        size, at = _length_at(body, at)
        if size and at + size <= len(body):
            response, correlation = _reply(body, at, at + size)
        at += size
    payload_size = len(body) + missing - at
    if payload_size < 0 or at == 0:
        raise ValueError("a PUBLISH that is shorter than it says")
    return Incoming(
        topic=topic.decode(errors="replace"),
        payload=b"" if missing else body[at:],
        qos=qos,
        dup=bool(first & 0x08),
        retain=bool(first & RETAIN),
        mid=mid,
        session=session,
        response_topic=response,
        correlation=correlation,
        # Of a payload behind more properties than were kept, the whole: they are what makes it large.
        unkept=(payload_size if at <= len(body) else len(body) + missing) if missing else 0,
    )


_SIZES = {0x01: 1, 0x02: 4, 0x23: 2}
_TEXTS = {0x03: 1, 0x08: 1, 0x09: 1, 0x26: 2}


def _reply(data: bytes, at: int, stop: int) -> tuple[str | None, bytes | None]:
    """Response Topic and Correlation Data among the properties of a PUBLISH."""
    response: str | None = None
    correlation: bytes | None = None
    while at < stop:
        kind = data[at]
        at += 1
        if kind in _SIZES:
            at += _SIZES[kind]
        elif kind == 0x0B:
            _, at = _length_at(data, at)
        elif kind in _TEXTS:
            for _ in range(_TEXTS[kind]):
                text, at = _bytes_at(data, at, stop)
            if kind == 0x08:
                response = text.decode(errors="replace")
            elif kind == 0x09:
                correlation = text
        else:
            raise ValueError(f"a PUBLISH with the property 0x{kind:02x}")
    return response, correlation


def _bytes_at(data: bytes, at: int, stop: int) -> tuple[bytes, int]:
    end = at + 2 + (data[at] << 8 | data[at + 1]) if at + 2 <= stop else stop + 1
    if end > stop:
        raise ValueError("a field that is longer than its packet")
    return data[at + 2 : end], end


def _length_at(data: bytes, at: int) -> tuple[int, int]:
    """The variable byte integer there and the place behind it; (0, 0) where its end has not come yet."""
    size = shift = 0
    for position in range(at, min(at + 4, len(data))):
        byte = data[position]
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return size, position + 1
    if at + 4 <= len(data):
        raise ValueError("a length of more than four bytes")
    return 0, 0
