"""Packets made and parsed at once are byte for byte what paho makes of them."""

from __future__ import annotations

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.errors import SampleError
from edge.mqtt.codec.packets import PublishTemplate, length, parse, properties, publication, publish_packets, refusal
from edge.mqtt.messages import OnDelivery, Outgoing


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
    message = publication(Outgoing("t", b"{}", content_type="a/b"))
    assert publish_packets([(1, message)], 4) == b"\x32\x07\0\1t\0\1{}"


@pytest.mark.parametrize("seq", [1, 42, 10**12])
def test_what_is_packed_once_gives_the_bytes_of_what_is_packed_each_time(seq):
    template = PublishTemplate("t", "application/json", {"schema": "1", "model": "m" * 120}, varies="seq")
    each = {"schema": "1", "model": "m" * 120, "seq": str(seq)}
    made = template.publication(b"%d" % seq, b"", OnDelivery(print), 0)
    assert made.properties == properties(Outgoing("t", b"", content_type="application/json", properties=each))


@pytest.mark.parametrize("size", [0, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152])
def test_a_length_is_as_the_standard_has_it(size):
    ends = {0: b"\0", 127: b"\x7f", 128: b"\x80\1", 16_383: b"\xff\x7f", 16_384: b"\x80\x80\1"}
    assert length(size) == ends.get(size, {2_097_151: b"\xff\xff\x7f", 2_097_152: b"\x80\x80\x80\1"}.get(size))


@pytest.mark.parametrize("topic", ["", "a/+/b", "a/#", "a\0b", "x" * 65_536])
def test_what_is_no_topic_to_publish_on_is_refused(topic):
    with pytest.raises(SampleError, match="not a topic"):
        publication(Outgoing(topic, b""))


def test_a_text_too_long_for_mqtt_is_refused():
    with pytest.raises(SampleError, match="65536 bytes"):
        properties(Outgoing("t", b"{}", properties={"a": "x" * 65536}))


PUBLISH_5 = b"\x3b\x1d\0\3c/d\1\2" + b"\x0d" + b"\x08\0\3r/t" + b"\x09\0\4\0abc" + b"payload!"


def taken(data, five=True):
    received, acknowledged = [], []
    return received, acknowledged, parse(data, five, 7, received, acknowledged)


def test_a_publish_is_parsed_with_its_reply_and_flags():
    (message,), _, (end, other, wanted) = taken(PUBLISH_5)
    assert (message.topic, message.payload, message.mid, message.session) == ("c/d", b"payload!", 258, 7)
    assert (message.qos, message.dup, message.retain) == (1, True, True)
    assert (message.response_topic, message.correlation) == ("r/t", b"\0abc")
    assert (end, other, wanted) == (len(PUBLISH_5), False, 0)


@pytest.mark.parametrize("cut", range(len(PUBLISH_5)))
def test_a_packet_that_has_not_come_whole_is_left(cut):
    received, _, (end, other, wanted) = taken(b"\x40\x02\0\1" + PUBLISH_5[:cut])
    assert (received, end, other) == ([], 4, False)
    assert wanted == (len(PUBLISH_5) if cut >= 2 else 0)


def test_properties_of_other_kinds_are_passed_over():
    extra = b"\x01\1" + b"\x02\0\0\0\x3c" + b"\x03\0\1x" + b"\x0b\x80\1" + b"\x26\0\1a\0\1b" + b"\x09\0\1c"
    body = b"\0\1t" + bytes([len(extra)]) + extra + b"{}"
    (message,), _, _ = taken(bytes([0x30, len(body)]) + body)
    assert (message.payload, message.correlation, message.qos, message.mid) == (b"{}", b"c", 0, 0)


@pytest.mark.parametrize(
    "data",
    [
        b"\x30\x02\0\x09",
        b"\x32\x05\0\1t\0\1",
        b"\x30\x05\0\1t\x7fx",
        b"\x30\x06\0\1t\2\x7f\1",
        b"\x30\xff\xff\xff\xff\1",
    ],
)
def test_what_is_not_mqtt_is_an_error(data):
    with pytest.raises((ValueError, IndexError)):
        taken(data)


def test_a_packet_of_another_kind_is_left_to_paho():
    _, acknowledged, (end, other, wanted) = taken(b"\x40\x02\0\1" + b"\x90\x04\0\2\0\1" + b"\x40\x02\0\3")
    assert ([mid for mid, _ in acknowledged], end, other, wanted) == ([1], 4, True, 6)


@pytest.mark.parametrize("code", [0x80, 0x87, 0x95, 0x97, 0xA7, 0xFF])
def test_a_reason_code_of_0x80_and_above_is_a_refusal_named_or_not(code):
    _, ((mid, refused),), _ = taken(b"\x40\x03\0\5" + bytes([code]))
    assert (mid, refused.code) == (5, code)
    assert refused.reason


@pytest.mark.parametrize("code", [0x00, 0x10, 0x7F])
def test_a_reason_code_below_is_none(code):
    assert refusal(code) is None
