"""Rows from several topics: what a user says of them."""

from __future__ import annotations

import msgspec

from edge.data.json_path import JsonPath


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
