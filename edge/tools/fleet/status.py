"""How far a rollout is: what the repository offers, and what devices say on their retained topic `update`."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from edge.mqtt.messages import MqttOptions
from edge.mqtt.topics import Topics
from edge.tools.fleet import retained
from edge.tools.fleet.table import table
from edge.updates.release import WHOLE

TYPE_CHECKING = False
if TYPE_CHECKING:  # who only listens to devices needs none of its libraries
    from edge.tools.fleet.repository import KeyRow, Repository

SOON = {"timestamp": datetime.timedelta(days=5)}
SOON_OTHERS = datetime.timedelta(days=60)
"""What runs out within that is said to: a third of the time that it lives, or what a person needs to fetch a key."""


class Heard(msgspec.Struct, frozen=True):
    """What one device says on `update`. `version` is that of the model that runs, `to` that which is on its way, or
    was rolled back; what a device that is not `online` says is of then."""

    device: str
    model: str
    state: str = ""
    version: str = ""
    to: str = ""
    reason: str = ""
    since: str = ""
    online: bool = True


class _Running(msgspec.Struct, frozen=True):
    version: str | None = None


class _Said(msgspec.Struct, frozen=True):
    """The payload of `update`; more is in it."""

    state: str | None = None
    to: str | None = None
    reason: str | None = None
    since: str | None = None
    running: _Running | None = None


class Offered(msgspec.Struct, frozen=True):
    """A release of the repository. `share` in ten-thousandths; `origin`: where the file comes from."""

    model: str
    channel: str
    version: str
    sha256: str
    share: int
    paused: bool
    origin: dict[str, str] = {}


def offered(repository: Repository) -> list[Offered]:
    """Every release, the newest last. Raises ConfigError."""
    return [
        Offered(model, name, r.version, r.sha256, r.share, r.paused, repository.origins(model).get(r.file, {}))
        for model in repository.models()
        for name, channel in sorted(repository.channels(model).items())
        for r in sorted(channel.releases, key=lambda r: r.number)
    ]


def percent(share: int) -> str:
    """`5 %`, `0.25 %`."""
    return f"{share * 100 / WHOLE:g} %"


def listen(broker: MqttOptions, prefix: str) -> list[Heard]:
    """What every device has retained of updates. Raises UnavailableError where the broker cannot be asked."""
    found = retained.listen(broker, prefix, Topics.update)
    heard = [_read(device, model, payload) for (device, model), payload in sorted(found.payloads.items())]
    return [replace(h, online=(h.device, h.model) not in found.offline) for h in heard]


def _read(device: str, model: str, payload: bytes) -> Heard:
    said = retained.read(payload, _Said)
    if said is None:
        return Heard(device, model, "unreadable")
    version = said.running.version if said.running is not None else None
    return Heard(device, model, said.state or "", version or "", said.to or "", said.reason or "", said.since or "")


def reached(heard: Sequence[Heard], version: str, expected: int) -> tuple[int, int]:
    """How many devices have confirmed a version, of how many: those that are expected, or all that are heard."""
    done = sum(h.version == version and h.state in ("confirmed", "idle") for h in heard)
    return done, max(expected, len(heard))


def rolled_back(heard: Sequence[Heard], version: str) -> tuple[int, int]:
    """How many devices have rolled a version back, of how many that took it."""
    back = sum(h.state == "rolled-back" and h.to == version for h in heard)
    return back, back + sum(h.version == version for h in heard)


def lines(offers: Sequence[Offered], heard: Sequence[Heard] | None) -> Iterator[str]:
    """Both as text for a terminal."""
    rows = [
        (
            o.model, o.channel, o.version, percent(o.share) + (", paused" if o.paused else ""), o.sha256[:12],
            o.origin.get("registry", ""),
        )
        for o in offers
    ]  # fmt: skip
    comes = ("from",) if any(o.origin for o in offers) else ("",)
    yield from table(("model", "channel", "version", "devices", "sha256", *comes), rows)
    if heard is None:
        return
    yield ""
    counted = Counter((h.model, h.version, state_of(h)) for h in heard)
    yield f"{len(heard)} heard{of_them_offline(heard)}"
    yield from table(
        ("model", "version", "state", "devices"), [(*key, str(count)) for key, count in sorted(counted.items())]
    )
    told = [h for h in heard if h.reason]
    if told:
        yield ""
        reasons = [(h.device, h.model, h.state, h.reason) for h in told]
        yield from table(("device", "model", "state", "reason"), reasons)


def of_them_offline(heard: Sequence[Heard]) -> str:
    """`, 3 of them offline`, where some are."""
    offline = sum(not h.online for h in heard)
    return f", {offline:,} of them offline" if offline else ""


def endings(expires: Mapping[str, datetime.datetime], now: datetime.datetime) -> Iterator[str]:
    """Until when the time stamp holds; of the others those that end soon."""
    for role, when in expires.items():
        if role == "timestamp" or _soon(role, when - now):
            name = "the time stamp" if role == "timestamp" else f"what is signed for {role}"
            yield f"{name} {'ran' if when < now else 'runs'} out on {when:%Y-%m-%d}: {left(role, when - now)}"


def left(role: str, time: datetime.timedelta) -> str:
    """Until something that is signed runs out, and what to do then."""
    mends = "edge-fleet renew" if role in ("snapshot", "timestamp") else f"edge-fleet keys rotate DIR {role}"
    if time < datetime.timedelta():
        return f"devices take nothing new; {mends}"
    return f"{time.days} days left" + (f"; {mends}" if _soon(role, time) else "")


def _soon(role: str, time: datetime.timedelta) -> bool:
    return time < SOON.get(role, SOON_OTHERS)


def key_lines(rows: Sequence[KeyRow]) -> Iterator[str]:
    """Which key signs for what, as text for a terminal."""
    cells = [(r.role, _keys(r), r.until[:10], r.file or "not here") for r in rows]
    return table(("role", "key", "signed until", "file"), cells)


def _keys(row: KeyRow) -> str:
    said = ", ".join(row.keys)
    return said if row.threshold == 1 else f"{row.threshold} of {said}"


def state_of(heard: Heard) -> str:
    """In words."""
    return f"rolled-back from {heard.to}" if heard.state == "rolled-back" and heard.to else heard.state
