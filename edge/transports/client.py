"""paho's client with a short way for what a small model does ten thousand times a second.

paho reads a packet in three steps, writes each by itself, and makes some twenty objects of a PUBACK: with every system
call the other threads may take the interpreter, and half of what a result costs is that. Here what the socket holds is
read at once, packets that wait are written together, and a PUBACK that says "yes" is a number. All else is paho's.

These are paho's private methods, the same in 2.1 and 2.2; `tests/transports/test_client.py` holds them to what is done
here, so that a release that changes them is found by the tests and not by a user.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

READ_AT_ONCE = 65536
WRITE_AT_ONCE = 65536
PUBLISH, PUBACK = 0x30, 0x40
_YES = frozenset({b"", b"\x00", b"\x00\x00", b"\x10", b"\x10\x00"})
"""What may follow the packet identifier: nothing, success, or that nobody has subscribed; no properties."""

_SUCCESS = ReasonCode(PacketTypes.PUBACK, "Success")


class Client(paho.Client):
    """For one connection, and a loop that calls `loop_read` and `loop_write` itself, from one thread."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_ahead = b""

    @property
    def has_read_ahead(self) -> bool:
        """True where `loop_read` has something to do that no selector knows of."""
        return bool(self._read_ahead and self.socket())

    def _sock_recv(self, bufsize: int) -> bytes:
        if not self._read_ahead:
            if bufsize >= READ_AT_ONCE:
                return super()._sock_recv(bufsize)
            self._read_ahead = super()._sock_recv(READ_AT_ONCE)
        data, self._read_ahead = self._read_ahead[:bufsize], self._read_ahead[bufsize:]
        return data

    def _packet_write(self) -> MQTTErrorCode:
        self._join()
        return super()._packet_write()

    def _join(self) -> None:
        """The packets at the front that nothing follows but their being sent become one."""
        waiting, joined, size = self._out_packet, [], 0
        while waiting and size < WRITE_AT_ONCE and _is_plain(waiting[0]):
            joined.append(waiting.popleft())
            size += joined[-1]["to_process"]
        if len(joined) > 1:
            data = b"".join(p["packet"] for p in joined)
            waiting.appendleft({**joined[-1], "packet": data, "to_process": len(data)})
        elif joined:
            waiting.appendleft(joined[0])

    def _handle_pubackcomp(self, cmd: Any) -> MQTTErrorCode:
        packet = bytes(self._in_packet["packet"])
        if cmd != "PUBACK" or packet[2:] not in _YES:
            return super()._handle_pubackcomp(cmd)
        (mid,) = struct.unpack_from("!H", packet)
        with self._out_message_mutex:
            if self._out_messages.pop(mid, None) is None:
                return MQTTErrorCode.MQTT_ERR_SUCCESS
            self._inflight_messages -= 1
        told: Any = self.on_publish
        told(self, None, mid, _SUCCESS, None)
        return MQTTErrorCode.MQTT_ERR_SUCCESS


def _is_plain(packet: Mapping[str, Any]) -> bool:
    kind = packet["command"] & 0xF0
    return packet["pos"] == 0 and packet["qos"] == 1 and kind in (PUBLISH, PUBACK)
