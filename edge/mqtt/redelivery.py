"""Which inputs of a broker are ones that it has sent before.

A broker sends again, marked DUP, what it has no acknowledgement of when it sees us again. Whether such a message was
inferred already can only be told from what it is (`digest`: topic, payload, Response Topic, Correlation Data) and from
its packet identifier, and some brokers give one identifier to two messages (RabbitMQ 3.10 and NATS 2.9 number anew on
each connection). A repeat is allowed, a loss is not. So

- a message that is *on its way* here, read on an earlier connection and not acknowledged, will come again for certain:
  one DUP of the same digest stands for it. Where several are equal it does not matter which: as many are inferred as
  the broker holds.
- one whose result an earlier life of the process has left *on disk* may come again, if that life did not get so far as
  to acknowledge it. It is known by digest and identifier, but not where the broker's identifiers began at 1 on this
  connection: it may be one that numbers anew.
- one that was acknowledged is inferred again: either the acknowledgement was lost, or it is another message.
"""

from __future__ import annotations

import hashlib
import struct
from collections import OrderedDict
from collections.abc import Iterable

from msgspec.structs import replace

from edge.mqtt.messages import Incoming

ORIGIN = struct.Struct(">H16s")
"""What an input is known by in a later life: its packet identifier and its digest. More may follow."""


class Redeliveries:
    """Belongs to the session's thread."""

    def __init__(self) -> None:
        self._here: dict[tuple[bytes, int], Incoming] = {}
        """On their way, last sent on this connection: by digest and identifier."""
        self._before: dict[bytes, OrderedDict[Incoming, None]] = {}
        """On their way, last sent on an earlier one. Many may be equal: a sensor that stands still."""
        self._on_disk: set[bytes] = set()
        self._session = -1

    def remember(self, origins: Iterable[bytes]) -> None:
        """Inputs of an earlier life whose results are on disk."""
        self._on_disk = {origin[: ORIGIN.size] for origin in origins}

    def forget(self) -> None:
        """The broker has lost the session: it repeats nothing."""
        self._here.clear()
        self._before.clear()
        self._on_disk.clear()

    def known(self, incoming: Incoming, digest: bytes, *, numbered_anew: bool) -> Incoming | None:
        """The delivery that a message marked DUP repeats, to be acknowledged when it is safe; None: it has to be
        inferred. `numbered_anew`: the broker's identifiers began at 1 on this connection."""
        if incoming.session != self._session:
            self._begin(incoming.session)
        again = self._here.get((digest, incoming.mid)) or self._take_from_before(digest)
        if again is not None:
            again.mid, again.session, again.retain = incoming.mid, incoming.session, incoming.retain
            self._here[digest, incoming.mid] = again
            return again
        origin = ORIGIN.pack(incoming.mid, digest)
        if origin in self._on_disk and not numbered_anew:
            self._on_disk.discard(origin)
            return replace(incoming, payload=b"", digest=digest, safe=True)
        return None

    def add(self, incoming: Incoming, digest: bytes) -> Incoming:
        """A message that will be inferred."""
        if incoming.session != self._session:
            self._begin(incoming.session)
        # Without the payload: what is remembered of many pictures must not hold them.
        delivery = self._here[digest, incoming.mid] = replace(incoming, payload=b"", digest=digest)
        return delivery

    def acknowledged(self, delivery: Incoming) -> None:
        """Its acknowledgement is sent."""
        key = (delivery.digest, delivery.mid)
        if self._here.get(key) is delivery:
            del self._here[key]
        elif delivery in (equal := self._before.get(delivery.digest, OrderedDict())):
            del equal[delivery]
            if not equal:
                del self._before[delivery.digest]

    def _begin(self, session: int) -> None:
        """The first message of another connection."""
        self._session = session
        for delivery in self._here.values():
            self._before.setdefault(delivery.digest, OrderedDict())[delivery] = None
        self._here.clear()

    def _take_from_before(self, digest: bytes) -> Incoming | None:
        """The oldest of those that are equal."""
        equal = self._before.get(digest)
        if equal is None:
            return None
        delivery, _ = equal.popitem(last=False)
        if not equal:
            del self._before[digest]
        return delivery


def digest(incoming: Incoming) -> bytes:
    """Of all that makes an input what it is."""
    correlation = incoming.correlation
    reply = (incoming.response_topic or "").encode()
    parts = (incoming.topic.encode(), reply, b"" if correlation is None else b"\1" + correlation)
    head = b"".join([struct.pack(">I", len(part)) + part for part in parts])
    payload = b"%d" % incoming.unkept if incoming.unkept else incoming.payload
    return hashlib.blake2b(head + payload, digest_size=16).digest()
