"""Inputs from an MQTT topic, acknowledged only when their results are safe, in the order in which they came.

What the broker sends again is not inferred twice where that can be known: `redelivery.py`. What the service itself
publishes is no input of its own, even where the topic filter covers it. On a connection that several runs share
what is not taken in time waits on disk: `shelf.py`.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial

from msgspec.structs import replace

from edge.data.sample import Reply, Sample
from edge.errors import ConfigError, SampleError
from edge.mqtt.messages import RECEIVE_MAXIMUM, Incoming, Listener
from edge.mqtt.redelivery import ORIGIN, Redeliveries, digest
from edge.mqtt.session import MqttSession
from edge.mqtt.shelf import Held, Shelf
from edge.mqtt.topics import ASKED, OUTPUTS
from edge.plugins.contexts import SourceContext
from edge.plugins.declarations import SourceInfo
from edge.plugins.protocols import Loop

log = logging.getLogger("edge.mqtt")

MAX_QOS0_BYTES = 16_000_000
"""QoS 0 inputs that may wait."""
MAX_QOS0 = 1024
MAX_WAITING = 16_000
MAX_WAITING_BYTES = 32_000_000
"""QoS 1 inputs that may wait. We ask the broker for fewer, but mosquitto 2.0.11 sends all that it has: each
acknowledgement of its oldest lets go as many as may be in flight together. One of MQTT 3.1.1 cannot be asked."""
HUGE_WAITING_BYTES = 4 * MAX_WAITING_BYTES
"""However few they are: no broker can be asked for fewer bytes."""


class MqttSource(Listener):
    """Subscribes at QoS 1. An input of QoS 0 cannot be acknowledged, and is dropped, the oldest first, where too many
    wait. `read` and `close` belong to the thread that infers, `ack` may come from any, the rest is the session's
    thread's."""

    live = False
    repeats = True

    def __init__(
        self,
        session: MqttSession,
        topics: Sequence[str],
        context: SourceContext,
        *,
        retained_again: bool = False,
        retained_once: bool = False,
    ) -> None:
        """`topics` are filters; `retained_again`: what the broker retains of them is wanted at each start;
        `retained_once`: what an earlier life has inferred of it is left out."""
        self.loop: Loop = session
        self._session = session
        self._topics = tuple(topics)
        self._more: dict[str, bool] = {"retained_again": True} if retained_again else {}
        self._retained_before = session.subscriptions.retained_before if retained_once else None
        self._wildcard = any(topic.endswith(("#", "+")) for topic in topics)
        self._context = context
        self._waiting = _Waiting()
        self._redeliveries = Redeliveries()
        self._shelf: Shelf | None = context.shelf
        self._safe = self.saved if context.shelf is None else self._done_with
        """Told of what `ack` is given, in the session's thread."""
        self._reads = self._shelf is None
        """False where nothing takes what comes: before `open`, and after `close`."""
        self._to_tell: deque[str] = deque()
        if self._shelf is not None:
            self._shelf.reader = self
            session.attach(self._shelf)
            for topic in topics if self._shelf.shares else ():
                session.expect(topic, self._on_message)
        self._subscribed = False
        self._overrun = False
        """Too many wait: those that come now are sent again on another connection."""
        self._told_own = self._told_dropped = False

    def remember(self, origins: Iterable[bytes]) -> None:
        """Before `open`: inputs that an earlier life has inferred, whose results are on disk."""
        done = set(origins)
        self._redeliveries.remember(done.union(self._shelf.open(done)) if self._shelf is not None else done)

    def open(self) -> None:
        self._reads = True
        if not self._subscribed:
            self._subscribed = True
            self._session.listen(self)
            for topic in self._topics:
                self._session.subscribe(topic, self._on_message, **self._more)

    def read(self, timeout_s: float) -> Sample | None:
        if self._to_tell:
            raise SampleError(self._to_tell.popleft())
        sample = self._waiting.get(timeout_s)
        if sample is None and self._overrun:
            self.place_again()
        return sample

    def wake(self) -> None:
        self._waiting.wake()

    def ack(self, sample: Sample) -> None:
        if sample.token is not None:
            self._session.call_soon(partial(self._safe, sample.token))

    def close(self) -> None:
        """The subscription stays: the broker keeps what comes meanwhile, and gives again what was not acknowledged.
        What waits without that is counted as dropped."""
        self._reads = self._shelf is None
        dropped = self._waiting.drop_qos0()
        for _ in range(dropped):
            self._context.count("dropped:stop")
        if dropped:
            log.warning(
                "the end came before inputs of QoS 0 were inferred: no broker keeps them", extra={"inputs": dropped}
            )

    # --- the session's thread -------------------------------------------------------------------------

    def up(self, *, resumed: bool) -> None:
        if not resumed:
            self._redeliveries.forget()

    def down(self, reason: str) -> None:
        """What was not taken comes again."""
        self._overrun = False

    def _on_message(self, incoming: Incoming) -> None:
        if incoming.topic not in self._topics and self._is_own(incoming.topic):
            self._session.ack_now(incoming, part=self._on_message)
        elif incoming.retain and self._context.ignore_retained:
            self._context.count("dropped:input-retained")
            self._session.ack_now(incoming, part=self._on_message)
        elif incoming.qos:
            self._take(incoming)
        elif self._reads:
            if self._retained_before is not None:
                self._retained_before.overtaken(self._context.topic, incoming.topic)
            self.give(self._sample(incoming, None))
        else:
            self._context.count("dropped:stop")

    def _take(self, incoming: Incoming) -> None:
        shelf, full = self._shelf, self._waiting.full or not self._reads
        if self._overrun or (full if shelf is None else shelf.refuses(full=full)):
            self._overrun = True  # also for what would find room again, for it stands behind what was not taken
            return
        same = digest(incoming)
        delivery = self._known(incoming, same) if incoming.dup else None
        before = self._retained_before
        if delivery is None and before is not None and before.repeats(self._context.topic, incoming, same):
            self._context.count("dropped:input-retained")
            log.debug("a retained input was inferred by an earlier life", extra={"topic": incoming.topic})
            delivery = replace(incoming, payload=b"", digest=same, safe=True)
        if delivery is None:
            sample = self._sample(incoming, self._redeliveries.add(incoming, same))
            if shelf is None or not shelf.takes(sample, full=full):
                self.give(sample)
        elif delivery.safe:
            self.saved(delivery)

    def _known(self, incoming: Incoming, same: bytes) -> Incoming | None:
        anew = (acks := self._session.acks) is not None and acks.numbered_anew
        return self._redeliveries.known(incoming, same, numbered_anew=anew)

    def _sample(self, incoming: Incoming, delivery: Incoming | None) -> Sample:
        reply = Reply(incoming.response_topic, incoming.correlation) if incoming.response_topic else None
        clock = self._context.clock
        origin = None if delivery is None else ORIGIN.pack(incoming.mid, delivery.digest)
        if origin is not None and self._shelf is not None:
            origin += self._shelf.mark()
        return Sample(
            incoming.payload,
            f"mqtt:{incoming.topic}",
            clock.monotonic_ns(),
            clock.time_ns(),
            reply,
            delivery,
            origin,
            incoming.retain,
            None if delivery is None else delivery.digest,
            redelivered=incoming.dup,
            unkept=incoming.unkept,
        )

    def give(self, sample: Sample) -> None:
        """To who reads."""
        for _ in range(self._waiting.put(sample)):
            self._context.count("dropped:input-qos0")
            if not self._told_dropped:
                self._told_dropped = True
                log.warning("inputs of QoS 0 come faster than they are inferred: the oldest are dropped, and counted")

    def _fetch_the_rest(self) -> None:
        if self._overrun:
            self._session.connect_again("the broker sent more inputs at once than may wait: the rest comes anew")

    def _done_with(self, token: Incoming | Held) -> None:
        if self._shelf is None or self._shelf.done(token):
            assert isinstance(token, Incoming)
            self.saved(token)

    def saved(self, delivery: Incoming) -> None:
        """It is safe. Where the connection has gone that it came on last, it comes again, and is only acknowledged
        then."""
        delivery.safe = True
        if delivery.retain and not delivery.unkept and self._retained_before is not None:
            self._retained_before.add(self._context.topic, delivery.topic, delivery.digest)
        acknowledged = partial(self._redeliveries.acknowledged, delivery)
        self._session.ack_now(delivery, acknowledged, self._on_message)

    def held(self) -> int:
        """Messages of the connection that are done, and wait for others."""
        return acks.held if (acks := self._session.acks) is not None else 0

    def waiting(self) -> tuple[int, int] | None:
        """How many samples wait for who reads, and how many bytes; None where nobody does."""
        return self._waiting.size if self._reads else None

    def tell(self, reason: str) -> None:
        """On `error`, with the next turn of who reads."""
        self._to_tell.append(reason)
        self._waiting.wake()

    def place_again(self) -> None:
        if self._overrun:
            self._session.call_soon(self._fetch_the_rest)

    def _is_own(self, topic: str) -> bool:
        """Whether a message that no filter names is an output of a service: of this one, or below a wildcard of
        another one.

        Two services that hear each other's errors answer each with an error.
        """
        last = topic.rpartition("/")[2]
        if last not in (*OUTPUTS, *ASKED):
            return False
        base = self._context.topic.rpartition("/")[0]
        own = topic == f"{base}/{last}" or (self._wildcard and _is_of_a_service(topic, base))
        if own and not self._told_own:
            self._told_own = True
            log.warning(
                "the source covers topics that services publish on: what they publish is left out",
                extra={"topic": topic},
            )
        return own


class _Waiting:
    """Samples on their way from the session's thread to the one that infers. The only lock between the two."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._woken = False
        self._samples: deque[Sample] = deque()
        self._qos0 = self._qos0_bytes = 0
        self._bytes = 0

    @property
    def size(self) -> tuple[int, int]:
        """Samples that the broker, or the disk, keeps, and their bytes."""
        return len(self._samples) - self._qos0, self._bytes

    @property
    def full(self) -> bool:
        """Of inputs that the broker keeps. Not by fewer than it may send, unless they are huge."""
        count = len(self._samples) - self._qos0
        large = self._bytes >= (MAX_WAITING_BYTES if count >= RECEIVE_MAXIMUM else HUGE_WAITING_BYTES)
        return large or count >= MAX_WAITING

    def put(self, sample: Sample) -> int:
        """How many were dropped for it: without an acknowledgement, and older."""
        dropped = 0
        with self._changed:
            self._samples.append(sample)
            if sample.token is not None:
                self._bytes += len(sample.payload)
            else:
                self._count(sample, 1)
                while self._qos0 > 1 and (self._qos0 > MAX_QOS0 or self._qos0_bytes > MAX_QOS0_BYTES):
                    oldest = next(s for s in self._samples if s.token is None)
                    self._samples.remove(oldest)
                    self._count(oldest, -1)
                    dropped += 1
            self._changed.notify()
        return dropped

    def get(self, timeout_s: float) -> Sample | None:
        with self._changed:
            if not self._samples and timeout_s:
                if not self._woken:
                    self._changed.wait(timeout_s)
                self._woken = False
            if not self._samples:
                return None
            sample = self._samples.popleft()
            if sample.token is None:
                self._count(sample, -1)
            else:
                self._bytes -= len(sample.payload)
            return sample

    def wake(self) -> None:
        with self._changed:
            self._woken = True
            self._changed.notify()

    def drop_qos0(self) -> int:
        """Takes out all that cannot be acknowledged; how many there were."""
        with self._changed:
            dropped = self._qos0
            self._samples = deque(s for s in self._samples if s.token is not None)
            self._qos0 = self._qos0_bytes = 0
        return dropped

    def _count(self, sample: Sample, sign: int) -> None:
        self._qos0 += sign
        self._qos0_bytes += sign * len(sample.payload)


def _is_of_a_service(topic: str, base: str) -> bool:
    """Whether a topic has the form of a service's output with our prefix: prefix, device, model, name."""
    prefix = base.rsplit("/", 2)[0]
    return topic.startswith(f"{prefix}/") and topic.count("/") == base.count("/") + 1


def create(rest: str, context: SourceContext) -> MqttSource:
    """`rest` is the topic filter; empty: the contract's `input`. Raises ConfigError without a broker."""
    if context.transport is None:
        raise ConfigError("--source mqtt: needs a broker, but --mqtt is none; name one with --mqtt mqtt://host")
    topic = rest or context.topic
    plain = topic.split("/", 2)[-1] if topic.startswith("$share/") else topic
    parts = plain.split("/")
    if any(("#" in p and (p != "#" or i != len(parts) - 1)) or ("+" in p and p != "+") for i, p in enumerate(parts)):
        raise ConfigError(f"--source mqtt:{topic}: not a topic filter; + and # stand alone, # at the end")
    return MqttSource(context.transport, (topic,), context, retained_once=True)


SOURCE = SourceInfo(
    edge_api=1, create=create, usage="mqtt:TOPIC", ongoing=True, fix="does something publish on that topic?"
)
