"""Our short ways through paho give what paho's own long ones give."""

from __future__ import annotations

import socket
import struct
import threading

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.mqtt.client import Client
from edge.mqtt.messages import Outgoing
from edge.mqtt.publication import packets, publication


class Line:
    """A client whose socket ends here."""

    def __init__(self, client):
        self.client = client
        self.confirmed = []
        near, self.far = socket.socketpair()
        near.setblocking(False)
        client._sock = near
        client.on_socket_register_write = lambda *_: None

    def written(self, count):
        self.client.loop_write()
        return self.far.recv(count)

    def read(self):
        for _ in range(20):  # a packet each, as far as there is one
            self.client.loop_read()

    def close(self):
        self.far.close()
        self.client._sock_close()


class Ours(Line):
    """`read` as the connection does it: as long as something was read ahead."""

    def __init__(self, version):
        super().__init__(Client(CallbackAPIVersion.VERSION2, "c", protocol=version, reconnect_on_failure=False))
        self.client.acknowledged = lambda mids, refusal: self.confirmed.extend((mid, bool(refusal)) for mid in mids)

    def read(self):
        self.client.loop_read()
        while self.client.has_read_ahead:
            self.client.loop_read()

    def publish(self, topic, payload, *, retain=False, **properties):
        mid = self.client.packet_identifier()
        message = Outgoing(topic, payload, retain, **properties)
        version = 5 if self.client.protocol == paho.MQTTv5 else 4
        self.client.queue(packets([(mid, publication(message, version, None))]))
        return mid


class Theirs(Line):
    def __init__(self, version):
        super().__init__(paho.Client(CallbackAPIVersion.VERSION2, "c", protocol=version, reconnect_on_failure=False))
        self.client.on_publish = lambda client, userdata, mid, reason, properties: self.confirmed.append(
            (mid, reason.is_failure)
        )

    def publish(self, topic, payload, *, retain=False, content_type="", properties=None):
        packed = None
        if self.client.protocol == paho.MQTTv5 and content_type:
            packed = Properties(PacketTypes.PUBLISH)
            packed.ContentType = content_type
            packed.UserProperty = list(properties.items())
        return self.client.publish(topic, payload, 1, retain, packed).mid


@pytest.fixture(params=[paho.MQTTv5, paho.MQTTv311], ids=["5", "3.1.1"])
def lines(request):
    made = [Ours(request.param), Theirs(request.param)]
    yield made
    for line in made:
        line.close()


def acknowledgement(mid, rest=b""):
    return bytes([0x40, 2 + len(rest)]) + struct.pack("!H", mid) + rest


def test_what_is_published_is_written_as_paho_writes_it(lines):
    said = []
    for line in lines:
        for n in range(5):
            line.publish("a/b", b"%d" % n, retain=n == 3)
        line.publish("a/b", b"x" * 20_000)
        line.publish("a/b", b"", content_type="image/png", properties={"seq": "7", "model": "m\u00fcller"})
        said.append(line.written(50_000))
    assert said[0] == said[1]
    assert said[0].count(b"a/b") == 7


def test_packets_that_wait_go_out_in_one_piece(lines):
    ours = lines[0].client
    pieces = []
    send = ours._sock_send
    ours._sock_send = lambda data: pieces.append(bytes(data)) or send(data)
    for n in range(5):
        lines[0].publish("a/b", b"%d" % n)
    ours.loop_write()
    assert len(pieces) == 1


def test_a_disconnect_behind_them_still_ends_the_connection(lines):
    for line in lines:
        line.publish("a/b", b"1")
        line.publish("a/b", b"2")
        line.client.disconnect()
        assert line.written(10_000).count(b"a/b") == 2
        assert line.client.socket() is None


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_acknowledgements_are_heard_however_the_network_cuts_them(lines, step):
    for line in lines:
        mids = [line.publish("a/b", b"x") for _ in range(40)]
        line.written(10_000)
        data = b"".join(acknowledgement(mid) for mid in mids)
        for at in range(0, len(data), step):
            line.far.sendall(data[at : at + step])
            line.read()
        assert line.confirmed == [(mid, False) for mid in mids]


@pytest.mark.parametrize("step", [1, 1000])
def test_what_comes_between_acknowledgements_is_read_as_paho_reads_it(lines, step):
    for line in lines:
        heard = []
        line.client.on_message = lambda client, userdata, message, heard=heard: heard.append(message.payload)
        mids = [line.publish("a/b", b"x") for _ in range(4)]
        line.written(10_000)
        properties = b"\0" if line.client.protocol == paho.MQTTv5 else b""
        said = [bytes([0x30, 5 + len(properties) + 2]) + b"\0\3c/d" + properties + b"n%d" % n for n in range(4)]
        data = b"".join(acknowledgement(mid) + message for mid, message in zip(mids, said, strict=True))
        for at in range(0, len(data), step):
            line.far.sendall(data[at : at + step])
            line.read()
        assert line.confirmed == [(mid, False) for mid in mids]
        assert heard == [b"n0", b"n1", b"n2", b"n3"]


def test_acknowledgements_count_as_a_sign_of_life(lines):
    ours = lines[0]
    ours.client._last_bytes_received = 0
    ours.far.sendall(acknowledgement(1) * 3)
    ours.read()
    assert ours.client._last_bytes_received > 0


@pytest.mark.parametrize(
    ("rest", "refused"),
    [(b"\x00", False), (b"\x10", False), (b"\x10\x00", False), (b"\x97", True), (b"\x87\x00", True),
     (b"\x00\x07\x1f\x00\x04fine", False)],
)  # fmt: skip
def test_the_reason_of_an_acknowledgement_is_read_as_paho_reads_it(lines, rest, refused):
    if lines[0].client.protocol != paho.MQTTv5:
        rest, refused = b"", False
    for line in lines:
        mid = line.publish("a/b", b"x")
        line.written(10_000)
        line.far.sendall(acknowledgement(mid, rest))
        line.client.loop_read()
        assert line.confirmed == [(mid, refused)]


def test_a_connection_that_ends_with_bytes_read_ahead_has_nothing_more_to_read(lines):
    ours = lines[0]
    ours.far.sendall(acknowledgement(7) * 3)
    ours.client.loop_read()
    ours.client._sock_close()
    assert not ours.client.has_read_ahead


def test_who_publishes_may_write_at_once(lines):
    ours = lines[0]
    ours.client._last_msg_out = 0
    ours.publish("a/b", b"1")
    ours.publish("a/b", b"2")
    assert ours.client.write_now()
    assert ours.far.recv(1000).count(b"a/b") == 2
    assert not ours.client.want_write()
    assert ours.client._last_msg_out > 0


def test_what_the_socket_does_not_take_at_once_is_left_to_the_loop_and_nothing_is_lost_or_doubled(lines):
    ours, sent = lines[0], [b"%06d" % n * 5000 for n in range(40)]
    for payload in sent:
        ours.publish("a/b", payload)
    assert not ours.client.write_now()
    assert not ours.client.write_now()  # the first of them is half sent
    heard = b""
    ours.far.settimeout(10)
    while len(heard) < sum(map(len, sent)):
        ours.client.loop_write()
        heard += ours.far.recv(1 << 20)
    assert heard.count(b"a/b") == 40
    assert all(payload in heard for payload in sent)


def test_behind_what_is_not_a_publish_the_loop_writes(lines):
    ours = lines[0]
    ours.client.subscribe("c/d", 1)
    ours.publish("a/b", b"1")
    assert not ours.client.write_now()
    said = ours.written(1000)
    assert said.index(b"c/d") < said.index(b"a/b")


def test_a_connection_that_is_gone_is_found_by_the_loop_not_by_who_publishes(lines):
    ours, ends = lines[0], []
    ours.client.on_disconnect = lambda *said: ends.append(threading.current_thread().name)
    ours.far.close()
    ours.publish("a/b", b"1")
    assert not ours.client.write_now()
    assert ends == []
    ours.client.loop_write()
    assert len(ends) == 1


def test_who_comes_while_another_writes_leaves_it_to_that_one(lines):
    ours, said = lines[0], []
    write = ours.client._write_front

    def other():
        ours.client.loop_write()
        assert ours.client.has_unwritten
        ours.publish("a/b", b"2")
        said.append(ours.client.write_now())

    def interrupted():
        if not said:
            assert not ours.client.want_write()  # nor does the loop turn in vain
            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
        return write()

    ours.client._write_front = interrupted
    ours.publish("a/b", b"1")
    assert ours.client.write_now()
    assert said == [True]
    assert ours.far.recv(1000).count(b"a/b") == 2


def test_the_loop_does_not_wait_for_who_writes(lines):
    ours = lines[0]
    ours.publish("a/b", b"1")
    with ours.client._writing:
        other = threading.Thread(target=ours.client.loop_write)
        other.start()
        other.join(10)
        assert not other.is_alive()
        assert ours.client.want_write()
    assert ours.written(1000).count(b"a/b") == 1
