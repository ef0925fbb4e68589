"""Which head reads the outputs of a picture model: every registered head is asked, the best founded answer wins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edge.describe.head import Evidence, Head, HeadInfo, OutputProbe
from edge.model.manifest import Task
from edge.plugins import registry

GROUP = HeadInfo.GROUP


@dataclass(frozen=True, slots=True)
class Choice:
    """The head, or None; `rivals` are the heads that fit equally well where none is chosen."""

    head: Head | None = None
    rivals: tuple[Head, ...] = ()


def find(probe: OutputProbe, *, task: Task | None = None, decoder: str | None = None) -> Choice:
    """The best founded head; with `decoder` or `task` of those of that name or task.

    Our own heads are asked first, strangers' only where none of ours is sure: to look for them costs time.
    """
    own = registry.own_names(GROUP)
    heads = ask([decoder] if decoder else own, probe)
    if decoder is None and not any(h.evidence >= Evidence.NUMBERS for h in heads):
        heads += ask([n for n in registry.names(GROUP) if n not in own], probe)
    return choose(h for h in heads if decoder is not None or task in (None, h.task) or h.decoder == "raw")


def ask(names: Sequence[str], probe: OutputProbe) -> list[Head]:
    """What the heads of these names say of the outputs."""
    heads = []
    for name in names:
        recognise = registry.declared(HeadInfo, name).recognise
        head = recognise(probe) if recognise is not None else None
        if head is not None:
            heads.append(head)
    return heads


def choose(heads: Iterable[Head]) -> Choice:
    """The best founded head. Two that are founded equally well are rivals, and none is chosen."""
    ranked = sorted(heads, key=lambda h: -h.evidence)
    best = [h for h in ranked if h.evidence == ranked[0].evidence]
    return Choice(None, tuple(best)) if len(best) > 1 else Choice(best[0] if best else None)
