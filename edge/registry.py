"""Plug-ins by name, from entry points.

Groups: `edge.sources`, `edge.engines`, `edge.preprocess`, `edge.postprocess`, `edge.sinks`,
`edge.spools`. Our own are registered in `pyproject.toml` like a stranger's; they are looked up first, in
our own distribution, because reading every installed distribution costs time at start.
"""

from __future__ import annotations

import difflib
from functools import cache
from importlib import metadata
from typing import Any

from edge.errors import ConfigError

DISTRIBUTION = "edge-run"


def find(group: str, name: str) -> Any:
    """The object registered as `name`. Raises ConfigError, naming those there are."""
    point = _own(group).get(name) or _all(group).get(name)
    if point is None:
        known = sorted({*_own(group), *_all(group)})
        near = difflib.get_close_matches(name, known, n=1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        kind = {"edge.preprocess": "preprocessor", "edge.postprocess": "postprocessor"}.get(
            group, group.removeprefix("edge.").removesuffix("s")
        )
        raise ConfigError(f"there is no {kind} {name!r}; {meant}known: {', '.join(known)}")
    return point.load()


def names(group: str) -> list[str]:
    """Every registered name of a group."""
    return sorted({*_own(group), *_all(group)})


@cache
def _own(group: str) -> dict[str, metadata.EntryPoint]:
    try:
        points = metadata.distribution(DISTRIBUTION).entry_points
    except metadata.PackageNotFoundError:
        raise ConfigError(f"{DISTRIBUTION} is not installed: pip install {DISTRIBUTION}") from None
    return {p.name: p for p in points if p.group == group}


@cache
def _all(group: str) -> dict[str, metadata.EntryPoint]:
    return {p.name: p for p in metadata.entry_points(group=group)}
