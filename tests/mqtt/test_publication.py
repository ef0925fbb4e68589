"""Properties packed at once are byte for byte what paho's own class makes of them."""

from __future__ import annotations

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.errors import SampleError
from edge.mqtt.messages import Outgoing
from edge.mqtt.publication import Form, length, properties, publication


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
    again.unpack(packed)

    assert again.json() == theirs(message).json()
    assert len(packed) == len(theirs(message).pack())


def test_a_message_without_properties_has_none():
    assert properties(Outgoing("t", b"{}")) == b"\0"
    assert properties(Outgoing("t", b"{}", content_type="a/b"), version=4) == b""


@pytest.mark.parametrize("seq", [1, 42, 10**12])
def test_what_is_packed_once_gives_the_bytes_of_what_is_packed_each_time(seq):
    form = Form("t", "application/json", {"schema": "1", "model": "m" * 120}, varies="seq")
    each = {"schema": "1", "model": "m" * 120, "seq": str(seq)}
    assert form.properties(b"%d" % seq) == properties(
        Outgoing("t", b"", content_type="application/json", properties=each)
    )


@pytest.mark.parametrize("size", [0, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152])
def test_a_length_is_as_the_standard_has_it(size):
    ends = {0: b"\0", 127: b"\x7f", 128: b"\x80\1", 16_383: b"\xff\x7f", 16_384: b"\x80\x80\1"}
    assert length(size) == ends.get(size, {2_097_151: b"\xff\xff\x7f", 2_097_152: b"\x80\x80\x80\1"}.get(size))


@pytest.mark.parametrize("topic", ["", "a/+/b", "a/#", "a\0b", "x" * 65_536])
def test_a_topic_that_nobody_can_publish_on_is_refused(topic):
    with pytest.raises(SampleError, match="not a topic"):
        publication(Outgoing(topic, b""), 5, None)


def test_a_text_too_long_for_mqtt_is_refused():
    with pytest.raises(SampleError, match="65536 bytes"):
        properties(Outgoing("t", b"{}", properties={"a": "x" * 65536}))
