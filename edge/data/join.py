"""Rows that are put together, from several topics or registers: what a user says of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from edge.data.json_path import JsonPath
from edge.errors import ConfigError, nearest


class JoinedFeature(msgspec.Struct, frozen=True):
    """The filter of the topics on which a feature's values come, and where in their JSON; None: all of it."""

    name: str
    topic: str
    path: JsonPath | None = None


class JoinRules(msgspec.Struct, frozen=True):
    """How values of several topics become rows. Seconds.

    `max_age_s`: an older value is none; 0: none is too old. `trigger`: the feature whose values each make a row, ""
    where those of all do; `interval_s`: one row in so many seconds instead, 0 where values make them. `partial`: rows
    may lack a feature.
    """

    features: tuple[JoinedFeature, ...] = ()
    max_age_s: float = 60.0
    trigger: str = ""
    interval_s: float = 0.0
    partial: bool = False


def check_names(said: str, names: Sequence[str], known: Sequence[str], *, partial: bool) -> None:
    """Whether `names` are the model's features; none `known` where it takes values in their order. `partial`: some may
    not be there. `said` is how a user says one, with {} for its name. Raises ConfigError."""
    if not known:
        return
    if unknown := next((name for name in names if name not in known), None):
        near = nearest(unknown, known)
        raise ConfigError(f"{said.format(unknown)}: the model has no such feature{near}; it has {_some(known)}")
    lacking = [name for name in known if name not in names]
    if lacking and not partial:
        raise ConfigError(
            f"{said.format(lacking[0])} is not said; name each of {_some(known)}, or say --absent missing"
        )


def _some(names: Iterable[str]) -> str:
    said = list(names)
    return ", ".join(repr(name) for name in said[:6]) + (", ..." if len(said) > 6 else "")
