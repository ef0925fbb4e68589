"""Our short ways through paho give what paho's own long ones give."""

from __future__ import annotations

import socket
import struct

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge.transports.client import Client


class Line:
    """A client whose socket ends here."""

    def __init__(self, kind, version):
        self.confirmed = []
        self.client = kind(CallbackAPIVersion.VERSION2, "c", protocol=version, reconnect_on_failure=False)
        near, self.far = socket.socketpair()
        near.setblocking(False)
        self.client._sock = near
        self.client.on_socket_register_write = lambda *_: None
        self.client.on_publish = lambda client, userdata, mid, reason, properties: self.confirmed.append(
            (mid, reason.is_failure)
        )

    def written(self, count):
        self.client.loop_write()
        return self.far.recv(count)

    def close(self):
        self.far.close()
        self.client._sock_close()


@pytest.fixture(params=[paho.MQTTv5, paho.MQTTv311], ids=["5", "3.1.1"])
def lines(request):
    made = [Line(Client, request.param), Line(paho.Client, request.param)]
    yield made
    for line in made:
        line.close()


def acknowledgement(mid, rest=b""):
    return bytes([0x40, 2 + len(rest)]) + struct.pack("!H", mid) + rest


def test_what_is_published_is_written_as_paho_writes_it(lines):
    said = []
    for line in lines:
        for n in range(5):
            line.client.publish("a/b", b"%d" % n, qos=1, retain=n == 3)
        said.append(line.written(10_000))
    assert said[0] == said[1]
    assert said[0].count(b"a/b") == 5


def test_packets_that_wait_go_out_in_one_piece(lines):
    ours = lines[0].client
    pieces = []
    send = ours._sock_send
    ours._sock_send = lambda data: pieces.append(bytes(data)) or send(data)
    for n in range(5):
        ours.publish("a/b", b"%d" % n, qos=1)
    ours.loop_write()
    assert len(pieces) == 1


def test_a_disconnect_behind_them_still_ends_the_connection(lines):
    for line in lines:
        line.client.publish("a/b", b"1", qos=1)
        line.client.publish("a/b", b"2", qos=1)
        line.client.disconnect()
        assert line.written(10_000).count(b"a/b") == 2
        assert line.client.socket() is None


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_acknowledgements_are_heard_however_the_network_cuts_them(lines, step):
    for line in lines:
        mids = [line.client.publish("a/b", b"x", qos=1).mid for _ in range(40)]
        line.written(10_000)
        data = b"".join(acknowledgement(mid) for mid in mids)
        for at in range(0, len(data), step):
            line.far.sendall(data[at : at + step])
            line.client.loop_read()
            while getattr(line.client, "has_read_ahead", False):
                line.client.loop_read()
        assert line.confirmed == [(mid, False) for mid in mids]
        assert not line.client._out_messages


@pytest.mark.parametrize(
    ("rest", "refused"),
    [(b"\x00", False), (b"\x10", False), (b"\x10\x00", False), (b"\x97", True), (b"\x87\x00", True),
     (b"\x00\x07\x1f\x00\x04fine", False)],
)  # fmt: skip
def test_the_reason_of_an_acknowledgement_is_read_as_paho_reads_it(lines, rest, refused):
    if lines[0].client.protocol != paho.MQTTv5:
        rest, refused = b"", False
    for line in lines:
        mid = line.client.publish("a/b", b"x", qos=1).mid
        line.written(10_000)
        line.far.sendall(acknowledgement(mid, rest))
        line.client.loop_read()
        assert line.confirmed == [(mid, refused)]


def test_an_acknowledgement_of_nothing_is_ignored(lines):
    for line in lines:
        line.far.sendall(acknowledgement(99))
        line.client.loop_read()
        assert line.confirmed == []


def test_a_connection_that_ends_with_bytes_read_ahead_has_nothing_more_to_read(lines):
    ours = lines[0]
    ours.far.sendall(acknowledgement(7) * 3)
    ours.client.loop_read()
    ours.client._sock_close()
    assert not ours.client.has_read_ahead
