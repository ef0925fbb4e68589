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
from collections.abc import Sequence
from typing import Any

from edge.errors import SampleError
from edge.mqtt.client import Client
from edge.mqtt.messages import Confirmed, Outgoing, Refused, Speech, Told
from edge.mqtt.publication import PUBLISH_QOS1, RETAIN, Letter, Publication, packets, publication

log = logging.getLogger("edge.mqtt")

FLYING_MOST = 60_000
"""Under way at once where the broker says nothing: packet identifiers end at 65535, and subscriptions need some."""
PACKET_MOST = 268_435_455


class Outflow:
    """`publish` and `publish_all` from any thread; the rest from the transport's."""

    def __init__(self, client: Client, speech: Speech, broker: str) -> None:
        """`broker` is its address, for the log."""
        self._client = client
        self._version = speech.version
        self._broker = broker
        self.retains = speech.retain
        self._lock = threading.Lock()
        self._unconfirmed: dict[int, tuple[float, Told | None]] = {}
        self._flying_most = FLYING_MOST
        self.largest = PACKET_MOST
        self._held: deque[Publication] = deque()
        self._refused_one = False
        self._news: dict[Confirmed, list[int]] = {}
        self._refusals: list[tuple[Refused, int, str]] = []
        client.acknowledged = self._acknowledged

    def heed(self, connack: Any) -> None:
        """What the broker's CONNACK says of itself; None from one of MQTT 3.1.1."""
        self.largest = getattr(connack, "MaximumPacketSize", PACKET_MOST)
        self._flying_most = min(getattr(connack, "ReceiveMaximum", None) or FLYING_MOST, FLYING_MOST)
        self.retains = self.retains and bool(getattr(connack, "RetainAvailable", 1))

    @property
    def unconfirmed_since(self) -> float | None:
        """When the oldest that is not confirmed was sent, by `time.monotonic`."""
        with self._lock:
            oldest = next(iter(self._unconfirmed.values()), None)
        return None if oldest is None else oldest[0]

    def turn(self) -> None:
        """Hands on what the broker said of messages, and sends what had to wait."""
        self._tell()
        if self._held:
            with self._lock:
                self._send_held()

    def publish(self, message: Outgoing, told: Told | None = None) -> None:
        """Queues a message. Raises SampleError where it can never be sent: its topic, or too large for the broker."""
        made = publication(message, self._version, told)
        if made.first & RETAIN and not self.retains:
            made = Publication(PUBLISH_QOS1, made.topic, made.properties, made.payload, told)
        self._check(made, message.topic)
        self._queue((made,))

    def publish_all(self, letters: Sequence[Letter]) -> list[tuple[int, str]]:
        """Queues many; the ticket and the reason of each that can never be sent."""
        made, refused = [], []
        for letter in letters:
            form = letter.form
            properties = form.properties(letter.value) if self._version == 5 else b""
            one = Publication(PUBLISH_QOS1, form.topic, properties, letter.payload, letter.told)
            try:
                self._check(one, form.name)
            except SampleError as exc:
                refused.append((letter.told.ticket, str(exc)))
            else:
                made.append(one)
        self._queue(made)
        return refused

    def _queue(self, publications: Sequence[Publication]) -> None:
        with self._lock:
            self._held.extend(publications)
            self._send_held()

    def _send_held(self) -> None:
        """What the broker's Receive Maximum leaves room for. Called with the lock."""
        room = min(self._flying_most - len(self._unconfirmed), len(self._held))
        if room <= 0:
            return
        now = time.monotonic()
        numbered = []
        for _ in range(room):
            mid = self._client.packet_identifier()
            while mid in self._unconfirmed:
                mid = self._client.packet_identifier()
            one = self._held.popleft()
            self._unconfirmed[mid] = now, one.told
            numbered.append((mid, one))
        self._client.queue(packets(numbered))

    def _check(self, made: Publication, topic: str) -> None:
        if made.size > self.largest:
            raise SampleError(
                f"{made.size} bytes for {topic}, but the broker takes at most {self.largest} "
                "(mosquitto: max_packet_size)"
            )

    def _acknowledged(self, mids: Sequence[int], refusal: str) -> None:
        with self._lock:
            for mid in mids:
                found = self._unconfirmed.pop(mid, None)
                if found is not None and found[1] is not None:
                    self._settle(found[1], refusal)
        if refusal and not self._refused_one:
            self._refused_one = True
            log.error("the broker refuses a message", extra={"reason": refusal, "broker": self._broker})

    def _settle(self, told: Told, refusal: str) -> None:
        """Sets aside what `_tell` will hand on. Called with the lock."""
        if refusal and told.refused is not None:
            self._refusals.append((told.refused, told.ticket, refusal))
        else:
            self._news.setdefault(told.confirmed, []).append(told.ticket)

    def _tell(self) -> None:
        if not (self._news or self._refusals):
            return
        with self._lock:
            news, self._news = self._news, {}
            refusals, self._refusals = self._refusals, []
        for confirmed, tickets in news.items():
            confirmed(tickets)
        for refused, ticket, reason in refusals:
            refused(ticket, reason)
