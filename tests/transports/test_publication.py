"""Properties packed at once are byte for byte what paho's own class makes of them."""

from __future__ import annotations

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.errors import SampleError
from edge.transports.messages import Outgoing
from edge.transports.publication import properties


def theirs(message: Outgoing) -> Properties:
    made = Properties(PacketTypes.PUBLISH)
    if message.content_type == "application/json":
        made.PayloadFormatIndicator = 1
    if message.content_type:
        made.ContentType = message.content_type
    if message.correlation is not None:
        made.CorrelationData = message.correlation
    if message.properties:
        made.UserProperty = list(message.properties.items())
    return made


@pytest.mark.parametrize(
    "more",
    [
        {"content_type": "application/json", "properties": {"schema": "1", "model": "m\u00fcller", "seq": "42"}},
        {"content_type": "image/png"},
        {"correlation": b"\0\xff" * 300, "properties": {"a": "b"}},
        {"correlation": b"", "content_type": "application/json"},
        {"properties": {"long": "x" * 20_000}},
    ],
)
def test_the_bytes_are_those_of_paho(more):
    message = Outgoing("t", b"{}", **more)
    packed = properties(message)
    again = Properties(PacketTypes.PUBLISH)
    again.unpack(packed.pack())

    assert again.json() == theirs(message).json()
    assert len(packed.pack()) == len(theirs(message).pack())


def test_a_message_without_properties_has_none():
    assert properties(Outgoing("t", b"{}")) is None


def test_a_text_too_long_for_mqtt_is_refused():
    with pytest.raises(SampleError, match="65536 bytes"):
        properties(Outgoing("t", b"{}", properties={"a": "x" * 65536}))
