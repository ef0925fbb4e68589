"""What an outbox promises, and the numbers behind it."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Durability(StrEnum):
    """What reaches the disk: nothing, what an outage would lose, or every message before it is sent."""

    NONE = "none"
    OUTAGE = "outage"
    ALWAYS = "always"


SAVE_PAST = 64
SENT_IN_A_MOMENT = 16_000_000
"""Bytes of results."""


class OutboxOptions(msgspec.Struct, frozen=True):
    """How much waits in memory, how long, and what happens where it is too much.

    While the disk works `put` waits at `save_past` messages that are neither confirmed nor saved, while it fails at
    `memory_messages`; at `memory_bytes` of payload in both cases. `drop_oldest`: while the disk fails `put` does not
    wait, the oldest messages are dropped and counted. `replay_rate` in messages a second, 0: as fast as it goes.
    `beside_past`: new messages do not wait behind those of an earlier life where these are more bytes than that; None:
    they always do. A sink that is away is tried again after `retry_first_s`, then ever more rarely, at least each
    `retry_most_s`.
    """

    durability: Durability = Durability.OUTAGE
    save_after_s: float = 1.0
    save_past: int = SAVE_PAST
    replay_rate: float = 0.0
    beside_past: int | None = None
    memory_messages: int = 10_000
    memory_bytes: int = 64_000_000
    drop_oldest: bool = False
    disk_retry_s: float = 5.0
    retry_first_s: float = 0.5
    retry_most_s: float = 30.0
