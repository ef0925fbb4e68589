"""How two models' answers to one sample differ. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from edge.data.result import Anomaly, Classification, Detection, Raw, Regression, Segmentation, Text

NOTHING = "nothing"
OVERLAP = 0.5
"""Intersection over union from which two boxes are one object."""
CLOSE = 0.01
"""Numbers that differ by no more of the larger one are the same."""
AREA = 0.05
"""Of the picture: areas that differ by no more are the same."""

Difference: TypeAlias = tuple[str, str]
"""What the running model says, and what the other one says in its place."""


def between(ours: Sequence[Any], theirs: Sequence[Any]) -> list[Difference]:
    """None where they agree. Predictions of one task each."""
    kind = type(ours[0] if ours else theirs[0]) if ours or theirs else None
    if kind is Detection:
        return list(_objects(ours, theirs))
    if kind is Classification:
        pair = tuple(p[0].label if p else NOTHING for p in (ours, theirs))
        return [(pair[0], pair[1])] if pair[0] != pair[1] else []
    if kind is Regression:
        theirs = _by_name(ours, theirs)
    found = [d for a, b in zip(ours, theirs, strict=False) for d in _one(a, b)]
    return found if len(ours) == len(theirs) else [*found, (f"{len(ours)} predictions", f"{len(theirs)} predictions")]


def _by_name(ours: Sequence[Regression], theirs: Sequence[Any]) -> Sequence[Any]:
    """Values of the same names in another order, in ours."""
    named = {t.name: t for t in theirs if isinstance(t, Regression)}
    same = len(named) == len(theirs) == len(ours) and named.keys() == {o.name for o in ours}
    return [named[o.name] for o in ours] if same else theirs


def _one(a: object, b: object) -> Iterator[Difference]:
    if isinstance(a, Regression) and isinstance(b, Regression):
        if not _close(a.value, b.value):
            yield a.name, f"{a.name} {'higher' if b.value > a.value else 'lower'}"
    elif isinstance(a, Anomaly) and isinstance(b, Anomaly):
        if a.is_anomaly != b.is_anomaly:
            words = ("normal", "anomaly")
            yield words[a.is_anomaly], words[b.is_anomaly]
    elif isinstance(a, Segmentation) and isinstance(b, Segmentation):
        yield from _areas(dict(zip(a.labels, a.areas, strict=True)), dict(zip(b.labels, b.areas, strict=True)))
    elif isinstance(a, Text) and isinstance(b, Text):
        if a.text != b.text:
            yield "text", "another text"
    elif isinstance(a, Raw) and isinstance(b, Raw):
        same = a.shape == b.shape and all(_close(x, y) for x, y in zip(a.data, b.data, strict=True))
        if not same:
            yield a.name, f"{a.name} with other values"
    else:
        yield type(a).__name__.lower(), type(b).__name__.lower()


def _close(a: Any, b: Any) -> bool:
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return a == b or abs(a - b) <= CLOSE * max(abs(a), abs(b)) or (a != a and b != b)
    return bool(a == b)


def _areas(ours: dict[str, float], theirs: dict[str, float]) -> Iterator[Difference]:
    for label in sorted({*ours, *theirs}):
        a, b = ours.get(label, 0.0), theirs.get(label, 0.0)
        if abs(a - b) > AREA:
            yield (label, f"{label} {'larger' if b > a else 'smaller'}")


def _objects(ours: Sequence[Detection], theirs: Sequence[Detection]) -> Iterator[Difference]:
    """Each object is matched with the one that it overlaps most, of its own class first."""
    left = list(theirs)
    unmatched = []
    for own in ours:
        found = _best(own, [t for t in left if t.label == own.label])
        if found is None:
            unmatched.append(own)
        else:
            left.remove(found)
    for own in unmatched:
        found = _best(own, left)
        if found is not None:
            left.remove(found)
        yield own.label, found.label if found is not None else NOTHING
    for other in left:
        yield NOTHING, other.label


def _best(own: Detection, others: Sequence[Detection]) -> Detection | None:
    best = max(others, key=lambda other: _overlap(own.box, other.box), default=None)
    return best if best is not None and _overlap(own.box, best.box) >= OVERLAP else None


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    common = width * height
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common
    return common / both if both > 0 else 0.0
