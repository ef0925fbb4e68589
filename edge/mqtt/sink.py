"""Results to the broker at QoS 1, confirmed by its PUBACK.

Topics: `result`, `error` and `event` below the base topic, and the Response Topic of an input that has one
(`replies.py`).

A broker that refuses a result (its access list, a quota) is one that is not available: the result waits. One that it
can never take (too large for it) is dropped and counted. So are a reply, an error and an event that it refuses.

With `batch` above 1 a message on `result` is a JSON array of results, of one also: those that wait are joined, and
confirmed together. Replies and errors are objects as ever.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence
from functools import partial

from edge.data.message import Words
from edge.data.result import SCHEMA
from edge.errors import ConfigError, SampleError, UnavailableError
from edge.mqtt.codec.packets import Publication, PublishTemplate, publication
from edge.mqtt.messages import Listener, OnDelivery, Outgoing, Refusal
from edge.mqtt.replies import JSON, Replies
from edge.mqtt.reply_fence import ReplyFence
from edge.mqtt.session import MqttSession
from edge.mqtt.topics import Topics
from edge.plugins.contexts import SinkContext
from edge.plugins.declarations import SinkInfo
from edge.plugins.protocols import Entry, Loop, SinkEvents

WINDOW = 64
"""As many as an outbox holds before it writes or waits: a broker that confirms one by one (RabbitMQ, NATS) then wakes
the session once for several of them, not once for each."""
MAX_BATCH_BYTES = 1_000_000
"""A message of more gains nothing, and some brokers refuse it."""
MAX_PROPERTIES = 256
"""Bytes of a joined result's packet beside topic, model and payload: header, property names, numbers."""

_KEY = operator.attrgetter("key")


class MqttSink(Listener):
    """Belongs to the session's thread."""

    durable = True
    answers = True

    def __init__(self, session: MqttSession, context: SinkContext) -> None:
        self.window = WINDOW
        """Bounds what is in flight, where the broker names no smaller Receive Maximum."""
        self.batch = context.batch
        self.loop: Loop = session
        self._session = session
        self._topics = Topics(context.topic)
        self._model = context.model
        self._sending = context.sending
        self._count = context.count
        self._retain = context.retain
        self._results = context.results
        fence = ReplyFence(context.topic, context.discovery, context.reply_topics, context.results_topic)
        self._on_result = OnDelivery(self._confirmed, self._refused)
        self._on_other = {
            what: OnDelivery(self._confirmed, partial(self._given_up, what), foreign=what == "reply")
            for what in ("reply", "error", "event")
        }
        """Of what may be refused without holding up anything: it is counted, and the message done."""
        self._replies = Replies(self._topics, context.model, fence, self._on_other, context.count)
        self._events: SinkEvents | None = None
        self._listening = self._own_topic = self._unconfirmed = False
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
        self.window = min(WINDOW, self._session.receive_maximum)
        self._unconfirmed = not self._session.confirms
        self._replies.begin()

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
            if message.kind == "result" and message.reply is None and message.words is None and self._results:
                publications.append(self._result(group))
                continue
            try:
                publications += self._other(group[0])
            except SampleError as exc:
                rejected.append((key, str(exc)))
        for p, reason in self._session.publish_all(publications):
            if p.on_delivery is not None and not self._replies.dropped(p.key, p.topic):
                rejected.append((p.key, reason))
        if rejected:
            self._check_joined(entries, rejected)
        return rejected

    def _check_joined(self, entries: Sequence[Entry], rejected: Sequence[tuple[int, str]]) -> None:
        """Joined for a connection that took more than this one does: to be joined again is all they need."""
        for key, reason in rejected:
            if sum(entry.key == key for entry in entries) > 1:
                raise UnavailableError(reason)

    def _result(self, group: Sequence[Entry]) -> Publication:
        for entry in group:
            self._sending(entry.message)
        retain = self._retain and not group[-1].overtaken  # an old result never takes the place of a newer one
        template = self._templates.get((len(group), retain)) or self._template(len(group), retain)
        payload = group[0].payload if self.batch == 1 else b"[%b]" % b",".join([entry.payload for entry in group])
        return template.publication(b"%d" % group[0].message.seq, payload, self._on_result, group[0].key)

    def _properties(self, joined: int = 0, **more: str) -> dict[str, str]:
        """`joined`: of so many results in one message."""
        count = {"count": str(joined)} if joined and self.batch > 1 else {}
        return {"schema": str(SCHEMA), "model": self._model, **count, **more}

    def _template(self, count: int, retain: bool) -> PublishTemplate:
        template = PublishTemplate(self._topics.result, JSON, self._properties(count), varies="seq", retain=retain)
        self._templates[count, retain] = template
        return template

    def _other(self, entry: Entry) -> list[Publication]:
        """Of an error, an event, an answer, or of a result that has a reply or words of its own. Raises SampleError for
        what can never be sent."""
        message = entry.message
        alone = message.kind == "answer" or (message.kind == "result" and not self._results)
        everybody = None if alone else self._for_everybody(entry)
        publications = self._replies.add(entry, self._properties(seq=str(message.seq)), everybody)
        if all(p.on_delivery is None for p in publications):
            self._session.call_soon(partial(self._unsent, entry.key))  # not before the outbox knows it as sent
        return publications

    def _for_everybody(self, entry: Entry) -> Publication:
        message = entry.message
        self._sending(message)
        self._own_topic = message.words is not None and message.words.topic != ""
        seq = str(message.seq)
        if message.kind == "result":
            outgoing = Outgoing(
                self._topics.result,
                entry.payload if self.batch == 1 else b"[%b]" % entry.payload,
                self._retain and not entry.overtaken,
                JSON,
                properties=self._properties(1, seq=seq),
            )
            on_delivery = self._on_result
        else:
            topic = self._topics.event if message.kind == "event" else self._topics.error
            outgoing = Outgoing(topic, entry.payload, content_type=JSON, properties=self._properties(seq=seq))
            on_delivery = self._on_other[message.kind]
        if message.words is not None:
            outgoing = self._worded(entry, message.words, outgoing)
        return publication(outgoing, on_delivery, entry.key)

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

    def _refused(self, key: int, refusal: Refusal) -> None:
        if self._events is None:
            return
        if refusal.forever:
            if self._replies.is_first_half(key):  # its other part ends it
                self._count("dropped:mqtt:refused")
            else:
                self._events.refused(key, f"the broker refuses it for good: {refusal.reason}")
            return
        where = "the topics of --topic" if self._own_topic else self._topics.result
        self._events.lost(f"the broker refuses results: {refusal.reason}; may this user publish on {where}?")

    def _given_up(self, what: str, key: int, _: Refusal) -> None:
        self._count(f"dropped:mqtt:{what}")
        self._confirmed([key])

    def _confirmed(self, keys: list[int]) -> None:
        if self._events is None:
            return
        if self._replies.halves:
            keys = [key for key in keys if not self._replies.is_first_half(key)]
        if self._unconfirmed:
            for _ in keys:
                self._count("unconfirmed:mqtt")
        self._events.confirmed(keys)

    def _unsent(self, key: int) -> None:
        """Done without a word to the broker, so behind the outbox's turn: no answer of the broker's brings the next."""
        self._confirmed([key])
        self._session.waker.wake()

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
    return MqttSink(context.transport, context)


SINK = SinkInfo(edge_api=1, create=create, usage="mqtt")
