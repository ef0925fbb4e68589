"""A short way through paho for what a small model does ten thousand times a second.

paho reads a packet in three steps, writes each by itself, and makes some twenty objects of a PUBACK: with every system
call the other threads may take the interpreter, and half of what a result costs is that. Here what the socket holds is
read at once, PUBLISH and PUBACK are parsed in one go (`packets.py`), and what is sent in one turn is written together.
All other packets are paho's.

This is the one file that uses paho's private names. They are the same in the versions of `KNOWN`; with any other one
`client.make` takes the public way, which is slower, and says so once.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Sequence
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt import __version__

from edge.mqtt.codec.client import NOT_MQTT, Client, decrypted
from edge.mqtt.codec.packets import (
    HEAD_MOST,
    PUBLISH,
    Publication,
    is_large_publish,
    parse,
    publish_packets,
    publish_without_payload,
)
from edge.mqtt.messages import Incoming

KNOWN = ("2.1.", "2.2.")
INSTALLED = __version__
FITS = INSTALLED.startswith(KNOWN)
"""True where the installed paho has the private names that are used here."""

QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)
"""Linux has it."""
READ_AT_ONCE = 65_536
READ_IN_A_TURN = 1 << 20


class FastClient(Client):
    """A `Client` with the same results."""

    _paho: _Buffered

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_use: set[int] = set()
        self._unsent: list[bytes] = []
        self._passing: Incoming | None = None
        """What is told of a message when the last of it has passed: it is too large to be kept."""

    def _new(self, *args: Any, **kwargs: Any) -> paho.Client:
        return _Buffered(*args, **kwargs)

    def close(self) -> None:
        self._paho._sock_close()

    # --- out ------------------------------------------------------------------------------------------

    def publish(self, publications: Sequence[Publication]) -> list[int]:
        mids = []
        for _ in publications:
            mid = self._paho._mid_generate()
            while mid in self._in_use:
                mid = self._paho._mid_generate()
            self._in_use.add(mid)
            mids.append(mid)
        self._unsent.append(publish_packets(zip(mids, publications, strict=True), 5 if self.five else 4))
        return mids

    def acknowledge(self, mid: int, qos: int) -> None:
        if qos == 1:
            self._unsent.append(b"\x40\x02" + mid.to_bytes(2, "big"))
        else:
            super().acknowledge(mid, qos)

    @property
    def wants_write(self) -> bool:
        return bool(self._unsent) or self._paho.want_write()

    def write(self) -> None:
        if self._unsent:
            packets = b"".join(self._unsent)
            self._unsent.clear()
            packets = packets[self._paho.send_now(packets) :]
            if not packets:
                return
            # For paho it is one packet: nothing follows its being written.
            self._paho._packet_queue(PUBLISH, packets, 0, 1)
        self._paho.loop_write()
        if self._paho.left_unread:  # the other side ended it: which message it was for, it may have said before
            self._paho.left_unread = False
            with contextlib.suppress(*NOT_MQTT):  # it is gone in any case
                self.read()

    def disconnect(self) -> None:
        self.write()
        super().disconnect()

    # --- in -------------------------------------------------------------------------------------------

    def read(self) -> None:
        client = self._paho
        client.receive()
        if self._passing is not None and not client.to_pass:
            self.received.append(self._passing)
            self._passing = None
        while client.buffer and len(client.buffer) >= client.wanted:
            end, other, client.wanted = parse(
                bytes(client.buffer), self.five, self._session, self.received, self.acknowledged
            )
            del client.buffer[:end]
            if not other:
                if client.buffer:
                    self._pass()
                break
            client.given, client.wanted = client.wanted, 0
            client.loop_read()  # takes the packet out of the buffer
            if client.given:  # unless it has closed the connection: then nothing that follows is for anybody
                client.given = 0
                client.buffer.clear()
        if self._in_use and self.acknowledged:
            self._in_use.difference_update([mid for mid, _ in self.acknowledged])
        if client.ended:
            client.loop_read()
        self.unread = client.unread or (self._encrypted and decrypted(self.socket()))

    def _pass(self) -> None:
        """Keeps no message that is too large to be of any use. A broker sends one of 200 MB again and again to a board
        that has no memory for it, and dies of it each time."""
        buffer, size = self._paho.buffer, self._paho.wanted
        if is_large_publish(buffer, size, self._options.payload_most):
            if len(buffer) < HEAD_MOST:
                self._paho.wanted = HEAD_MOST
                return
            self._passing = publish_without_payload(bytes(buffer[:HEAD_MOST]), size, self.five, self._session)
            self._paho.to_pass = size - len(buffer)
            self._paho.wanted = 0
            buffer.clear()


class _Buffered(paho.Client):
    """paho on a buffer that is read ahead."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.buffer = bytearray()
        self.wanted = 0
        """Bytes in the buffer from which on `parse` finds something."""
        self.given = 0
        """Bytes in the buffer that are paho's: one packet."""
        self.to_pass = 0
        """Bytes that do not come into the buffer."""
        self.unread = False
        self.left_unread = False
        """What had come before a write failed is in the buffer: paho closes the socket without a look at it."""
        self.ended = False
        self._error: OSError | None = None

    def receive(self) -> None:
        """What the socket holds, or a good part of it, into the buffer."""
        self.unread = False
        read = 0
        while read < READ_IN_A_TURN:
            try:
                data = super()._sock_recv(READ_AT_ONCE)
            except BlockingIOError:
                break
            except OSError as exc:
                self._error, self.ended = exc, True
                break
            if not data:
                self.ended = True
                break
            read += len(data)
            passed = min(len(data), self.to_pass)
            self.to_pass -= passed
            self.buffer += data[passed:] if passed else data
            if len(data) < READ_AT_ONCE:
                break  # a selector sees what comes from now on; of TLS, `pending` does
        else:
            self.unread = True
        if read:
            self._last_bytes_received = time.monotonic()
            self._acknowledge_at_once()

    def _acknowledge_at_once(self) -> None:
        """Else the system waits up to 40 ms for something to send with its acknowledgement, and a broker that has
        not set TCP_NODELAY holds its next small packet back until then. Forgotten at each packet."""
        set_option = getattr(self._sock, "setsockopt", None)
        if QUICKACK is not None and set_option is not None:
            with contextlib.suppress(OSError):
                set_option(socket.IPPROTO_TCP, QUICKACK, 1)

    def send_now(self, packets: bytes) -> int:
        """How many bytes of these went out before anything else had to wait. An error is found when paho goes on."""
        if self.want_write():
            return 0
        try:
            sent = super()._sock_send(packets)
        except OSError:
            return 0
        self._last_msg_out = time.monotonic()
        return sent

    def _sock_send(self, buf: bytes | bytearray) -> int:
        try:
            return super()._sock_send(buf)
        except BlockingIOError:
            raise
        except OSError:
            self.receive()
            self.left_unread = True
            raise

    def _sock_recv(self, bufsize: int) -> bytes:
        if self.given:
            data = bytes(self.buffer[: min(bufsize, self.given)])
            del self.buffer[: len(data)]
            self.given -= len(data)
            return data
        if self._error is not None:
            raise self._error
        if self.ended:
            return b""
        raise BlockingIOError

    def _get_proxy(self) -> dict[str, Any] | None:
        # paho asks urllib.request, which takes longer to import than all else of a connection.
        return super()._get_proxy() if any(k.lower() == "mqtt_proxy" for k in os.environ) else None
