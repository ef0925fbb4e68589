"""A message that a broker answers by ending the connection, without saying why: NATS does beyond 1 MB, mosquitto beyond
its `max_packet_size` over MQTT 3.1.1, and beyond `message_size_limit` where `max_queued_messages` is 0.

Sent again it ends the next connection, and all behind it wait for ever. A bad network ends connections too, and costs
nobody a result; so does a broker that lets us publish no results at all. So only a message is suspected that is larger
than all that were confirmed, or goes to a topic that somebody else has named (a reply: some brokers end a connection
over a topic with too many levels), only where it was in flight alone, and only after several times. Where no result was
ever confirmed it takes more times, and the broker has to take something else of ours on each of these connections.

What is published beside results, and nothing waits for (`info` of a model with many labels, a discovery document, a
topic without a right on a broker that hangs up over one), ends connections just so. It costs nobody a result: its topic
is left out for a day: a broker that was itself restarted at the wrong moments takes it then.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from edge.mqtt.messages import Refusal

if TYPE_CHECKING:
    from edge.mqtt.publish_queue import PublishQueue  # brings paho, which a run without a broker does not load

log = logging.getLogger("edge.mqtt")

TOO_LARGE = 0x95
LARGE = 100_000
"""Bytes of a packet that is suspected although none was confirmed before."""
ENDS = 3
"""Connections, one after the other, that ended with the same message in flight, alone."""
ENDS_SMALL = 4
"""The same for one below LARGE."""
ENDS_UNKNOWN = 10
"""The same where no result was ever confirmed, but the broker took a message of ours on each of these connections: it
may also be one that lets us publish no results at all."""
AT_ONCE_S = 5.0
LEFT_OUT_S = 86_400.0
ENDS_AGAIN = 2
"""The same for one that is no smaller than the last that was to blame."""


class EndedByMessage:
    """Belongs to the session's thread."""

    def __init__(self, broker: str) -> None:
        """`broker` is its address, for the log."""
        self._broker = broker
        self.alone = False
        """On the next connection one message is in flight at a time, so that it is known which ends it."""
        self._suspected = 0
        self._ends = 0
        self._confirmed = 0
        """Bytes of the largest that a broker has confirmed."""
        self._too_large = 0
        """Bytes of the last that was to blame: a larger one is to blame sooner, until one is confirmed."""
        self.left_out: dict[str, float] = {}
        """Topics over which the broker ended connections, of what nothing waits for, and until when by
        `time.monotonic`."""
        self._topic = ""

    def stands(self, queue: PublishQueue) -> None:
        """A connection has stood for a while: where nothing suspicious is in flight, it goes on as ever."""
        if not self._is_suspicious(queue, queue.largest_in_flight[0]):
            self._forget()
            queue.one_at_a_time = False

    def _forget(self) -> None:
        self.alone = False
        self._suspected = self._ends = 0
        self._topic = ""

    def _is_suspicious(self, queue: PublishQueue, size: int) -> bool:
        self._confirmed = max(self._confirmed, queue.largest_confirmed)
        return size >= LARGE or size > self._confirmed > 0

    def explains(self, queue: PublishQueue) -> bool:
        """A connection has ended: whether a message was to blame, which will not come again. Where the broker did not
        say so, it is refused here."""
        size, on_delivery, key = queue.largest_in_flight
        self._confirmed = max(self._confirmed, queue.largest_confirmed)
        if not (self.alone or self._confirmed) and queue.awaited:
            self.alone = True  # nothing was ever confirmed: which of them it may be shows then
            return queue.refused_for_good
        if (topic := queue.lone_post) != self._topic:
            self._topic, self._suspected, self._ends = topic, 0, 0
        if on_delivery is None or on_delivery.refused is None:
            self.alone |= size > 0
            return self._leaves_out(topic) or queue.refused_for_good
        suspicious, foreign = self._is_suspicious(queue, size), queue.foreign_in_flight
        if not (suspicious or foreign or self._is_all_that_fails(queue)):
            return queue.refused_for_good
        if not self._is_to_blame(queue, size, foreign=foreign):
            return queue.refused_for_good
        if suspicious:
            self._too_large = size
        alone = f"{self._ends} connections ended while the same message was in flight alone"
        text = f"{alone}: too large for the broker{'' if suspicious else ', or not allowed there'}? dropped"
        log.error(text, extra={"bytes": size, "broker": self._broker})
        self._suspected = 0  # `alone` stays: another one may be close behind it
        on_delivery.refused(key, Refusal(TOO_LARGE, text))
        return True

    def _leaves_out(self, topic: str) -> bool:
        self._ends += bool(topic)
        if not topic or self._ends < (ENDS_AGAIN if self.left_out else ENDS):
            return False
        alone = f"{self._ends} connections ended while the same message was in flight alone"
        text = f"{alone}: too large for the broker, or not allowed there? its topic is left out for a day"
        log.error(text, extra={"topic": topic, "broker": self._broker})
        self.left_out[topic] = time.monotonic() + LEFT_OUT_S
        self._topic, self._ends = "", 0
        return True

    def _is_all_that_fails(self, queue: PublishQueue) -> bool:
        """No result was ever confirmed, but on this connection a small message of ours was, and it ended at once: where
        a network loses what is large it ends by our patience."""
        since_s = queue.waits_since_s
        at_once = since_s is not None and time.monotonic() - since_s < AT_ONCE_S
        return not self._confirmed and queue.confirmed_any and at_once and not queue.given_up

    def _is_to_blame(self, queue: PublishQueue, size: int, *, foreign: bool) -> bool:
        if not self.alone:
            self.alone = True
            return False
        # Each try has another identifier, but goes first: where nothing was confirmed it is the same message.
        if size != self._suspected or queue.largest_confirmed:
            self._suspected, self._ends = size, 0
        self._ends += 1
        if self._confirmed < self._too_large <= size:
            return self._ends >= ENDS_AGAIN
        if size >= LARGE or foreign:
            return self._ends >= ENDS
        return self._ends >= (ENDS_SMALL if self._confirmed else ENDS_UNKNOWN)
