"""A small MQTT server that does what a test says: odd reason codes, identifiers used again, no answer, a sudden end."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from typing import NamedTuple

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ, DISCONNECT = 1, 2, 3, 4, 8, 9, 12, 14


class Published(NamedTuple):
    """A PUBLISH of the client. `properties` as they came, without their length."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    mid: int
    properties: bytes


class Subscribed(NamedTuple):
    """One filter of a SUBSCRIBE, with the byte of its options."""

    topic: str
    options: int


class Peer:
    """One connection of the client."""

    def __init__(self, broker: ScriptedBroker, sock: socket.socket, session_present: bool) -> None:
        self._broker = broker
        self._sock = sock
        self._session_present = session_present
        self.five = True
        self.connect = b""
        self.published: list[Published] = []
        self.subscribed: list[Subscribed] = []
        self.acknowledged: list[int] = []
        self.pings = 0
        self.disconnected = False

    # --- what the test says ---------------------------------------------------------------------------

    def send(self, first: int, body: bytes) -> None:
        """One packet: its first byte, and what follows the length."""
        self._sock.sendall(bytes([first]) + _length(len(body)) + body)

    def publish(self, topic: str, payload: bytes, mid: int = 0, *, dup: bool = False, retain: bool = False,
                properties: bytes = b"") -> None:  # fmt: skip
        """At QoS 1 where there is a `mid`, else at QoS 0."""
        first = PUBLISH << 4 | dup << 3 | (0x02 if mid else 0) | retain
        number = struct.pack(">H", mid) if mid else b""
        extra = _length(len(properties)) + properties if self.five else b""
        self.send(first, _field(topic.encode()) + number + extra + payload)

    def write(self, data: bytes) -> None:
        """Bytes as they are."""
        self._sock.sendall(data)

    def puback(self, mid: int, reason: int = 0) -> None:
        self.send(PUBACK << 4, struct.pack(">H", mid) + (bytes([reason]) if reason else b""))

    def pong(self) -> None:
        self.send(0xD0, b"")

    def close(self) -> None:
        """Without a word."""
        self._sock.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """As a network does that breaks: the client's next look ends with an error."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.shutdown(socket.SHUT_RD)  # lets the thread end, which closes it

    # --- the thread -----------------------------------------------------------------------------------

    def serve(self) -> None:
        with self._sock, self._sock.makefile("rb") as stream:
            try:
                while (head := stream.read(1)) and (body := stream.read(_read_length(stream))) is not None:
                    self._take(head[0], body)
                    self._broker.notify()
            except (OSError, IndexError):
                return

    def _take(self, first: int, body: bytes) -> None:
        kind = first >> 4
        if kind == CONNECT:
            self.connect, self.five = body, body[6] == 5
            self._answer_connect()
        elif kind == PUBLISH:
            self._take_publish(first, body)
        elif kind == PUBACK:
            self.acknowledged.append(struct.unpack_from(">H", body)[0])
        elif kind == SUBSCRIBE:
            self._take_subscribe(body)
        elif kind == PINGREQ:
            self.pings += 1
            if self._broker.answers_pings:
                self.pong()
        elif kind == DISCONNECT:
            self.disconnected = True

    def _answer_connect(self) -> None:
        broker = self._broker
        properties = broker.connack_properties
        extra = _length(len(properties)) + properties if self.five else b""
        reason = broker.connack(self)
        if reason is None:
            return
        self.send(CONNACK << 4, bytes([self._session_present and not reason, reason]) + extra)

    def _take_publish(self, first: int, body: bytes) -> None:
        (size,) = struct.unpack_from(">H", body)
        topic, at = body[2 : 2 + size].decode(), 2 + size
        qos, mid, properties = first >> 1 & 3, 0, b""
        if qos:
            (mid,) = struct.unpack_from(">H", body, at)
            at += 2
        if self.five:
            size, at = _length_in(body, at)
            properties, at = body[at : at + size], at + size
        message = Published(topic, body[at:], qos, bool(first & 1), mid, properties)
        self.published.append(message)
        if qos and (reason := self._broker.answer(message)) is not None:
            self.puback(mid, reason)

    def _take_subscribe(self, body: bytes) -> None:
        at, granted, given = 2, [], self._broker.granted_qos
        if self.five:
            size, at = _length_in(body, at)
            at += size
        while at < len(body):
            (size,) = struct.unpack_from(">H", body, at)
            options = body[at + 2 + size]
            self.subscribed.append(Subscribed(body[at + 2 : at + 2 + size].decode(), options))
            if given is not None:
                granted.append(given if given & 0x80 else min(options & 3, given))
            at += 3 + size
        if given is not None:
            self.send(SUBACK << 4, body[:2] + (b"\0" if self.five else b"") + bytes(granted))


class ScriptedBroker:
    """`peers` are the connections so far, in order. Change the attributes before the client connects."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.peers: list[Peer] = []
        self.session_present = False
        """From the second connection on."""
        self.connack: Callable[[Peer], int | None] = lambda _: 0
        """The reason code for a connection; None: no answer, or the test has given one."""
        self.connack_properties = b""
        self.answer: Callable[[Published], int | None] = lambda _: 0
        """The reason code of a PUBACK; None: no answer."""
        self.granted_qos: int | None = 1
        """At most; from 0x80 on why each subscription is refused; None: no answer."""
        self.answers_pings = True
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._server.accept()
            except OSError:
                return
            peer = Peer(self, sock, self.session_present and bool(self.peers))
            self.peers.append(peer)
            thread = threading.Thread(target=peer.serve)
            self._threads.append(thread)
            thread.start()

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def wait(self, what: str, true: Callable[[], bool], timeout_s: float = 120.0) -> None:
        """Until it is true, looked at after each packet."""
        with self._changed:
            assert self._changed.wait_for(true, timeout_s), f"never: {what}"

    def peer(self, number: int = 0) -> Peer:
        """The connection of that number, once the client has subscribed on it or was told that it need not."""
        self.wait(f"connection {number}", lambda: len(self.peers) > number and bool(self.peers[number].connect))
        return self.peers[number]

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for peer in self.peers:
            try:
                peer.close()
            except OSError:
                continue  # the client was first
        for thread in self._threads:
            thread.join()


def _field(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def _length(size: int) -> bytes:
    encoded = bytearray()
    while size > 127:
        encoded.append(size & 127 | 128)
        size >>= 7
    return bytes([*encoded, size])


def _read_length(stream) -> int:
    value = shift = 0
    while True:
        byte = stream.read(1)[0]
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value


def _length_in(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = body[at]
        value |= (byte & 127) << shift
        shift, at = shift + 7, at + 1
        if byte < 128:
            return value, at
