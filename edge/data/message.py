"""What an outbox carries: the bytes of a result (or of an error) and what a sink needs to address them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec

from edge.data.sample import Reply

Kind: TypeAlias = Literal["result", "error", "answer", "event"]
"""`answer`: a result for the asker alone, because a publishing rule held it back from everybody else."""


class Words(msgspec.Struct, frozen=True):
    """How a broker is told a message in the house's own words. `topic` "" is the usual one, `payload` None the
    message's own. `properties` are MQTT 5 user properties beside the model and the number."""

    topic: str = ""
    payload: bytes | None = None
    content_type: str = "application/json"
    properties: Mapping[str, str] = msgspec.field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes, about."""
        own = len(self.payload) if self.payload is not None else 0
        return own + len(self.topic) + sum(len(name) + len(value) for name, value in self.properties.items())


class Message(msgspec.Struct, frozen=True):
    """`payload` is one JSON object, encoded. `seq` is the result's own number in this boot.

    `origin` stands on the last message of a sample, see `Sample`: where a spool holds it, the whole sample is safe.
    `words` are for the broker; askers and all other sinks get the payload.
    """

    kind: Kind
    payload: bytes
    seq: int
    reply: Reply | None = None
    origin: bytes | None = None
    words: Words | None = None

    @property
    def size(self) -> int:
        """Bytes of what is to be told."""
        return len(self.payload) if self.words is None else len(self.payload) + self.words.size

    def replayed(self) -> bytes:
        """The payload with `"replayed": true`: sent after an outage."""
        return self.payload[:-1] + b',"replayed":true}'
