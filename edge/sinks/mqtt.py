"""Results to the broker at QoS 1, confirmed by its PUBACK.

Topics: `result` and `error` below the base topic, and the asker's Response Topic where there is one. A message
with an answer counts as confirmed when both are; an `answer` goes to the asker alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from edge.data.message import Message
from edge.data.result import SCHEMA
from edge.errors import UnavailableError
from edge.protocols import Entry, SinkEvents
from edge.transports.connection import Outgoing
from edge.transports.mqtt import Listener, MqttTransport


class MqttSink(Listener):
    """`window` bounds what is published and not acknowledged; MQTT 5 brokers may set a smaller one."""

    durable = True
    answers = True

    def __init__(
        self,
        transport: MqttTransport,
        base_topic: str,
        model: str,
        window: int = 20,
        *,
        sending: Callable[[Message], None] = lambda _: None,
    ) -> None:
        """`sending` is told of each message that everybody gets, before it goes to the connection."""
        self.window = window
        self._sending = sending
        self._transport = transport
        self._base = base_topic
        self._model = model
        self._events: SinkEvents | None = None
        self._listening = False
        self._lock = threading.Lock()
        self._halves: set[int] = set()

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
        message = entry.message
        payload = message.replayed() if entry.replayed else message.payload
        properties = {"schema": str(SCHEMA), "model": self._model, "seq": str(message.seq)}
        if message.reply is not None:
            if message.kind != "answer":
                with self._lock:
                    self._halves.add(entry.key)
            self._transport.publish(self._answer(message, payload, properties), self._confirmed, entry.key)
        if message.kind == "answer":
            return
        self._sending(message)
        self._transport.publish(
            Outgoing(f"{self._base}/{message.kind}", payload, content_type="application/json", properties=properties),
            self._confirmed,
            entry.key,
        )

    def _answer(self, message: Message, payload: bytes, properties: dict[str, str]) -> Outgoing:
        reply = message.reply
        return Outgoing(
            reply.topic if reply else "",
            payload,
            content_type="application/json",
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
