"""Messages on their way out of one connection, and what became of them.

What the broker says of itself in its CONNACK is kept: no more QoS 1 messages are in flight than its Receive Maximum,
none is larger than its Maximum Packet Size, none is retained where it retains none, none is of a QoS that it has not.
To break one of these ends a connection, again and again.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from msgspec.structs import replace

from edge.errors import SampleError
from edge.mqtt.codec.client import Client, Connack
from edge.mqtt.codec.packets import Acknowledgement, Publication
from edge.mqtt.messages import PROBE, OnDelivery, ProtocolChoice

log = logging.getLogger("edge.mqtt")

MAX_IN_FLIGHT = 60_000
"""Where the broker says nothing: packet identifiers end at 65535, and subscriptions need some."""
MAX_PACKET = 268_435_455
Told: TypeAlias = tuple[OnDelivery | None, int]
"""Who is told of a message, and its key."""


class PublishQueue:
    """Belongs to the session's thread."""

    def __init__(self, client: Client, choice: ProtocolChoice, broker: str) -> None:
        """`broker` is its address, for the log."""
        self._client = client
        self._broker = broker
        self.retains = choice.retain
        self.qos = choice.qos
        self.one_at_a_time = False
        """No more than one message is in flight."""
        self.left_out: Mapping[str, float] = {}
        """Topics on which nothing is published that nothing waits for, and until when by `time.monotonic`."""
        self._lone: Publication | None = None
        self.maximum_packet_size = MAX_PACKET
        self.receive_maximum = MAX_IN_FLIGHT
        self._waiting: deque[tuple[Publication, int]] = deque()
        """Each with its size."""
        self._in_flight: dict[int, tuple[float, Told, int]] = {}
        self._moved_s = 0.0
        self._told_refusal = False
        self.confirmed_any = False
        """The broker has answered a message of this connection."""
        self.given_up = False
        """The end is ours, for want of a confirmation."""
        self.refused_for_good = False
        """A message of this connection will not come again: the broker can never take it."""
        self.largest_confirmed = 0
        """Bytes of the largest that it has taken, of those that something waits for."""

    def apply_connack(self, connack: Connack) -> None:
        """What the broker says of itself; one of MQTT 3.1.1 says nothing."""
        self.maximum_packet_size = connack.maximum_packet_size or MAX_PACKET
        self.receive_maximum = min(connack.receive_maximum or MAX_IN_FLIGHT, MAX_IN_FLIGHT)
        self.retains = self.retains and connack.retains
        self.qos = self._client.qos = min(self.qos, connack.maximum_qos)

    @property
    def waits_since_s(self) -> float | None:
        """Since when the oldest that is not confirmed has been the next to be, by `time.monotonic`: since it was sent,
        or the one before it was confirmed. One of a broker that takes ten seconds for each is not late for that."""
        return next((max(sent_s, self._moved_s) for sent_s, _, _ in self._in_flight.values()), None)

    @property
    def awaited(self) -> bool:
        """Something waits for one that is not confirmed, and would hear of a refusal."""
        return any(
            on_delivery is not None and on_delivery.refused for _, (on_delivery, _), _ in self._in_flight.values()
        )

    @property
    def largest_in_flight(self) -> tuple[int, OnDelivery | None, int]:
        """Bytes of the largest that is not confirmed, whose it is, and its key."""
        _, told, size = max(self._in_flight.values(), key=lambda sent: sent[2], default=(0.0, (None, 0), 0))
        return size, *told

    @property
    def lone_post(self) -> str:
        """The topic of what is in flight, alone, and nothing waits for; "" where there is no such thing."""
        lone = self._lone if self._in_flight else None
        return "" if lone is None or lone.on_delivery is PROBE or _is_awaited(lone) else lone.name

    @property
    def foreign_in_flight(self) -> bool:
        """One that is not confirmed goes to a topic that somebody else has named."""
        return any(
            on_delivery is not None and on_delivery.foreign for _, (on_delivery, _), _ in self._in_flight.values()
        )

    def publish(self, publications: Sequence[Publication]) -> list[tuple[Publication, str]]:
        """Queues messages; those that can never be sent, and why."""
        too_large = []
        for p in publications:
            if (size := p.size) > self.maximum_packet_size:
                too_large.append((p, self._too_large(p)))
            elif self.left_out and self.left_out.get(p.name, 0.0) > time.monotonic() and not _is_awaited(p):
                too_large.append((p, "the broker ended each connection over it: too large for it, or not allowed?"))
            elif not p.qos:
                self._client.publish_unconfirmed([p])
            elif p.retain and not self.retains:
                self._waiting.append((replace(p, retain=False), size))
            else:
                self._waiting.append((p, size))
        self._send_waiting()
        return too_large

    def _too_large(self, p: Publication) -> str:
        most = self.maximum_packet_size
        return f"{p.size} bytes for {p.name}, but the broker takes at most {most} (mosquitto: max_packet_size)"

    def _send_waiting(self) -> None:
        """As many as the broker's Receive Maximum leaves room for."""
        if not self.qos:
            self._send_unconfirmed()
            return
        most = 1 if self.one_at_a_time else self.receive_maximum
        room = min(most - len(self._in_flight), len(self._waiting))
        if room <= 0:
            return
        now = time.monotonic()
        sent = [self._waiting.popleft() for _ in range(room)]
        self._lone = sent[0][0] if self.one_at_a_time else None
        for mid, (p, size) in zip(self._client.publish([p for p, _ in sent]), sent, strict=True):
            self._in_flight[mid] = now, (p.on_delivery, p.key), size

    def _send_unconfirmed(self) -> None:
        """At QoS 0 a message counts as delivered once it is written: nothing more will be known."""
        sent = [p for p, _ in self._waiting]
        self._waiting.clear()
        self._client.publish_unconfirmed(sent)
        for p in sent:
            if p.on_delivery is not None:
                p.on_delivery.confirmed([p.key])

    def settle(self, acknowledgements: Sequence[Acknowledgement]) -> None:
        """Tells what the broker said of messages, and sends what had to wait."""
        self.confirmed_any = True
        together: list[int] = []
        last: OnDelivery | None = None
        oldest = next(iter(self._in_flight), None)
        for mid, refusal in acknowledgements:
            _, (on_delivery, key), size = self._in_flight.pop(mid, (0.0, (None, 0), 0))
            if refusal is not None and not self._told_refusal:
                self._told_refusal = True
                log.error("the broker refuses a message", extra={"reason": refusal.reason, "broker": self._broker})
            self.refused_for_good |= refusal is not None and refusal.forever
            if on_delivery is None or on_delivery is PROBE:
                continue
            refused = refusal is not None and on_delivery.refused is not None
            if last is not None and (refused or on_delivery.confirmed != last.confirmed):
                last.confirmed(together)
                together, last = [], None
            if refusal is not None and on_delivery.refused is not None:
                on_delivery.refused(key, refusal)
            else:
                if refusal is None and size > self.largest_confirmed:
                    self.largest_confirmed = size
                together.append(key)
                last = on_delivery
        if oldest not in self._in_flight:
            self._moved_s = time.monotonic()
        if last is not None:
            last.confirmed(together)
        if self._waiting:
            self._send_waiting()


def _is_awaited(p: Publication) -> bool:
    """Something waits for it, and would hear of a refusal."""
    return p.on_delivery is not None and p.on_delivery.refused is not None


def check(p: Publication, rejected: Sequence[tuple[Publication, str]]) -> None:
    """Raises SampleError where a message is among those that can never be sent."""
    for other, reason in rejected:
        if other is p:
            raise SampleError(reason)
