"""What a part of a plug-in can do: its seam, and the capabilities beside it, by the protocols it satisfies.

A capability is a protocol of `edge.plugins.protocols` whose name ends with its seam's: `BatchSink` is one of a `Sink`,
`ResettableEngine` one of an `Engine`. It is whole or not there: a part that has one of its members and lacks another,
or has a public name that looks like a misspelt one, would run with a feature silently off. `fault` finds that.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Protocol

from edge.plugins import columns, protocols, reach, rows

SEAMS: Mapping[str, type] = {
    "edge.sources": protocols.Source,
    "edge.sinks": protocols.Sink,
    "edge.spools": protocols.Spool,
    "edge.engines": protocols.Engine,
    "edge.preprocess": protocols.Preprocessor,
    "edge.postprocess": protocols.Postprocessor,
}
NEAR = 0.75
"""Share of letters in common from which a name looks like another, misspelt (difflib's ratio)."""


@cache
def capabilities(seam: type) -> Mapping[type, frozenset[str]]:
    """The protocols beside a seam, and what each asks for."""
    return {
        p: members(p)
        for module in (protocols, reach, rows, columns)
        for name, p in vars(module).items()
        if isinstance(p, type) and Protocol in p.__bases__ and name.endswith(seam.__name__) and p is not seam
    }


@cache
def members(protocol: type) -> frozenset[str]:
    """Names of the methods and attributes that a protocol asks for, `__call__` and `__len__` among them."""
    own = {n for base in protocol.__mro__ if Protocol in base.__bases__ for n in (*vars(base), *_annotations(base))}
    return frozenset(n for n in own if not n.startswith("_") or n in ("__call__", "__len__"))


def _annotations(base: type) -> Mapping[str, object]:
    annotations: Mapping[str, object] = vars(base).get("__annotations__", {})
    return annotations


def fault(group: str, part: object) -> str:
    """What is wrong with a part of a group, in words; "" where nothing is."""
    seam = SEAMS.get(group)
    return "" if seam is None else fault_of(seam, part)


def fault_of(seam: type, part: object) -> str:
    """What is wrong with a part as one of its seam."""
    for protocol, names in {seam: members(seam), **capabilities(seam)}.items():
        absent = sorted(n for n in names if not hasattr(part, n))
        beside = names - members(seam)
        if absent and (protocol is seam or any(hasattr(part, n) for n in beside)):
            has = "" if protocol is seam else f"{', '.join(sorted(n for n in beside if hasattr(part, n)))} but "
            return f"{type(part).__name__} has {has}no {', '.join(absent)}, which a {protocol.__name__} must have"
    return _misspelt(seam, part)


def _misspelt(seam: type, part: object) -> str:
    import difflib  # for strangers

    known = {n for names in (members(seam), *capabilities(seam).values()) for n in names if not n.startswith("_")}
    absent = {_plain(n): n for n in known if not hasattr(part, n)}
    for name in sorted(n for n in dir(part) if not n.startswith("_") and n not in known):
        near = difflib.get_close_matches(_plain(name), absent, n=1, cutoff=NEAR)
        if near:
            return (
                f"{type(part).__name__} has {name!r}: did you mean {absent[near[0]]!r}? "
                f"If it is a name of your own, begin it with _"
            )
    return ""


def _plain(name: str) -> str:
    return name.replace("_", "").lower()
