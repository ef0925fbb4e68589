"""The error that tells of a result which one of those that it was for did not take."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from edge.data.message import Message
from edge.data.result import SCHEMA, Skipped


class _Origin(msgspec.Struct):
    """What an error says of the input, as it stands in its result."""

    id: str = ""
    time: str = ""
    device: str = ""
    source: str = ""
    input_id: str | int | UnsetType = UNSET


def of(message: Message, taker: str, model: str, reason: str) -> Skipped:
    """Its `id` is the result's and the `taker`: a subscriber that drops repeats by it sees both."""
    said = msgspec.json.decode(message.payload, type=_Origin)
    return Skipped(
        schema=SCHEMA,
        id=f"{said.id}/{taker}",
        time=said.time,
        device=said.device,
        model=model,
        source=said.source,
        seq=message.seq,
        reason=reason,
        input_id=said.input_id,
    )
