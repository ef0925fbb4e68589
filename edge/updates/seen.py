"""What the last check saw, kept so that the next one need not look at it again: `seen.json`, and the time, `time.json`.

Both lie in the folder of the updates, and are written where they change: `seen.json` with the repository, the time once
a day. Until then a glance is enough (`glance.py`) where the repository says what it said.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import msgspec

from edge.data import small_file
from edge.storage import atomic, state_file
from edge.updates.order import MQTT, Order, base_url
from edge.updates.release import Release

DAY_S = 86_400.0


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """Verified with all signatures. `bootstrap` and `timestamp` are the sha256 of these files, `root` the version that
    would be the next one, `until` when the first of the metadata runs out, in seconds since 1970."""

    uri: str
    model: str
    channel: str
    bootstrap: str
    timestamp: str
    root: int
    until: float
    releases: tuple[Release, ...]


def keep(folder: Path, seen: Seen) -> None:
    """Raises OSError."""
    path, data = folder / "seen.json", msgspec.json.encode(seen)
    if not path.exists() or path.read_bytes() != data:
        atomic.write(path, data)


def read(order: Order) -> Seen | None:
    """What the last check saw, however long ago; None where it was of another repository, or there was none."""
    seen = state_file.read(order.folder / "seen.json", Seen)
    try:
        bootstrap = small_file.read(order.root or order.folder / "root.json")
    except OSError:
        return None
    same = seen is not None and (seen.uri, seen.model, seen.channel, seen.bootstrap) == (
        base_url(order.uri), order.model, order.channel, digest(bootstrap),
    )  # fmt: skip
    return seen if same else None


def kept(order: Order) -> Seen | None:
    """What is to be gone by if the repository has not changed; None where it has to be verified anew in any case."""
    seen = read(order)
    if seen is None or order.uri == MQTT:
        return None
    try:
        verified = digest(timestamp_of(order.folder).read_bytes())
    except OSError:
        return None
    now, latest = time.time(), latest_time(order.folder)
    holds = max(now, latest) < seen.until and verified == seen.timestamp
    told = 0 <= now - latest < DAY_S or not order.synced  # once a day the latest time is written down
    return seen if holds and told else None


def timestamp_of(folder: Path) -> Path:
    """Where the time stamp lies that was verified last."""
    return folder / "metadata" / "timestamp.json"


def digest(data: bytes) -> str:
    """The sha256."""
    return hashlib.sha256(data).hexdigest()


def latest_time(folder: Path) -> float:
    """The latest time known to be true, in seconds since 1970; 0 where none is."""
    return state_file.read(folder / "time.json", float) or 0.0


def raise_latest_time(folder: Path) -> None:
    """At most once a day: it lives on an SD card. Raises OSError."""
    if time.time() - latest_time(folder) >= DAY_S:
        atomic.write(folder / "time.json", b"%d" % time.time())
