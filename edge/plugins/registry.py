"""Plug-ins by name, from entry points.

Groups: `edge.sources`, `edge.engines`, `edge.preprocess`, `edge.postprocess`, `edge.sinks`, `edge.spools`,
`converter.exporters`, `converter.passes`. Our own are registered in `pyproject.toml` like a stranger's; they are looked
up first, in our own distribution's list, because importlib.metadata and every installed distribution cost time at
start. A name that begins with a dot is a suffix of files. Nothing here imports a plug-in that was not asked for.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from edge.errors import ConfigError, EdgeError
from edge.plugins.declarations import EDGE_API, KINDS

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

log = logging.getLogger("edge.plugins")

DISTRIBUTION = "edge-run"
GUIDE = "see docs/PLUGINS.md"
_KINDS = {"edge.preprocess": "preprocessor", "edge.postprocess": "decoder", "converter.passes": "pass"}


class Declared(Protocol):
    """What every declaration has: `edge.plugins.declarations.Declaration`, or a class like it."""

    GROUP: ClassVar[str]

    @property
    def edge_api(self) -> int: ...


D = TypeVar("D", bound=Declared)
T = TypeVar("T")


def find(group: str, name: str) -> Any:
    """The object registered as `name`. Raises ConfigError, naming those there are."""
    path = own(group).get(name)
    if path is not None:
        module, _, attribute = path.partition(":")
        return getattr(importlib.import_module(module), attribute)
    stranger = _only(group, name)
    if stranger is None:
        raise _unknown(group, name)
    try:
        return stranger.load()
    except EdgeError:
        raise
    except Exception as exc:
        raise ConfigError(f"{origin(group, name)} does not load: {exc!r}; mend or uninstall it") from exc


def declared(kind: type[D], name: str) -> D:
    """The declaration registered as `name` in the group of its kind.

    Raises ConfigError where there is none, where it is of another kind or written for seams that are not known here.
    """
    group = kind.GROUP
    declaration = find(group, name)
    if not isinstance(declaration, kind):
        raise ConfigError(
            f"{origin(group, name)} names a {type(declaration).__name__}, where a "
            f"{kind.__name__}(edge_api={EDGE_API}, ...) belongs; {GUIDE}"
        )
    if declaration.edge_api != EDGE_API:
        newer = isinstance(declaration.edge_api, int) and declaration.edge_api > EDGE_API
        way_out = "pip install -U edge-run" if newer else f"the plug-in needs a newer release; {GUIDE}"
        raise ConfigError(
            f"{origin(group, name)} is written for edge_api {declaration.edge_api!r}, here it is {EDGE_API}: {way_out}"
        )
    return declaration


def all_declared(kind: type[D]) -> Iterator[tuple[str, D]]:
    """Every declaration of a kind by its name, ours first; one that does not load is left out with a warning."""
    yield from _loading(kind, own_names(kind.GROUP))
    yield from strangers(kind)


def strangers(kind: type[D]) -> Iterator[tuple[str, D]]:
    """Those that are none of ours, as `all_declared` gives them. To look for them costs time."""
    own = own_names(kind.GROUP)
    yield from _loading(kind, [name for name in names(kind.GROUP) if name not in own])


def _loading(kind: type[D], among: Sequence[str]) -> Iterator[tuple[str, D]]:
    for name in among:
        try:
            declaration = declared(kind, name)
        except ConfigError as exc:
            log.warning("plug-in left out", extra={"reason": str(exc)})
            continue
        yield name, declaration


def checked(group: str, name: str, part: T) -> T:
    """What a plug-in made; a stranger's is looked at first, ours the tests look at.

    Raises ConfigError for one that lacks a method of its seam, or has one that looks like a misspelt one.
    """
    if not is_own(group, name):
        from edge.plugins import capabilities  # for strangers

        fault = capabilities.fault(group, part)
        if fault:
            raise ConfigError(f"{origin(group, name)}: {fault}; {GUIDE}")
    return part


def names(group: str) -> list[str]:
    """Every name of a group that a user may say."""
    return sorted(n for n in {*own(group), *_all(group)} if not n.startswith("."))


def usage(group: str) -> str:
    """What a user may say, with commas between. Imports every declaration of the group."""
    kind = KINDS.get(group)
    words = names(group) if kind is None else [info.usage or name for name, info in all_declared(kind)]
    return ", ".join(dict.fromkeys(words))


def name_for(group: str, suffix: str) -> str | None:
    """The registered name for files of a suffix (".csv"), which `find` takes; None where there is none."""
    if not suffix:
        return None
    suffix = suffix.lower()
    return suffix if suffix in own(group) or suffix in _all(group) else None


def is_own(group: str, name: str) -> bool:
    """True for those of this distribution."""
    return name in own(group)


def origin(group: str, name: str) -> str:
    """A plug-in as messages call it: "the sink 'mine' of my-package"."""
    points = () if is_own(group, name) else _all(group).get(name, ())
    dist = points[0].dist.name if points and points[0].dist is not None else DISTRIBUTION
    return f"the {kind_of(group)} {name!r} of {dist}"


def kind_of(group: str) -> str:
    """What a plug-in of the group is called: "sink"."""
    return _KINDS.get(group, group.rpartition(".")[2].removesuffix("s"))


def _unknown(group: str, name: str) -> ConfigError:
    import difflib  # for those who mistyped

    known = names(group)
    near = difflib.get_close_matches(name, known, n=1)
    meant = f"did you mean {near[0]!r}? " if near else ""
    return ConfigError(f"there is no {kind_of(group)} {name!r}; {meant}known: {', '.join(known)}")


def own_names(group: str) -> list[str]:
    """Our own of a group, in the order of their list; strangers cost time to look for."""
    return [name for name in own(group) if not name.startswith(".")]


@cache
def own(group: str) -> Mapping[str, str]:
    """Our own: "module:attribute" by name."""
    text = _own_list()
    if text is not None:
        return _read(text, group)
    from importlib import metadata

    try:
        points = metadata.distribution(DISTRIBUTION).entry_points
    except metadata.PackageNotFoundError:
        raise ConfigError(f"{DISTRIBUTION} is not installed: pip install {DISTRIBUTION}") from None
    return {p.name: p.value for p in points if p.group == group}


@cache
def _own_list() -> str | None:
    """Our own entry_points.txt: beside the package, or, of an editable install, elsewhere on the path. None where it is
    not there once."""
    name = f"{DISTRIBUTION.replace('-', '_')}-*.dist-info/entry_points.txt"
    lists = list(Path(__file__).parents[2].glob(name))
    if not lists:
        lists = [found for folder in dict.fromkeys(sys.path) for found in Path(folder).glob(name)]
    return lists[0].read_text(encoding="utf-8") if len(lists) == 1 else None


def _read(text: str, group: str) -> dict[str, str]:
    """One section of an entry_points.txt, as installers write it."""
    _, _, rest = f"\n{text}".partition(f"\n[{group}]\n")
    section, _, _ = rest.partition("\n[")
    pairs = (line.partition("=") for line in section.splitlines())
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def _all(group: str) -> Mapping[str, Sequence[EntryPoint]]:
    return _installed(group, tuple(sys.path))


@cache
def _installed(group: str, path: tuple[str, ...]) -> Mapping[str, Sequence[EntryPoint]]:
    """Of every distribution on the path, which costs some milliseconds to look through."""
    from importlib import metadata

    groups: dict[str, list[EntryPoint]] = {}
    for point in metadata.entry_points(group=group):
        groups.setdefault(point.name, []).append(point)
    return groups


def _only(group: str, name: str) -> EntryPoint | None:
    """The stranger of a name. Raises ConfigError where two distributions took it: which is meant cannot be known."""
    points = _all(group).get(name, ())
    owners = sorted({p.dist.name for p in points if p.dist is not None})
    if len(owners) > 1:
        raise ConfigError(f"the {kind_of(group)} {name!r} is there twice, from {' and '.join(owners)}: uninstall one")
    return points[0] if points else None
