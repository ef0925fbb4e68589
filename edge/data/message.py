"""What an outbox carries: the bytes of a result (or of an error) and what a sink needs to address them."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from edge.data.sample import Reply

Kind: TypeAlias = Literal["result", "error", "answer", "event"]
"""`answer`: a result for the asker alone, because a publishing rule held it back from everybody else."""


class Message(msgspec.Struct, frozen=True):
    """`payload` is one JSON object, encoded. `seq` is the result's own number in this boot.

    `origin` stands on the last message of a sample, see `Sample`: where a spool holds it, the whole sample is safe.
    """

    kind: Kind
    payload: bytes
    seq: int
    reply: Reply | None = None
    origin: bytes | None = None

    def replayed(self) -> bytes:
        """The payload with `"replayed": true`: sent after an outage."""
        return self.payload[:-1] + b',"replayed":true}'
