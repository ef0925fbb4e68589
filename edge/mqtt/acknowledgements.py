"""Acknowledgements of one connection, in the order in which the messages came [MQTT-4.6.0].

A message that is done waits for those before it, whatever they are: inputs, what the service itself had published, what
an earlier life had subscribed to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import msgspec

from edge.mqtt.messages import Incoming


class _Owed(msgspec.Struct, eq=False):
    mid: int
    qos: int
    topic: str
    done: bool = False
    sent: Callable[[], None] | None = None


class Acknowledgements:
    """Belongs to the session's thread."""

    def __init__(self, send: Callable[[int, int], None]) -> None:
        """`send` is given the packet identifier and the QoS of the message."""
        self._send = send
        self._order: deque[_Owed] = deque()
        self._owed: dict[int, _Owed] = {}
        self._unwritten: list[Callable[[], None]] = []

    def owe(self, messages: Iterable[Incoming]) -> int:
        """These came; how many are not acknowledged now. One that the broker sends again before it has its
        acknowledgement keeps its place."""
        for message in messages:
            if message.qos and message.mid not in self._owed:
                owed = self._owed[message.mid] = _Owed(message.mid, message.qos, message.topic)
                self._order.append(owed)
        return len(self._order)

    def done(self, mid: int, sent: Callable[[], None] | None = None) -> None:
        """The message may be acknowledged; `sent` is called once that is written."""
        owed = self._owed.get(mid)
        if owed is None:
            return
        owed.done, owed.sent = True, sent
        self._send_in_order()

    def let_go(self, gone: Callable[[str], bool]) -> None:
        """What no one will say to be done, by its topic, waits no longer."""
        for owed in self._order:
            owed.done = owed.done or gone(owed.topic)
        self._send_in_order()

    def _send_in_order(self) -> None:
        while self._order and self._order[0].done:
            first = self._order.popleft()
            del self._owed[first.mid]
            self._send(first.mid, first.qos)
            if first.sent is not None:
                self._unwritten.append(first.sent)

    def written(self) -> None:
        """All that was given to `send` is on its way. What was still here when the connection broke never was: the
        broker sends those messages again for certain."""
        unwritten, self._unwritten = self._unwritten, []
        for sent in unwritten:
            sent()
