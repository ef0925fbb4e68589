"""What devices tell of drift, added up: how many drift, what of, and which of them differ from the others.

One device cries wolf once in ten months, so of 10,000 some always do: what counts is the share of the devices. And what
drifts in none may still differ from device to device: each has learnt its own normal, also that of a broken sensor. So
the counts of their last windows are added up, and each device is held against the middle of all, by how far devices of
this fleet lie apart.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from statistics import NormalDist

import msgspec
import numpy as np

from edge.data.tensor import Array
from edge.drift.report import Counts, Finding, Of, State
from edge.tools.fleet.retained import read
from edge.tools.fleet.table import table

FEWEST = 5
"""Devices of one scale from which the others can be told."""
LEAST = 0.1
"""Of a mean rank, or a share: what differs by less is no news."""
OFTEN = 0.1
"""False ones among all devices and features of a fleet, each time it is asked, were devices apart as chance has it."""
TAILS = 1.5
"""They are not: places are of many kinds, so what differs is farther out."""


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What a device retains on `drift`, as far as it is asked for here. A report of an older edge-run has no counts."""

    time: str
    state: State
    features: tuple[Finding, ...] = ()
    counts: Counts | None = None


class Heard(msgspec.Struct, frozen=True):
    """Of one device and model; `said` is None where it cannot be read."""

    device: str
    model: str
    said: Said | None


class Differs(msgspec.Struct, frozen=True):
    """One device that lies apart in a feature. `by`: of the mean rank (`place`), of its distance from the middle
    (`spread`) or of a share (`share`, `missing`), upward or downward; `distance` in deviations among devices."""

    device: str
    name: str
    of: Of
    what: str
    by: float
    distance: float


class Summed(msgspec.Struct, frozen=True):
    """A feature of all devices with one scale."""

    name: str
    of: Of
    kind: str
    counts: list[int]


class Scale(msgspec.Struct, frozen=True):
    """Devices whose counts can be added up. `differs`: the farthest first."""

    scale: str
    devices: int
    rows: int
    features: list[Summed]
    differs: list[Differs]


class Fleet(msgspec.Struct, frozen=True):
    """Of one model. `silent`: devices whose last report is old; `unreadable` ones are in no other number. `kinds`: how
    many devices tell each oddity."""

    model: str
    devices: int
    silent: int
    unreadable: int
    states: dict[str, int]
    alarm: bool
    kinds: dict[str, int]
    scales: list[Scale]


class Limits(msgspec.Struct, frozen=True):
    """It is an alarm where so many devices drift, and such a share of them, in ten-thousandths. Reports that are older
    than `max_age_s` do not count."""

    share: int
    number: int
    max_age_s: float


def heard(payloads: Mapping[tuple[str, str], bytes]) -> list[Heard]:
    """Of what devices retain; what was taken back is left out."""
    return [
        Heard(device, model, read(payload, Said)) for (device, model), payload in sorted(payloads.items()) if payload
    ]


def added_up(devices: Sequence[Heard], limits: Limits, now_s: float) -> list[Fleet]:
    """By model. `now_s`: seconds since 1970."""
    by_model: dict[str, list[Heard]] = defaultdict(list)
    for device in devices:
        by_model[device.model].append(device)
    return [_fleet(model, all_of_it, limits, now_s) for model, all_of_it in sorted(by_model.items())]


def _fleet(model: str, devices: Sequence[Heard], limits: Limits, now_s: float) -> Fleet:
    read = [(d.device, d.said) for d in devices if d.said is not None]
    fresh = [(device, said) for device, said in read if abs(now_s - _seconds(said.time)) <= limits.max_age_s]
    states = Counter(said.state for _, said in fresh)
    drifted = states["drifted"]
    kinds = Counter(text for _, said in fresh for text in {_named(f) for f in said.features if not f.alone})
    by_scale: dict[str, list[tuple[str, Counts]]] = defaultdict(list)
    for device, said in fresh:
        if said.counts is not None and said.counts.rows > 0:
            by_scale[said.counts.scale].append((device, said.counts))
    return Fleet(
        model, len(fresh), len(read) - len(fresh), len(devices) - len(read), dict(states.most_common()),
        drifted > 0 and drifted >= limits.number and drifted * 10_000 >= limits.share * len(fresh),
        dict(kinds.most_common()), [_scale(scale, some) for scale, some in sorted(by_scale.items())],
    )  # fmt: skip


def _named(finding: Finding) -> str:
    said = [finding.name, finding.kind, *(repr(c) for c in (finding.category,) if isinstance(c, str))]
    return " ".join([*said, *(d for d in (finding.direction,) if isinstance(d, str))])


def _seconds(time: str) -> float:
    try:
        return datetime.fromisoformat(time).timestamp()
    except ValueError:
        return 0.0


def _scale(scale: str, devices: Sequence[tuple[str, Counts]]) -> Scale:
    """Adds up what most have of a feature; a device that says something else of the same scale is left out of it."""
    columns: dict[tuple[str, Of, str, int], tuple[list[str], list[list[int]]]] = {}
    for device, counts in devices:
        for feature in counts.features:
            key = (feature.name, feature.of, feature.kind, len(feature.counts))
            names, values = columns.setdefault(key, ([], []))
            names.append(device)
            values.append(feature.counts)
    tables = {key: (names, _table(values)) for key, (names, values) in columns.items() if key[3] >= 2}
    summed = [Summed(name, of, kind, t.sum(axis=0).tolist()) for (name, of, kind, _), (_, t) in tables.items()]
    limit = _limit(len(devices), sum(2 if kind == "number" else size for _, _, kind, size in tables))
    differs = [
        Differs(names[n], name, of, what, round(float(by), 3), round(float(far), 1))
        for (name, of, kind, _), (names, t) in tables.items()
        for what, scores in _scores(kind, t)
        for n, by, far in _apart(scores, limit)
    ]
    rows = sum(counts.rows for _, counts in devices)
    return Scale(scale, len(devices), rows, summed, sorted(differs, key=lambda d: -d.distance))


def _table(values: Sequence[Sequence[int]]) -> Array:
    """int64 [devices, places]."""
    return np.asarray(values, dtype=np.int64)


def _scores(kind: str, table: Array) -> Iterator[tuple[str, Array]]:
    """float64 [devices] each; NaN of a device that had no value."""
    rows = table.sum(axis=1)
    yield "missing", table[:, -1] / np.where(rows > 0, rows, np.nan)
    known = table[:, :-1]
    total = known.sum(axis=1)
    shares = known / np.where(total > 0, total, np.nan)[:, None]
    if kind == "text":
        for place in range(known.shape[1]):
            yield "share", shares[:, place]
        return
    all_of_it = known.sum(axis=0) / max(1, int(known.sum()))
    ranks = np.cumsum(all_of_it) - all_of_it / 2
    yield "place", shares @ ranks
    yield "spread", shares @ np.abs(ranks - 0.5)


def _limit(devices: int, scores: int) -> float:
    return -TAILS * NormalDist().inv_cdf(OFTEN / (2 * max(1, devices) * max(1, scores)))


def _apart(scores: Array, limit: float) -> Iterator[tuple[int, float, float]]:
    """Which are apart, by how much, and in deviations. By the middle one and the middle distance from it: a few that
    are far off change neither."""
    known = scores[np.isfinite(scores)]
    if len(known) < FEWEST:
        return
    middle = float(np.median(known))
    deviation = max(1.4826 * float(np.median(np.abs(known - middle))), 0.005)
    by = scores - middle
    for n in np.flatnonzero((np.abs(by) > limit * deviation) & (np.abs(by) > LEAST)):
        yield int(n), float(by[n]), abs(float(by[n])) / deviation


# --- as text ------------------------------------------------------------------------------------------------------

SHOWN = 20


def lines(fleets: Iterable[Fleet]) -> Iterator[str]:
    """For a terminal."""
    for number, fleet in enumerate(fleets):
        if number:
            yield ""
        told = [f"{fleet.devices:,} devices"]
        told += [f"{count:,} {state} ({count / max(1, fleet.devices):.1%})" for state, count in fleet.states.items()]
        told += [f"{n:,} {what}" for n, what in ((fleet.silent, "silent"), (fleet.unreadable, "unreadable")) if n]
        yield f"{fleet.model}: {', '.join(told)}{': ALARM' if fleet.alarm else ''}"
        yield from _some(("what drifts", "devices"), [(text, f"{n:,}") for text, n in fleet.kinds.items()])
        for scale in fleet.scales:
            differing = len({d.device for d in scale.differs})
            yield f"scale {scale.scale}: {scale.rows:,} rows of {scale.devices:,} devices, {differing:,} differ"
            rows = [(d.device, d.name, d.what, f"{d.by:+.2f}", f"{d.distance:.1f}") for d in scale.differs]
            yield from _some(("device", "feature", "what", "by", "deviations"), rows)


def _some(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    if rows:
        yield from table(head, rows[:SHOWN])
    if len(rows) > SHOWN:
        yield f"and {len(rows) - SHOWN:,} more: --json"
