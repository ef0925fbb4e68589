"""Acknowledgements of one connection, in the order in which the messages came [MQTT-4.6.0].

A message that is done waits for those before it, whatever they are: inputs, what the service itself had published, what
an earlier life had subscribed to. One that several were given is done when each of them has said so.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable

from edge.mqtt.messages import Incoming


class Acknowledgements:
    """Belongs to the session's thread."""

    def __init__(self, send: Callable[[int, int], None]) -> None:
        """`send` is given the packet identifier and the QoS of the message."""
        self._send = send
        self._owed: OrderedDict[int, int] = OrderedDict()
        """Packet identifiers, the oldest first, each with its QoS. No plain dict: to look for its first one takes ever
        longer as those before are taken out."""
        self._done: set[int] = set()
        """Those of them that are done, and wait for one before them that is not."""
        self._parts: dict[int, set[object]] = {}
        """Who has not said so yet, where several were given one."""
        self._sent: dict[int, list[Callable[[], None]]] = {}
        """Whom to call once the acknowledgement is written."""
        self._unwritten: list[Callable[[], None]] = []
        self._first_mid = 0

    @property
    def held(self) -> int:
        """Messages that are done, and wait for one before them that is not."""
        return len(self._done)

    @property
    def numbered_anew(self) -> bool:
        """The broker's packet identifiers began at 1 on this connection."""
        return self._first_mid == 1

    def owe(self, messages: Iterable[Incoming]) -> int:
        """These came; how many are not acknowledged now. One that the broker sends again before it has its
        acknowledgement keeps its place."""
        for message in messages:
            if message.qos and message.mid not in self._owed:
                self._owed[message.mid] = message.qos
                self._first_mid = self._first_mid or message.mid
        return len(self._owed)

    def share(self, mid: int, parts: Collection[object]) -> None:
        """The message is given to all of these, and done when each has said so. Given again it changes nothing."""
        if mid in self._owed and mid not in self._done:
            self._parts.setdefault(mid, set(parts))

    def done(self, mid: int, sent: Callable[[], None] | None = None, part: object = None) -> None:
        """The message may be acknowledged, as far as this part of it goes; `sent` is called once that is written."""
        if mid not in self._owed:
            return
        if sent is not None:
            self._sent.setdefault(mid, []).append(sent)
        parts = self._parts.get(mid, set())
        parts.discard(part)
        if parts:
            return
        self._done.add(mid)
        while self._owed and (first := next(iter(self._owed))) in self._done:
            self._done.discard(first)
            self._parts.pop(first, None)
            self._unwritten += self._sent.pop(first, ())
            self._send(first, self._owed.pop(first))

    def written(self) -> None:
        """All that was given to `send` is on its way. What was still here when the connection broke never was: the
        broker sends those messages again for certain."""
        unwritten, self._unwritten = self._unwritten, []
        for sent in unwritten:
            sent()
