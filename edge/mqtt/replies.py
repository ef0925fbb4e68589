"""What goes to the Response Topic of an input, and what is said where none may go there.

A reply goes beside the result for everybody, or alone (an `answer`). Beside one, the result counts as confirmed when
both are, and a reply that is refused costs nobody else the result: an input may name a topic that no one may use. No
reply goes to the topics of this service and of other systems (`ReplyFence`); the error that says so comes once for each
topic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edge.data import codec, refusal
from edge.errors import SampleError
from edge.mqtt.codec.packets import Publication, publication
from edge.mqtt.messages import OnDelivery, Outgoing
from edge.mqtt.reply_fence import ReplyFence
from edge.mqtt.topics import Topics
from edge.plugins.protocols import Entry

JSON = "application/json"
MAX_TOLD = 1000
"""Response Topics that are remembered as told to be refused."""


class Replies:
    """Belongs to the session's thread."""

    def __init__(
        self,
        topics: Topics,
        model: str,
        fence: ReplyFence,
        told: Mapping[str, OnDelivery],
        count: Callable[[str], None],
    ) -> None:
        """Of a reply, and of an error that stands for one, those of `told` hear by these names. `count` is told the
        reason of each that was dropped."""
        self._error = topics.error
        self._model = model
        self._fence = fence
        self._on_delivery = told
        self._count = count
        self._told: set[int] = set()
        self.halves: dict[int, bytes] = {}
        """The Response Topics of results of which neither part is confirmed."""

    def begin(self) -> None:
        """On a new connection all is sent again."""
        self.halves.clear()

    def add(self, entry: Entry, properties: Mapping[str, str], everybody: Publication | None) -> list[Publication]:
        """The entry's messages in their order: its reply, or the error that says why there is none, and what is for
        everybody. Raises SampleError where nothing is left to be sent of an answer."""
        beside = [] if everybody is None else [everybody]
        if entry.message.reply is None:
            return beside
        try:
            reply = self._reply(entry, properties)
        except SampleError as exc:
            told = self._refused(entry, properties, str(exc))
            if entry.message.kind == "answer" and not told:
                raise
            self._count("dropped:mqtt:reply")
            return [*beside, *told]
        if beside:
            self.halves[entry.key] = reply.topic
        return [reply, *beside]

    def is_first_half(self, key: int) -> bool:
        """Whether the other part of this result is still awaited. One by one: both may be confirmed at once."""
        return self.halves.pop(key, None) is not None

    def dropped(self, key: int, topic: bytes) -> bool:
        """Whether it was the reply that can never be sent: what is for everybody goes on alone."""
        if self.halves.get(key) != topic:
            return False
        del self.halves[key]
        self._count("dropped:mqtt:reply")
        return True

    def _reply(self, entry: Entry, properties: Mapping[str, str]) -> Publication:
        """Raises SampleError where none may go, or none can."""
        asker = entry.message.reply
        assert asker is not None
        if (whose := self._fence.reason(asker.topic)) is not None:
            raise SampleError(
                f"no reply goes to the Response Topic {asker.topic[:200]!r}: {whose}; name one of the asker's"
            )
        outgoing = Outgoing(
            asker.topic, entry.payload, content_type=JSON, correlation=asker.correlation, properties=properties
        )
        return publication(outgoing, self._on_delivery["reply"], entry.key)

    def _refused(self, entry: Entry, properties: Mapping[str, str], reason: str) -> list[Publication]:
        """What `error` says of it, once for each topic; an answer is done with that."""
        message = entry.message
        topic = hash(message.reply.topic if message.reply is not None else "")  # one may have 65,535 bytes
        if topic in self._told or len(self._told) >= MAX_TOLD:
            return []
        self._told.add(topic)
        error = refusal.of(message, "reply", self._model, reason)
        outgoing = Outgoing(self._error, codec.encode(error), content_type=JSON, properties=properties)
        done = self._on_delivery["error"] if message.kind == "answer" else None
        return [publication(outgoing, done, entry.key)]
