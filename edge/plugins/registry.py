"""Plug-ins by name, from entry points.

Groups: `edge.sources`, `edge.engines`, `edge.preprocess`, `edge.postprocess`, `edge.sinks`,
`edge.spools`. Our own are registered in `pyproject.toml` like a stranger's; they are looked up first, in
our own distribution's list, because importlib.metadata and every installed distribution cost time at start.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import ConfigError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

DISTRIBUTION = "edge-run"


def find(group: str, name: str) -> Any:
    """The object registered as `name`. Raises ConfigError, naming those there are."""
    own = _own(group).get(name)
    if own is not None:
        module, _, attribute = own.partition(":")
        return getattr(importlib.import_module(module), attribute)
    stranger = _all(group).get(name)
    if stranger is None:
        raise _unknown(group, name)
    return stranger.load()


def _unknown(group: str, name: str) -> ConfigError:
    import difflib  # for those who mistyped

    known = names(group)
    near = difflib.get_close_matches(name, known, n=1)
    meant = f"did you mean {near[0]!r}? " if near else ""
    kind = {"edge.preprocess": "preprocessor", "edge.postprocess": "postprocessor"}.get(
        group, group.removeprefix("edge.").removesuffix("s")
    )
    return ConfigError(f"there is no {kind} {name!r}; {meant}known: {', '.join(known)}")


def names(group: str) -> list[str]:
    """Every registered name of a group."""
    return sorted({*_own(group), *_all(group)})


@cache
def _own(group: str) -> Mapping[str, str]:
    """Our own: "module:attribute" by name."""
    lists = list(Path(__file__).parents[2].glob(f"{DISTRIBUTION.replace('-', '_')}-*.dist-info/entry_points.txt"))
    if len(lists) == 1:
        return _read(lists[0].read_text(encoding="utf-8"), group)
    # Installed in another way, such as editable.
    from importlib import metadata

    try:
        points = metadata.distribution(DISTRIBUTION).entry_points
    except metadata.PackageNotFoundError:
        raise ConfigError(f"{DISTRIBUTION} is not installed: pip install {DISTRIBUTION}") from None
    return {p.name: p.value for p in points if p.group == group}


def _read(text: str, group: str) -> dict[str, str]:
    """One section of an entry_points.txt, as installers write it."""
    _, _, rest = f"\n{text}".partition(f"\n[{group}]\n")
    section, _, _ = rest.partition("\n[")
    pairs = (line.partition("=") for line in section.splitlines())
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


@cache
def _all(group: str) -> Mapping[str, EntryPoint]:
    from importlib import metadata

    return {p.name: p for p in metadata.entry_points(group=group)}
