"""Inputs from an MQTT topic, acknowledged only when their results are safe.

The broker sends an unacknowledged input again when it sees us again: after a cut connection that is one we may
still be working on, or have finished a moment ago. Within a resumed session it comes with the packet identifier
it had, so it is known again here and not inferred twice. So is one whose result an earlier life of this process
has left in the spool.
"""

from __future__ import annotations

import hashlib
import struct
import threading
from collections import OrderedDict, deque
from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from edge.data.sample import Reply, Sample
from edge.errors import ConfigError
from edge.mqtt.messages import Incoming
from edge.mqtt.session import Listener, MqttTransport
from edge.plugins.declarations import SourceInfo
from edge.plugins.protocols import SourceContext

QUEUE_MOST = 1024
"""QoS 0 inputs that may wait; the broker itself bounds those of QoS 1."""

REMEMBERED = 512

ORIGIN = struct.Struct(">H16s")
"""What an input is known by in a later life: its packet identifier and the digest of topic and payload."""


class _Delivery(msgspec.Struct):
    incoming: Incoming
    digest: bytes
    safe: bool = False


class MqttSource(Listener):
    """Subscribes at QoS 1; what comes at QoS 0 has nobody to acknowledge to and may be dropped when too many wait."""

    live = False

    def __init__(self, transport: MqttTransport, topic: str, context: SourceContext) -> None:
        self._transport = transport
        self._topic = topic
        self._context = context
        self._changed = threading.Condition()
        self._queue: deque[tuple[_Delivery, Sample]] = deque()
        self._known: OrderedDict[int, _Delivery] = OrderedDict()
        self._subscribed = False
        self._earlier: set[bytes] = set()

    def remember(self, origins: Iterable[bytes]) -> None:
        """Before `open`: inputs that an earlier life has inferred, whose results are on disk."""
        self._earlier = set(origins)

    def open(self) -> None:
        if not self._subscribed:
            self._subscribed = True
            self._transport.listen(self)
            self._transport.subscribe(self._topic, self._on_message)

    def read(self, timeout_s: float) -> Sample | None:
        with self._changed:
            self._changed.wait_for(lambda: self._queue, timeout_s)
            return self._queue.popleft()[1] if self._queue else None

    def ack(self, sample: Sample) -> None:
        delivery: _Delivery = sample.token
        with self._changed:
            delivery.safe = True
            incoming = delivery.incoming
        self._transport.ack(incoming)

    def close(self) -> None:
        """The subscription stays: the broker keeps what comes meanwhile."""

    def up(self, *, resumed: bool) -> None:
        """A session that the broker does not know any more repeats nothing."""
        if not resumed:
            with self._changed:
                self._known.clear()
                self._earlier.clear()

    def _on_message(self, incoming: Incoming) -> None:
        digest = hashlib.blake2b(incoming.topic.encode() + b"\0" + incoming.payload, digest_size=16).digest()
        with self._changed:
            if incoming.qos and self._is_repeat(incoming, digest):
                again = self._known[incoming.mid]
                again.incoming = replace(incoming, payload=b"")
                if not again.safe:
                    return
            elif incoming.dup and ORIGIN.pack(incoming.mid, digest) in self._earlier:
                self._earlier.discard(ORIGIN.pack(incoming.mid, digest))
            else:
                self._take(incoming, digest)
                return
        self._transport.ack(incoming)

    def _is_repeat(self, incoming: Incoming, digest: bytes) -> bool:
        known = self._known.get(incoming.mid)
        if known is None or known.digest != digest:
            return False
        # An identifier is free for a new message once we acknowledged; before that it can only be the same one.
        return incoming.dup or not known.safe

    def _take(self, incoming: Incoming, digest: bytes) -> None:
        if not incoming.qos and len(self._queue) >= QUEUE_MOST:
            self._context.count("dropped:input-qos0")
            return
        # Without the payload: what is remembered of hundreds of pictures must not hold them.
        delivery = _Delivery(replace(incoming, payload=b""), digest)
        if incoming.qos:
            self._known[incoming.mid] = delivery
            self._known.move_to_end(incoming.mid)
            while len(self._known) > REMEMBERED and next(iter(self._known.values())).safe:
                self._known.popitem(last=False)
        reply = Reply(incoming.response_topic, incoming.correlation) if incoming.response_topic else None
        clock = self._context.clock
        origin = ORIGIN.pack(incoming.mid, digest) if incoming.qos else None
        sample = Sample(
            incoming.payload, f"mqtt:{incoming.topic}", clock.monotonic_ns(), clock.time_ns(), reply, delivery, origin
        )
        self._queue.append((delivery, sample))
        self._changed.notify()


def create(rest: str, context: SourceContext) -> MqttSource:
    """`rest` is the topic filter; empty: the contract's `input`. Raises ConfigError without a broker."""
    if context.transport is None:
        raise ConfigError("--source mqtt: needs a broker, but --mqtt is none; name one with --mqtt mqtt://host")
    topic = rest or context.topic
    plain = topic.split("/", 2)[-1] if topic.startswith("$share/") else topic
    parts = plain.split("/")
    if any(("#" in p and (p != "#" or i != len(parts) - 1)) or ("+" in p and p != "+") for i, p in enumerate(parts)):
        raise ConfigError(f"--source mqtt:{topic}: not a topic filter; + and # stand alone, # at the end")
    return MqttSource(context.transport, topic, context)


SOURCE = SourceInfo(edge_api=1, create=create, usage="mqtt:TOPIC", fix="does something publish on that topic?")
