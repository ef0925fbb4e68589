"""Results to the broker at QoS 1, confirmed by its PUBACK.

Topics: `result` and `error` below the base topic, and the Response Topic of an input that has one. A result with a
reply counts as confirmed when both are; an `answer` goes to the Response Topic alone.

A broker that refuses a result (its access list, a quota) is one that is not available: the result waits. One that it
can never take (too large for it) is dropped and counted. So are a reply and an error that it refuses, for an input may
name a topic that no one may use. No reply goes to the topics of this service and of other systems (`ReplyFence`).

With `batch` above 1 a message on `result` is a JSON array of results, of one also: those that wait are joined, and
confirmed together. Replies and errors are objects as ever.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Sequence
from functools import partial

from edge.data import codec, refusal
from edge.data.message import Message, Words
from edge.data.result import SCHEMA
from edge.errors import ConfigError, SampleError, UnavailableError
from edge.mqtt.codec.packets import Publication, PublishTemplate, publication
from edge.mqtt.messages import Listener, OnDelivery, Outgoing, Refusal
from edge.mqtt.reply_fence import ReplyFence
from edge.mqtt.session import MqttSession
from edge.mqtt.topics import Topics
from edge.plugins.contexts import SinkContext
from edge.plugins.declarations import SinkInfo
from edge.plugins.protocols import Entry, Loop, SinkEvents

JSON = "application/json"
WINDOW = 64
"""As many as an outbox holds before it writes or waits: a broker that confirms one by one (RabbitMQ, NATS) then wakes
the session once for several of them, not once for each."""
MAX_BATCH_BYTES = 1_000_000
"""A message of more gains nothing, and some brokers refuse it."""
MAX_PROPERTIES = 256
"""Bytes of a joined result's packet beside topic, model and payload: header, property names, numbers."""

MAX_TOLD = 1000
"""Response Topics that are remembered as told to be refused."""

_KEY = operator.attrgetter("key")


class MqttSink(Listener):
    """`window` bounds what is in flight, where the broker names no smaller Receive Maximum. Belongs to the session's
    thread."""

    durable = True
    answers = True

    def __init__(
        self,
        session: MqttSession,
        base_topic: str,
        model: str,
        *,
        window: int = WINDOW,
        batch: int = 1,
        sending: Callable[[Message], None] = lambda _: None,
        count: Callable[[str], None] = lambda _: None,
        fence: ReplyFence | None = None,
        retain: bool = False,
        results: bool = True,
    ) -> None:
        """`sending` is called with each message for everybody, before it goes to the connection; `count` with the
        reason of each that was dropped. `retain`: the broker keeps the newest result. `results`: False where another
        sink tells everybody of them."""
        self.window = self._most = window
        self.batch = batch
        self.loop: Loop = session
        self._sending = sending
        self._count = count
        self._session = session
        self._topics = Topics(base_topic)
        self._retain = retain
        self._results = results
        self._fence = fence or ReplyFence(base_topic)
        self._told_refused: set[int] = set()
        self._model = model
        self._events: SinkEvents | None = None
        self._listening = self._own_topic = False
        self._halves: dict[int, bytes] = {}
        """The Response Topics of results of which neither part is confirmed."""
        self._templates: dict[tuple[int, bool], PublishTemplate] = {}

    @property
    def batch_bytes(self) -> int:
        """How many bytes of results go in one message at most."""
        beside = MAX_PROPERTIES + len(self._topics.result.encode()) + len(self._model.encode())
        return min(MAX_BATCH_BYTES, self._session.largest - beside)

    def open(self, events: SinkEvents) -> None:
        self._events = events
        if not self._listening:
            self._listening = True
            self._session.listen(self)
        if not self._session.up:
            raise UnavailableError(f"{self._session.options.url}: not connected")
        self.window = min(self._most, self._session.receive_maximum)
        self._halves.clear()

    def send(self, entry: Entry) -> None:
        for _, reason in self.send_all([entry]):
            raise SampleError(reason)

    def send_all(self, entries: Sequence[Entry]) -> list[tuple[int, str]]:
        """The key and the reason of each that can never be sent."""
        publications: list[Publication] = []
        rejected: list[tuple[int, str]] = []
        for key, together in itertools.groupby(entries, _KEY):
            group = list(together)
            message = group[0].message
            if message.kind == "result" and message.reply is None and not self._results:
                self._session.call_soon(partial(self._confirmed, [key]))  # not before the outbox knows it as sent
                continue
            if message.kind == "result" and message.reply is None and message.words is None:
                publications.append(self._result(group))
                continue
            try:
                publications += self._others(group[0])
            except SampleError as exc:
                rejected.append((key, str(exc)))
        for p, reason in self._session.publish_all(publications):
            self._reject(p, reason, rejected)
        if rejected:
            self._check_joined(entries, rejected)
        return rejected

    def _reject(self, p: Publication, reason: str, rejected: list[tuple[int, str]]) -> None:
        delivery = p.on_delivery
        if delivery is None:
            return
        if self._halves.get(delivery.delivery_id) == p.topic:
            del self._halves[delivery.delivery_id]
            self._count("dropped:mqtt:reply")
        else:
            rejected.append((delivery.delivery_id, reason))

    def _check_joined(self, entries: Sequence[Entry], rejected: Sequence[tuple[int, str]]) -> None:
        """Joined for a connection that took more than this one does: to be joined again is all they need."""
        for key, reason in rejected:
            if sum(entry.key == key for entry in entries) > 1:
                raise UnavailableError(reason)

    def _result(self, group: Sequence[Entry]) -> Publication:
        for entry in group:
            self._sending(entry.message)
        payload = self._payload([e.message.replayed() if e.replayed else e.message.payload for e in group])
        retain = self._retains(group[-1])
        template = self._templates.get((len(group), retain)) or self._template(len(group), retain)
        on_delivery = OnDelivery(group[0].key, self._confirmed, self._refused)
        return template.publication(b"%d" % group[0].message.seq, payload, on_delivery)

    def _payload(self, results: Sequence[bytes]) -> bytes:
        return results[0] if self.batch == 1 else b"[" + b",".join(results) + b"]"

    def _properties(self, count: int) -> dict[str, str]:
        """Beside `seq`."""
        return {"schema": str(SCHEMA), "model": self._model, **({"count": str(count)} if self.batch > 1 else {})}

    def _template(self, count: int, retain: bool) -> PublishTemplate:
        template = PublishTemplate(self._topics.result, JSON, self._properties(count), varies="seq", retain=retain)
        self._templates[count, retain] = template
        return template

    def _retains(self, entry: Entry) -> bool:
        """An old result never takes the place of a newer one."""
        return self._retain and not entry.overtaken

    def _others(self, entry: Entry) -> list[Publication]:
        """An error, an event, or a result with a reply. Raises SampleError for an answer that can never be sent."""
        message = entry.message
        payload = message.replayed() if entry.replayed else message.payload
        properties = {"schema": str(SCHEMA), "model": self._model, "seq": str(message.seq)}
        reply = None if message.reply is None else self._reply(entry.key, message, payload, properties)
        told = self._told(entry, reply) if isinstance(reply, SampleError) else []
        if message.kind == "answer":
            if isinstance(reply, SampleError):
                if not told:
                    raise reply
                self._count("dropped:mqtt:reply")
                return told
            return [reply] if reply is not None else []
        if isinstance(reply, SampleError):
            self._count("dropped:mqtt:reply")
            reply = None
        if message.kind == "result" and not self._results:
            return self._reply_alone(entry.key, reply, told)
        self._sending(message)
        self._own_topic = message.words is not None and message.words.topic != ""
        topic, refused = self._topics.error, self._given_up("error")
        if message.kind == "event":
            topic, refused = self._topics.event, self._given_up("event")
        elif message.kind == "result":
            topic, refused, payload = self._topics.result, self._refused, self._payload([payload])
            properties = {**self._properties(1), "seq": str(message.seq)}
        retain = message.kind == "result" and self._retains(entry)
        outgoing = Outgoing(topic, payload, retain, JSON, properties=properties)
        if message.words is not None:
            outgoing = self._worded(entry, message.words, outgoing)
        everybody = publication(outgoing, OnDelivery(entry.key, self._confirmed, refused))
        if reply is None:
            return [everybody, *told]
        self._halves[entry.key] = reply.topic
        return [reply, everybody]

    def _reply_alone(self, key: int, reply: Publication | None, told: list[Publication]) -> list[Publication]:
        if reply is None:
            self._session.call_soon(partial(self._confirmed, [key]))
            return told
        return [reply]

    def _worded(self, entry: Entry, words: Words, usual: Outgoing) -> Outgoing:
        """A payload that was rendered before is not touched by an outage: a user property tells of it."""
        after = {"replayed": "true"} if entry.replayed else {}
        own = {"model": self._model, "seq": str(entry.message.seq)}
        return Outgoing(
            words.topic or usual.topic,
            words.payload if words.payload is not None else usual.payload,
            usual.retain,
            words.content_type,
            properties={**words.properties, **own, **after},
        )

    def _reply(
        self, key: int, message: Message, payload: bytes, properties: dict[str, str]
    ) -> Publication | SampleError:
        topic, correlation = (message.reply.topic, message.reply.correlation) if message.reply else ("", None)
        fenced = self._fence.reason(topic)
        if fenced is not None:
            return SampleError(
                f"no reply goes to the Response Topic {topic[:200]!r}: {fenced}; name one of the asker's"
            )
        outgoing = Outgoing(topic, payload, content_type=JSON, correlation=correlation, properties=properties)
        try:
            return publication(outgoing, OnDelivery(key, self._confirmed, self._given_up("reply"), foreign=True))
        except SampleError as exc:
            return exc

    def _told(self, entry: Entry, refused: SampleError) -> list[Publication]:
        """What `error` says of a reply that is refused, once for each topic; an answer is done with that."""
        message = entry.message
        topic = message.reply.topic if message.reply is not None else ""
        if hash(topic) in self._told_refused or len(self._told_refused) >= MAX_TOLD:
            return []
        self._told_refused.add(hash(topic))  # a topic may have 65,535 bytes
        error = refusal.of(message, "reply", self._model, str(refused))
        properties = {"schema": str(SCHEMA), "model": self._model, "seq": str(message.seq)}
        outgoing = Outgoing(self._topics.error, codec.encode(error), content_type=JSON, properties=properties)
        done = OnDelivery(entry.key, self._confirmed, self._given_up("error"))
        return [publication(outgoing, done if message.kind == "answer" else None)]

    def _refused(self, key: int, refusal: Refusal) -> None:
        if self._events is None:
            return
        if refusal.forever:
            self._count("dropped:mqtt:refused")
            self._confirmed([key])
            return
        where = "the topics of --topic" if self._own_topic else self._topics.result
        self._events.lost(f"the broker refuses results: {refusal.reason}; may this user publish on {where}?")

    def _given_up(self, what: str) -> Callable[[int, Refusal], None]:
        def given_up(key: int, refusal: Refusal) -> None:
            self._count(f"dropped:mqtt:{what}")
            self._confirmed([key])

        return given_up

    def _confirmed(self, keys: list[int]) -> None:
        if self._events is None:
            return
        if self._halves:
            keys = [key for key in keys if not self._is_first_half(key)]
        if not self._session.confirms:
            for _ in keys:
                self._count("unconfirmed:mqtt")
        self._events.confirmed(keys)

    def _is_first_half(self, key: int) -> bool:
        """One by one: both may be confirmed at once."""
        return self._halves.pop(key, None) is not None

    def up(self, *, resumed: bool) -> None:
        if self._events is not None:
            self._events.ready()

    def down(self, reason: str) -> None:
        if self._events is not None:
            self._events.lost(reason)

    def close(self) -> None:
        """The session stays: it is not the sink's."""


def create(rest: str, context: SinkContext) -> MqttSink:
    """`rest` is empty: the broker is `--mqtt`, the topics follow from the names. Raises ConfigError."""
    if rest:
        raise ConfigError(f"--sink mqtt:{rest}: say --mqtt URL for the broker, and --prefix, --device, --name")
    if not isinstance(context.transport, MqttSession):
        raise ConfigError("--sink mqtt: needs a broker, but --mqtt is none; name one with --mqtt mqtt://host")
    return MqttSink(
        context.transport,
        context.topic,
        context.model,
        batch=context.batch,
        sending=context.sending,
        count=context.count,
        fence=ReplyFence(context.topic, context.discovery, context.reply_topics, context.results_topic),
        results=context.results,
        retain=context.retain,
    )


SINK = SinkInfo(edge_api=1, create=create, usage="mqtt")
