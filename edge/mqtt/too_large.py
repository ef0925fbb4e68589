"""A message that a broker answers by ending the connection, without saying why: NATS does beyond 1 MB.

Sent again it ends the next connection, and all behind it wait for ever. A bad network ends connections too, and costs
nobody a result: only a large message is suspected, only where it was in flight alone, and only after several times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.mqtt.messages import OnDelivery

if TYPE_CHECKING:
    from edge.mqtt.publish_queue import PublishQueue  # brings paho, which a run without a broker does not load

LARGE = 100_000
"""Bytes of a packet; brokers that have a limit and do not tell it have none below."""
ENDS = 3
"""Connections, one after the other, that ended with the same message in flight, alone."""


class EndedByMessage:
    """Belongs to the session's thread."""

    def __init__(self) -> None:
        self.alone = False
        """On the next connection one message is in flight at a time, so that it is known which ends it."""
        self._suspect: int | None = None
        self._ends = 0

    def stands(self, queue: PublishQueue) -> None:
        """A connection has stood for a while: where nothing large is in flight, it goes on as ever."""
        if queue.largest_in_flight[0] < LARGE:
            self._forget()
            queue.one_at_a_time = False

    def _forget(self) -> None:
        self.alone = False
        self._suspect, self._ends = None, 0

    def ended(self, queue: PublishQueue) -> OnDelivery | None:
        """A connection has ended; the message that is to blame, once that is clear."""
        size, on_delivery = queue.largest_in_flight
        if size < LARGE or on_delivery is None:
            return None
        if not self.alone:
            self.alone = True
            return None
        if on_delivery.delivery_id != self._suspect:
            self._suspect, self._ends = on_delivery.delivery_id, 0
        self._ends += 1
        if self._ends < ENDS:
            return None
        self._forget()
        return on_delivery
