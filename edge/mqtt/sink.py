"""Results to the broker at QoS 1, confirmed by its PUBACK.

Topics: `result` and `error` below the base topic, and the asker's Response Topic where there is one. A message
with an answer counts as confirmed when both are; an `answer` goes to the asker alone. A broker that refuses a result
(its access list, a quota) is one that is not available: the result waits. An answer or an error that it refuses is
dropped and counted, for an asker may name a topic that nobody may use.

With `batch` above 1 a message on `result` is a JSON array of results, of one also: those that wait are joined, and
confirmed together. What an asker gets, and errors, are objects as ever.
"""

from __future__ import annotations

import itertools
import operator
import threading
from collections.abc import Callable, Iterable, Sequence

from edge.data.message import Message
from edge.data.result import SCHEMA
from edge.errors import ConfigError, SampleError, UnavailableError
from edge.mqtt.messages import Outgoing, Told
from edge.mqtt.publication import Form, Letter
from edge.mqtt.session import Listener, MqttTransport
from edge.plugins.contexts import SinkContext
from edge.plugins.declarations import SinkInfo
from edge.plugins.protocols import Entry, Loop, SinkEvents

JSON = "application/json"
BATCH_BYTES_MOST = 1_000_000
"""A message of more gains nothing, and some brokers refuse it."""
PROPERTIES_MOST = 256
"""Bytes of a joined result's packet beside topic, model and payload: header, property names, numbers."""

_KEY = operator.attrgetter("key")


class MqttSink(Listener):
    """`window` bounds what is published and not acknowledged; MQTT 5 brokers may set a smaller one."""

    durable = True
    answers = True
    prompt = True

    def __init__(
        self,
        transport: MqttTransport,
        base_topic: str,
        model: str,
        *,
        window: int = 20,
        batch: int = 1,
        sending: Callable[[Message], None] = lambda _: None,
        count: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`sending` is told of each message that everybody gets, before it goes to the connection; `count` of what
        was dropped, by reason."""
        self.window = window
        self.batch = batch
        self._sending = sending
        self._count = count
        self._transport = transport
        self.loop: Loop = transport
        self._base = base_topic
        self._model = model
        self._events: SinkEvents | None = None
        self._listening = False
        self._lock = threading.Lock()
        self._halves: set[int] = set()
        self._forms: dict[int, Form] = {}

    @property
    def batch_bytes(self) -> int:
        """How many bytes of results go in one message at most."""
        beside = PROPERTIES_MOST + len(self._base.encode()) + len(self._model.encode())
        return min(BATCH_BYTES_MOST, self._transport.largest - beside)

    def open(self, events: SinkEvents) -> None:
        self._events = events
        if not self._listening:
            self._listening = True
            self._transport.listen(self)
        if not self._transport.up:
            raise UnavailableError(f"{self._transport.options.url}: not connected")
        with self._lock:
            self._halves.clear()

    def send(self, entry: Entry) -> None:
        for _, reason in self.send_all([entry]):
            raise SampleError(reason)

    def send_all(self, entries: Sequence[Entry]) -> list[tuple[int, str]]:
        """The key and the reason of each that can never be sent."""
        refused: list[tuple[int, str]] = []
        plain: list[Letter] = []
        for key, together in itertools.groupby(entries, _KEY):
            group = list(together)
            message = group[0].message
            if message.kind == "result" and message.reply is None:
                plain.append(self._letter(group))
                continue
            if plain:  # an error keeps its place in the order
                refused += self._transport.publish_all(plain)
                plain = []
            try:
                self._send_other(group[0])
            except SampleError as exc:
                refused.append((key, str(exc)))
        if plain:
            refused += self._transport.publish_all(plain)
        self._check_joined(entries, refused)
        return refused

    def _check_joined(self, entries: Sequence[Entry], refused: Sequence[tuple[int, str]]) -> None:
        """Joined for a connection that took more than this one does: to be joined again is all they need."""
        for key, reason in refused:
            if sum(entry.key == key for entry in entries) > 1:
                raise UnavailableError(reason)

    def _letter(self, group: Sequence[Entry]) -> Letter:
        for entry in group:
            self._sending(entry.message)
        told = Told(group[0].key, self._confirmed, self._refused)
        payload = self._payload([e.message.replayed() if e.replayed else e.message.payload for e in group])
        form = self._forms.get(len(group)) or self._form(len(group))
        return Letter(form, b"%d" % group[0].message.seq, payload, told)

    def _payload(self, results: Sequence[bytes]) -> bytes:
        return results[0] if self.batch == 1 else b"[" + b",".join(results) + b"]"

    def _properties(self, count: int) -> dict[str, str]:
        """Beside `seq`."""
        return {"schema": str(SCHEMA), "model": self._model, **({"count": str(count)} if self.batch > 1 else {})}

    def _form(self, count: int) -> Form:
        form = self._forms[count] = Form(f"{self._base}/result", JSON, self._properties(count), varies="seq")
        return form

    def _send_other(self, entry: Entry) -> None:
        """An error, or what somebody asked for."""
        message = entry.message
        payload = message.replayed() if entry.replayed else message.payload
        properties = {"schema": str(SCHEMA), "model": self._model, "seq": str(message.seq)}
        if message.kind == "answer":
            told = Told(entry.key, self._confirmed, self._given_up("reply"))
            self._transport.publish(self._answer(message, payload, properties), told)
            return
        if message.reply is not None:
            self._reply(entry.key, self._answer(message, payload, properties))
        self._sending(message)
        refused = self._given_up("error")
        if message.kind == "result":
            refused, payload = self._refused, self._payload([payload])
            properties = {**self._properties(1), "seq": str(message.seq)}
        self._transport.publish(
            Outgoing(f"{self._base}/{message.kind}", payload, content_type=JSON, properties=properties),
            Told(entry.key, self._confirmed, refused),
        )

    def _reply(self, key: int, answer: Outgoing) -> None:
        with self._lock:
            self._halves.add(key)
        try:
            self._transport.publish(answer, Told(key, self._confirmed, self._given_up("reply")))
        except SampleError:
            with self._lock:
                self._halves.discard(key)
            self._count("dropped:mqtt:reply")

    def _refused(self, key: int, reason: str) -> None:
        if self._events is not None:
            self._events.lost(f"the broker refuses results: {reason}; may this user publish on {self._base}/result?")

    def _given_up(self, what: str) -> Callable[[int, str], None]:
        def given_up(key: int, reason: str) -> None:
            self._count(f"dropped:mqtt:{what}")
            self._confirmed([key])

        return given_up

    def _answer(self, message: Message, payload: bytes, properties: dict[str, str]) -> Outgoing:
        reply = message.reply
        return Outgoing(
            reply.topic if reply else "",
            payload,
            content_type=JSON,
            correlation=reply.correlation if reply else None,
            properties=properties,
        )

    def _confirmed(self, keys: Iterable[int]) -> None:
        if self._events is None:
            return
        if not self._halves:
            self._events.confirmed(keys)
            return
        whole: list[int] = []
        with self._lock:
            for key in keys:
                if key in self._halves:
                    self._halves.discard(key)
                else:
                    whole.append(key)
        self._events.confirmed(whole)

    def up(self, *, resumed: bool) -> None:
        if self._events is not None:
            self._events.ready()

    def down(self, reason: str) -> None:
        if self._events is not None:
            self._events.lost(reason)

    def close(self) -> None:
        """The transport stays: it is not the sink's."""


def create(rest: str, context: SinkContext) -> MqttSink:
    """`rest` is empty: the broker is `--mqtt`, the topics follow from the names. Raises ConfigError."""
    if rest:
        raise ConfigError(f"--sink mqtt:{rest}: say --mqtt URL for the broker, and --prefix, --device, --name")
    if not isinstance(context.transport, MqttTransport):
        raise ConfigError("--sink mqtt: needs a broker, but --mqtt is none; name one with --mqtt mqtt://host")
    return MqttSink(
        context.transport,
        context.topic,
        context.model,
        batch=context.batch,
        sending=context.sending,
        count=context.count,
    )


SINK = SinkInfo(edge_api=1, create=create, usage="mqtt")
