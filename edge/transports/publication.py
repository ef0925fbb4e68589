"""The MQTT 5 properties of a PUBLISH, packed at once.

paho's `Properties` looks up a name in a list for each attribute and packs through several objects: 120 us for the five
properties of a result, more than all else that publishing it costs. paho itself asks a PUBLISH's properties for nothing
but their bytes.
"""

from __future__ import annotations

import struct
from functools import cache

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.errors import SampleError
from edge.transports.messages import Outgoing

# Identifiers of MQTT 5, section 2.2.2.2.
PAYLOAD_FORMAT, CONTENT_TYPE, CORRELATION_DATA, USER_PROPERTY = b"\x01", b"\x03", b"\x09", b"\x26"
FIELD_MOST = 65535


class Packed(Properties):
    """What paho takes for the properties of a PUBLISH."""

    _data: bytes

    def __init__(self, data: bytes) -> None:
        """`data`: as they go over the wire, with their length before them."""
        # Not Properties.__init__ nor its __setattr__: they are what is slow.
        object.__setattr__(self, "packetType", PacketTypes.PUBLISH)
        object.__setattr__(self, "_data", data)

    def pack(self) -> bytes:
        return self._data

    def __str__(self) -> str:
        return f"{len(self._data)} bytes"


def properties(message: Outgoing) -> Packed | None:
    """None where there are none. Raises SampleError for a text that is longer than MQTT has room for."""
    if not (message.content_type or message.properties or message.correlation is not None):
        return None
    parts = [_content(message.content_type)] if message.content_type else []
    if message.correlation is not None:
        parts += [CORRELATION_DATA, _field(message.correlation)]
    for name, value in message.properties.items():
        parts += [_name(name), _field(value.encode())]
    body = b"".join(parts)
    return Packed(_length(len(body)) + body)


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


def _length(size: int) -> bytes:
    """A variable byte integer: seven bits a byte, the lowest first."""
    found = bytearray()
    while size > 0x7F:
        found.append(size & 0x7F | 0x80)
        size >>= 7
    found.append(size)
    return bytes(found)
