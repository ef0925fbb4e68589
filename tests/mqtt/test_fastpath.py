"""What only the fast way through paho has to see to itself."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

import pytest
from support.processes import until

from edge.mqtt.codec.fastpath import FastClient
from edge.mqtt.codec.packets import HEAD_MOST, length, publication
from edge.mqtt.messages import MqttOptions, Outgoing, ProtocolChoice
from edge.mqtt.url import parse

LARGEST = 1_000_000


@pytest.fixture
def fast_client():
    """Connected by MQTT 5, with the broker's end of the connection."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        url = parse(f"mqtt://127.0.0.1:{server.getsockname()[1]}")
        client = FastClient(MqttOptions(url, "c", payload_most=LARGEST), ProtocolChoice(5))
        client.connect()
        stack.callback(client.close)
        peer = stack.enter_context(server.accept()[0])
        client.write()
        peer.recv(1000)
        peer.sendall(b"\x20\x03\0\0\0")

        def connected():
            client.read()
            return client.connack is not None

        until(connected, "the connection stands")
        yield client, peer


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="Linux has it")
def test_what_has_come_is_acknowledged_at_once_for_brokers_that_wait_for_it(fast_client):
    client, peer = fast_client
    client.socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
    peer.sendall(b"\x40\x02\0\1")

    def confirmed():
        client.read()
        return client.acknowledged

    until(confirmed, "the confirmation has come")
    assert client.socket().getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK)


def test_an_identifier_that_is_still_in_flight_is_not_given_again(fast_client):
    client, peer = fast_client
    message = publication(Outgoing("t", b""))
    (held,) = client.publish([message])
    given = []

    def confirmed():
        client.read()
        return len(client.acknowledged) == len(given)

    while len(given) < 70_000:  # of 65,535 that there are
        mids = client.publish([message] * 5000)
        given += mids
        peer.sendall(b"".join(b"\x40\x02" + mid.to_bytes(2, "big") for mid in mids))
        until(confirmed, "all but the first are confirmed")

    assert held not in given
    assert set(given) == set(range(1, 65_536)) - {held}


GOODBYE = b"\xe0\x02\x82\0"
"""A DISCONNECT of MQTT 5, for an error of the protocol."""


@pytest.mark.parametrize(
    "behind", [b"", GOODBYE, GOODBYE[:1] + b"\xff\xff\xff\xff\x7f"], ids=["nothing", "bye", "junk"]
)
def test_what_a_broker_says_of_a_message_before_it_resets_the_connection_is_heard(fast_client, behind):
    """Also where more follows, which paho does not take once a write has failed: we waited for that for ever."""
    client, peer = fast_client
    (mid,) = client.publish([publication(Outgoing("t", b"too large"))])
    client.write()
    peer.recv(1)  # the rest stays unread: the end is a reset
    peer.sendall(b"\x40\x04" + struct.pack(">H", mid) + b"\x95\0" + behind)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()

    def write_on():
        client.publish([publication(Outgoing("t", b"the next"))])
        client.write()
        return client.socket() is None

    until(write_on, "a write fails")
    (told,) = client.acknowledged
    assert (told[0], told[1].code) == (mid, 0x95)


def packet(payload: bytes, properties: bytes, mid: int) -> bytes:
    rest = b"\0\1t" + struct.pack(">H", mid) + length(len(properties)) + properties + payload
    return b"\x32" + length(len(rest)) + rest


ASKS = b"\x08\0\1r\x09\0\1c"
"""Response Topic r, Correlation Data c."""


@pytest.mark.parametrize("sent_at_once", [1 << 20, 65_536, HEAD_MOST + 1])
@pytest.mark.parametrize(
    ("properties", "reply"),
    [(b"", (None, None)), (ASKS, ("r", b"c")), (b"\x26\0\1a" + b"\xff\xff" + b"x" * 65_535, (None, None))],
    ids=["no properties", "an asker", "a large property"],
)
def test_of_a_message_that_is_too_large_only_its_size_is_kept_and_what_is_behind_it_comes(
    fast_client, properties, reply, sent_at_once
):
    client, peer = fast_client
    size, kept = 5 * LARGEST, LARGEST
    payloads = [(b"a", b""), (bytes(size), properties), (bytes(kept), b""), (b"b", ASKS)]
    stream = b"".join(packet(payload, said, mid) for mid, (payload, said) in enumerate(payloads, 1))

    def all_came():
        client.read()
        return len(client.received) == 4

    sending = threading.Thread(
        target=lambda: [peer.sendall(stream[at : at + sent_at_once]) for at in range(0, len(stream), sent_at_once)]
    )
    sending.start()
    until(all_came, "all four")
    sending.join()

    assert [(m.mid, len(m.payload), m.unkept) for m in client.received] == [
        (1, 1, 0), (2, 0, size), (3, kept, 0), (4, 1, 0)
    ]  # fmt: skip
    assert (client.received[1].response_topic, client.received[1].correlation) == reply


def passed(fast_client, sent):
    """The one message that comes of what the peer sends."""
    client, peer = fast_client
    sending = threading.Thread(target=peer.sendall, args=(sent,))
    sending.start()

    def came():
        client.read()
        return client.received

    until(came, "it has passed")
    sending.join()
    (message,) = client.received
    return message


def test_more_properties_than_anybody_asks_for_are_no_reply_of_a_message_that_is_too_large(fast_client):
    many = ASKS + (b"\x26\0\1a" + b"\xff\xff" + b"x" * 65_535) * 8
    message = passed(fast_client, packet(bytes(2 * LARGEST), many, 7))
    whole = 2 * LARGEST + len(b"\0\1t\0\7") + len(length(len(many))) + len(many)
    assert (message.mid, message.unkept, message.response_topic) == (7, whole, None)


def test_a_small_payload_behind_properties_that_make_the_message_too_large_is_told_by_the_size_of_the_whole(
    fast_client,
):
    many = (b"\x26\0\1a" + b"\xff\xff" + b"x" * 65_535) * 20
    message = passed(fast_client, packet(b"{}", many, 7))
    assert message.payload == b""
    assert message.unkept > len(many)
