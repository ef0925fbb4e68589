"""A broker that counts: more under way than its Receive Maximum ends the connection (MQTT 5, 3.3.4)."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from support.processes import until

from edge.mqtt.messages import MqttOptions, Outgoing, Told
from edge.mqtt.publication import Form, Letter
from edge.mqtt.session import MqttTransport
from edge.mqtt.url import BrokerUrl

CONNECT, CONNACK, PUBLISH, PUBACK, DISCONNECT = 1, 2, 3, 4, 14


class CountingBroker:
    """Takes one client; acknowledges when it is told to."""

    def __init__(self, receive_maximum: int) -> None:
        self._maximum = receive_maximum
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._peer: socket.socket | None = None
        self.under_way: list[int] = []
        self.most = 0
        self.payloads: list[bytes] = []
        self.mids: list[int] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        self._peer, _ = self._server.accept()
        with self._peer.makefile("rb") as stream:
            while head := stream.read(1):
                body = stream.read(_length(stream))
                kind = head[0] >> 4
                if kind == CONNECT:
                    self._peer.sendall(bytes([CONNACK << 4, 6, 0, 0, 3, 33]) + struct.pack(">H", self._maximum))
                elif kind == PUBLISH:
                    self._take(body)
                elif kind == DISCONNECT:
                    return

    def _take(self, body: bytes) -> None:
        (size,) = struct.unpack_from(">H", body)
        (mid,) = struct.unpack_from(">H", body, 2 + size)
        self.payloads.append(body[5 + size + body[4 + size] :])
        self.mids.append(mid)
        self.under_way.append(mid)
        self.most = max(self.most, len(self.under_way))

    def acknowledge(self) -> None:
        """The oldest under way."""
        mid = self.under_way.pop(0)
        self._peer.sendall(bytes([PUBACK << 4, 2]) + struct.pack(">H", mid))

    def close(self) -> None:
        if self._peer is not None:
            self._peer.close()
        self._server.close()
        self._thread.join()


def _length(stream) -> int:
    value = shift = 0
    while True:
        byte = stream.read(1)[0]
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value


@pytest.fixture
def broker() -> Iterator[CountingBroker]:
    made = CountingBroker(3)
    yield made
    made.close()


@pytest.fixture
def transport(broker) -> Iterator[MqttTransport]:
    made = MqttTransport(MqttOptions(BrokerUrl("mqtt", "127.0.0.1", broker.port), "counting"))
    made.start()
    until(lambda: made.up, "the connection")
    yield made
    made.stop()


def test_no_more_are_under_way_than_the_broker_said_and_the_order_is_kept(broker, transport):
    confirmed: list[int] = []
    form = Form("t", "text/plain", {}, varies="seq")
    for n in range(4):
        transport.publish(Outgoing("t", b"%d" % n), Told(n, confirmed.extend))
    transport.publish_all([Letter(form, b"%d" % n, b"%d" % n, Told(n, confirmed.extend)) for n in range(4, 9)])
    transport.publish(Outgoing("t", b"9"), Told(9, confirmed.extend))
    for n in range(10):
        until(lambda n=n: len(broker.payloads) == min(10, n + 3), f"{n + 3} messages")
        broker.acknowledge()
    until(lambda: len(confirmed) == 10, "ten confirmations")
    assert broker.most == 3
    assert broker.payloads == [b"%d" % n for n in range(10)]
    assert confirmed == list(range(10))


def test_an_identifier_that_is_still_under_way_is_not_given_again(broker, transport):
    confirmed: list[int] = []
    transport.publish(Outgoing("t", b"0"), Told(0, confirmed.extend))
    until(lambda: broker.mids, "a message")
    (first,) = broker.mids
    client = transport._connection.client
    while client.packet_identifier() != (first - 1 or 65_535):
        continue
    transport.publish(Outgoing("t", b"1"), Told(1, confirmed.extend))
    until(lambda: len(broker.mids) == 2, "another message")
    assert broker.mids[1] != first


def test_of_many_the_one_that_the_broker_never_takes_is_named_and_the_others_go(broker, transport):
    transport._connection._outflow.largest = 100
    form, confirmed = Form("t", "text/plain", {}, varies="seq"), []
    payloads = [b"0", b"x" * 100, b"2"]
    letters = [Letter(form, b"%d" % n, p, Told(n, confirmed.extend)) for n, p in enumerate(payloads)]
    ((ticket, reason),) = transport.publish_all(letters)
    assert ticket == 1
    assert "the broker takes at most 100" in reason
    until(lambda: broker.payloads == [b"0", b"2"], "the two others")


def test_an_acknowledgement_of_nothing_is_ignored(broker, transport):
    confirmed: list[int] = []
    broker.under_way.append(777)
    broker.acknowledge()
    transport.publish(Outgoing("t", b"0"), Told(0, confirmed.extend))
    until(lambda: broker.under_way, "a message")
    broker.acknowledge()
    until(lambda: confirmed == [0], "its confirmation")
