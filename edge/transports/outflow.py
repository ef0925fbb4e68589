"""Messages on their way out of one connection, and who hears what became of them.

What the broker says of itself in its CONNACK is kept: no more QoS 1 messages are under way than its Receive Maximum,
none is larger than its Maximum Packet Size, none is retained where it retains none. To break one of these ends a
connection, again and again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.reasoncodes import ReasonCode

from edge.errors import SampleError
from edge.transports.messages import Confirmed, Outgoing, Refused, Speech, Told
from edge.transports.publication import Packed, properties

log = logging.getLogger("edge.mqtt")

RECEIVE_MAXIMUM_UNSAID = 65535
PACKET_MOST = 268_435_455
TEXT_MOST = 65535
HEADER_MOST = 5 + 2 + 2
"""Bytes of a PUBLISH beside topic, properties and payload: fixed header, the topic's length, packet identifier."""


class Outflow:
    """`publish` from any thread; the rest from the transport's."""

    def __init__(self, client: paho.Client, speech: Speech, broker: str) -> None:
        """`broker` is its address, for the log."""
        self._client = client
        self._version = speech.version
        self._broker = broker
        self.retains = speech.retain
        self._lock = threading.Lock()
        self._order = threading.Lock()
        self._unconfirmed: dict[int, tuple[float, Told | None]] = {}
        self._early: dict[int, str] = {}
        self._flying_most = RECEIVE_MAXIMUM_UNSAID
        self._largest = PACKET_MOST
        self._flying = 0
        self._held: deque[tuple[Outgoing, Told | None]] = deque()
        self._refused_one = False
        self._news: dict[Confirmed, list[int]] = {}
        self._refusals: list[tuple[Refused, int, str]] = []
        client.on_publish = self._on_publish

    def heed(self, connack: Any) -> None:
        """What the broker's CONNACK says of itself; None from one of MQTT 3.1.1."""
        self._largest = getattr(connack, "MaximumPacketSize", PACKET_MOST)
        self._flying_most = getattr(connack, "ReceiveMaximum", None) or RECEIVE_MAXIMUM_UNSAID
        self.retains = self.retains and bool(getattr(connack, "RetainAvailable", 1))

    @property
    def unconfirmed_since(self) -> float | None:
        """When the oldest that is not confirmed was sent, by `time.monotonic`."""
        with self._lock:
            oldest = next(iter(self._unconfirmed.values()), None)
        return None if oldest is None else oldest[0]

    def turn(self) -> None:
        """Hands on what paho's callbacks brought, and sends what had to wait."""
        self._tell()
        self._send_held()

    def publish(self, message: Outgoing, told: Told | None = None) -> None:
        """Queues a message. Raises SampleError where it can never be sent: its topic, or too large for the broker."""
        packed = properties(message) if self._version == 5 else None
        self._check(message, packed)
        with self._order:
            with self._lock:
                if self._held or self._flying >= self._flying_most:
                    self._held.append((message, told))
                    return
                self._flying += 1
            self._send(message, packed, told)

    def _send(self, message: Outgoing, packed: Packed | None, told: Told | None) -> None:
        # Not with the lock: paho calls `_on_publish` with one of its own, which it also takes in `publish`.
        info = self._client.publish(message.topic, message.payload, 1, message.retain and self.retains, packed)
        with self._lock:
            if info.mid not in self._early:
                self._unconfirmed[info.mid] = (time.monotonic(), told)
                return
            self._settle(told, self._early.pop(info.mid))

    def _send_held(self) -> None:
        """What waited for the broker's Receive Maximum."""
        while self._held:
            with self._order:
                with self._lock:
                    if self._flying >= self._flying_most:
                        return
                    self._flying += 1
                    message, told = self._held.popleft()
                self._send(message, properties(message) if self._version == 5 else None, told)

    def _check(self, message: Outgoing, packed: Packed | None) -> None:
        topic = message.topic.encode()
        if not topic or len(topic) > TEXT_MOST or any(c in message.topic for c in "+#\0"):
            raise SampleError(f"{message.topic[:80]!r}: not a topic to publish on")
        if len(message.payload) + 4 * TEXT_MOST <= self._largest:
            return
        extra = len(packed.pack()) if packed is not None else 1
        size = HEADER_MOST + len(topic) + extra + len(message.payload)
        if size > self._largest:
            raise SampleError(
                f"{size} bytes for {message.topic}, but the broker takes at most {self._largest} "
                "(mosquitto: max_packet_size)"
            )

    def _settle(self, told: Told | None, refusal: str) -> None:
        """Sets aside what `_tell` will hand on. Called with the lock."""
        if told is None:
            return
        if refusal and told.refused is not None:
            self._refusals.append((told.refused, told.ticket, refusal))
        else:
            self._news.setdefault(told.confirmed, []).append(told.ticket)

    def _tell(self) -> None:
        with self._lock:
            news, self._news = self._news, {}
            refusals, self._refusals = self._refusals, []
        for confirmed, tickets in news.items():
            confirmed(tickets)
        for refused, ticket, reason in refusals:
            refused(ticket, reason)

    def _on_publish(self, client: paho.Client, userdata: Any, mid: int, reason: ReasonCode, properties: Any) -> None:
        refusal = str(reason).lower() if reason.is_failure else ""
        with self._lock:
            self._flying -= 1
            found = self._unconfirmed.pop(mid, None)
            if found is None:
                self._early[mid] = refusal
            else:
                self._settle(found[1], refusal)
        if refusal and not self._refused_one:
            self._refused_one = True
            log.error("the broker refuses a message", extra={"reason": refusal, "broker": self._broker})
