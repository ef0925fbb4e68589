"""paho's client with a short way for what a small model does ten thousand times a second.

paho reads a packet in three steps, writes each by itself, and makes some twenty objects of a PUBACK: with every system
call the other threads may take the interpreter, and half of what a result costs is that. Here what the socket holds is
read at once, packets that wait are written together, PUBLISH packets come ready (`publication.py`), and a row of
PUBACKs that say "yes" is a list of numbers. paho knows nothing of these messages; all else is paho's.

These are paho's private methods, the same in 2.1 and 2.2; `tests/mqtt/test_client.py` holds them to what is done
here, so that a release that changes them is found by the tests and not by a user.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

READ_AT_ONCE = 65536
WRITE_AT_ONCE = 65536
PUBLISH, PUBACK = 0x30, 0x40
SUCCESS, NOBODY_SUBSCRIBED = 0x00, 0x10


class Client(paho.Client):
    """For one connection. `loop_read` and `loop_write` are called by one thread; `queue` and `write_now` by any."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_ahead = b""
        # Who writes, or closes what is written to: a socket's number is another's as soon as it is closed.
        self._writing = threading.RLock()
        self._busy = False
        self.acknowledged: Callable[[Sequence[int], str], None] = lambda mids, refusal: None
        """Told of packet identifiers that the broker has acknowledged, or refused and why. In the loop's thread."""

    def _get_proxy(self) -> dict[str, Any] | None:
        # paho asks urllib.request, which takes longer to import than all else of a connection.
        return super()._get_proxy() if any(k.lower() == "mqtt_proxy" for k in os.environ) else None

    # --- out ----------------------------------------------------------------------------------------

    def packet_identifier(self) -> int:
        """The next one, which may still be in use after 65535 more. Requests of paho's own have others."""
        return self._mid_generate()

    def queue(self, packets: bytes) -> None:
        """PUBLISH packets of QoS 1, ready to be written."""
        self._packet_queue(PUBLISH, packets, 0, 1)

    def write_now(self) -> bool:
        """Writes what waits, as far as the socket takes it at once. False: the loop has to look.

        TLS and websockets are left to the loop: they must not be read and written at the same time. So is whatever
        goes wrong, for the end of a connection is told in the loop's thread.
        """
        while self._out_packet:
            if not self._writing.acquire(blocking=False):
                return True  # who writes looks again after it, and nobody waits for a thread that waits for Python
            self._busy = True
            try:
                done = self._write_front()
            finally:
                self._busy = False
                self._writing.release()
            if not done:
                return False
        return True

    def _write_front(self) -> bool:
        self._join()
        waiting = self._out_packet
        if type(self._sock) is not socket.socket or not waiting or not _is_plain(waiting[0]):
            return not waiting
        packet = waiting[0]
        try:
            sent = self._sock.send(packet["packet"])
        except OSError:
            return False
        packet["pos"] += sent
        packet["to_process"] -= sent
        if packet["to_process"]:
            return False
        waiting.popleft()
        with self._msgtime_mutex:
            self._last_msg_out = time.monotonic()
        return True

    @property
    def has_unwritten(self) -> bool:
        """Whether anything waits to be written, by whoever it is."""
        return bool(self._out_packet and self.socket())

    def want_write(self) -> bool:
        """Whether the loop has something to write: not where somebody is just doing it."""
        return bool(self._out_packet) and not self._busy

    def loop_write(self) -> MQTTErrorCode:
        if not self._writing.acquire(blocking=False):
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        try:
            return super().loop_write()
        finally:
            self._writing.release()

    def hang_up(self) -> None:
        """Closes the socket, where it is open, without a word."""
        self._sock_close()

    def _sock_close(self) -> None:
        with self._writing:
            super()._sock_close()

    def _packet_write(self) -> MQTTErrorCode:
        self._join()
        return super()._packet_write()

    def _join(self) -> None:
        """The packets at the front that nothing follows but their being sent become one."""
        waiting, joined, size = self._out_packet, [], 0
        if len(waiting) < 2:
            return
        while waiting and size < WRITE_AT_ONCE and _is_plain(waiting[0]):
            joined.append(waiting.popleft())
            size += joined[-1]["to_process"]
        if len(joined) > 1:
            data = b"".join(p["packet"] for p in joined)
            waiting.appendleft({**joined[-1], "packet": data, "to_process": len(data)})
        elif joined:
            waiting.appendleft(joined[0])

    # --- in -----------------------------------------------------------------------------------------

    @property
    def has_read_ahead(self) -> bool:
        """True where `loop_read` has something to do that no selector knows of."""
        return bool(self._read_ahead and self.socket())

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        if self._sock is not None and self._in_packet["command"] == 0 and self._take_acknowledgements():
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        return super().loop_read(max_packets)

    def _take_acknowledgements(self) -> bool:
        """Takes a row of PUBACKs that say "yes"; True where they were all that had come."""
        if not self._read_ahead:
            try:
                self._read_ahead = super()._sock_recv(READ_AT_ONCE)
            except OSError:
                return False  # paho meets the same, and knows what to do
        mids, taken = _acknowledged(self._read_ahead)
        if not mids:
            return False
        self._read_ahead = self._read_ahead[taken:]
        with self._msgtime_mutex:
            self._last_bytes_received = time.monotonic()
        self.acknowledged(mids, "")
        return not self._read_ahead

    def _sock_recv(self, bufsize: int) -> bytes:
        if not self._read_ahead:
            if bufsize >= READ_AT_ONCE:
                return super()._sock_recv(bufsize)
            self._read_ahead = super()._sock_recv(READ_AT_ONCE)
        data, self._read_ahead = self._read_ahead[:bufsize], self._read_ahead[bufsize:]
        return data

    def _handle_pubackcomp(self, cmd: Any) -> MQTTErrorCode:
        packet = bytes(self._in_packet["packet"])
        if cmd != "PUBACK" or len(packet) < 2 or (len(packet) > 2 and self._protocol != paho.MQTTv5):
            return super()._handle_pubackcomp(cmd)
        reason = ReasonCode(PacketTypes.PUBACK, "Success")
        if len(packet) > 2:
            reason.unpack(packet[2:])
        self.acknowledged(struct.unpack_from("!H", packet), str(reason).lower() if reason.is_failure else "")
        return MQTTErrorCode.MQTT_ERR_SUCCESS


def _acknowledged(data: bytes) -> tuple[list[int], int]:
    """The packet identifiers of the whole PUBACKs at the front that say "yes", and how many bytes they take."""
    mids, at, last = [], 0, len(data) - 4
    while at <= last and data[at] == PUBACK:
        if data[at + 1] == 2:
            size = 4
        elif data[at + 1] == 3 and at < last and data[at + 4] in (SUCCESS, NOBODY_SUBSCRIBED):
            size = 5
        else:
            break
        mids.append(data[at + 2] << 8 | data[at + 3])
        at += size
    return mids, at


def _is_plain(packet: Mapping[str, Any]) -> bool:
    kind = packet["command"] & 0xF0
    return packet["pos"] == 0 and packet["qos"] == 1 and kind in (PUBLISH, PUBACK)
