"""What a lane promises, and the numbers behind it."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Durability(StrEnum):
    """What reaches the disk: nothing, what an outage would lose, or every message before it is sent."""

    NONE = "none"
    OUTAGE = "outage"
    ALWAYS = "always"


SAVE_PAST = 64


class LaneOptions(msgspec.Struct, frozen=True):
    """`memory_most` bounds, in messages, what waits in memory while the disk fails, `memory_bytes` it at all times."""

    durability: Durability = Durability.OUTAGE
    save_after_s: float = 1.0
    save_past: int = SAVE_PAST
    replay_rate: float = 0.0
    memory_most: int = 10_000
    memory_bytes: int = 64_000_000
    drop_oldest: bool = False
    disk_retry_s: float = 5.0
