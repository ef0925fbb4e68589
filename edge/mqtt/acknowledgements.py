"""Acknowledgements of one connection, in the order in which the messages came [MQTT-4.6.0].

A message that is done waits for those before it, whatever they are: inputs, what the service itself had published, what
an earlier life had subscribed to. One that several were given is done when each of them has said so.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable

import msgspec

from edge.mqtt.messages import Incoming


class _Owed(msgspec.Struct, eq=False):
    qos: int
    done: bool = False
    parts: set[object] | None = None
    """Who has not said so yet, where several were given it."""
    sent: tuple[Callable[[], None], ...] = ()


class Acknowledgements:
    """Belongs to the session's thread."""

    def __init__(self, send: Callable[[int, int], None]) -> None:
        """`send` is given the packet identifier and the QoS of the message."""
        self._send = send
        self._owed: OrderedDict[int, _Owed] = OrderedDict()
        """By packet identifier, the oldest first. No plain dict: to look for its first one takes ever longer as those
        before are taken out."""
        self._unwritten: list[Callable[[], None]] = []
        self._first_mid = 0
        self.held = 0
        """Messages that are done, and wait for one before them that is not."""

    @property
    def numbered_anew(self) -> bool:
        """The broker's packet identifiers began at 1 on this connection."""
        return self._first_mid == 1

    def owe(self, messages: Iterable[Incoming]) -> int:
        """These came; how many are not acknowledged now. One that the broker sends again before it has its
        acknowledgement keeps its place."""
        for message in messages:
            if message.qos and message.mid not in self._owed:
                self._owed[message.mid] = _Owed(message.qos)
                self._first_mid = self._first_mid or message.mid
        return len(self._owed)

    def share(self, mid: int, parts: Collection[object]) -> None:
        """The message is given to all of these, and done when each has said so. Given again it changes nothing."""
        owed = self._owed.get(mid)
        if owed is not None and owed.parts is None and not owed.done:
            owed.parts = set(parts)

    def done(self, mid: int, sent: Callable[[], None] | None = None, part: object = None) -> None:
        """The message may be acknowledged, as far as this part of it goes; `sent` is called once that is written."""
        owed = self._owed.get(mid)
        if owed is None:
            return
        if sent is not None:
            owed.sent += (sent,)
        if owed.parts is not None:
            owed.parts.discard(part)
            if owed.parts:
                return
        self.held += not owed.done
        owed.done = True
        while self._owed and (first := next(iter(self._owed.values()))).done:
            mid, _ = self._owed.popitem(last=False)
            self.held -= 1
            self._send(mid, first.qos)
            self._unwritten += first.sent

    def written(self) -> None:
        """All that was given to `send` is on its way. What was still here when the connection broke never was: the
        broker sends those messages again for certain."""
        unwritten, self._unwritten = self._unwritten, []
        for sent in unwritten:
            sent()
