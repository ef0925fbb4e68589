"""Results to the broker at QoS 1, confirmed by its PUBACK.

Topics: `result` and `error` below the base topic, and the asker's Response Topic where there is one. A message
with an answer counts as confirmed when both are; an `answer` goes to the asker alone. A broker that refuses a result
(its access list, a quota) is one that is not available: the result waits. An answer or an error that it refuses is
dropped and counted, for an asker may name a topic that nobody may use.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

from edge.data.message import Message
from edge.data.result import SCHEMA
from edge.errors import SampleError, UnavailableError
from edge.protocols import Entry, SinkEvents
from edge.transports.messages import Outgoing, Told
from edge.transports.mqtt import Listener, MqttTransport
from edge.transports.publication import Form, Letter

JSON = "application/json"


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
        sending: Callable[[Message], None] = lambda _: None,
        count: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`sending` is told of each message that everybody gets, before it goes to the connection; `count` of what
        was dropped, by reason."""
        self.window = window
        self._sending = sending
        self._count = count
        self._transport = transport
        self._base = base_topic
        self._model = model
        self._events: SinkEvents | None = None
        self._listening = False
        self._lock = threading.Lock()
        self._halves: set[int] = set()
        self._form = Form(f"{base_topic}/result", JSON, {"schema": str(SCHEMA), "model": model}, varies="seq")

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
        for entry in entries:
            message = entry.message
            if message.kind == "result" and message.reply is None:
                plain.append(self._letter(entry))
                continue
            if plain:  # an error keeps its place in the order
                refused += self._transport.publish_all(plain)
                plain = []
            try:
                self._send_other(entry)
            except SampleError as exc:
                refused.append((entry.key, str(exc)))
        if plain:
            refused += self._transport.publish_all(plain)
        return refused

    def _letter(self, entry: Entry) -> Letter:
        message = entry.message
        self._sending(message)
        payload = message.replayed() if entry.replayed else message.payload
        told = Told(entry.key, self._confirmed, self._refused)
        return Letter(self._form, b"%d" % message.seq, payload, told)

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
        refused = self._refused if message.kind == "result" else self._given_up("error")
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
