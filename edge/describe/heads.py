"""Which head reads the outputs of a picture model: every registered head is asked, the best founded answer wins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from edge.data.tensor import Array
from edge.describe.head import Evidence, Head, HeadInfo, OutputProbe
from edge.model.manifest import Task
from edge.plugins import registry


class Choice(msgspec.Struct, frozen=True):
    """The head, or None; `rivals` are the heads that fit equally well where none is chosen."""

    head: Head | None = None
    rivals: tuple[Head, ...] = ()


def find(probe: OutputProbe, *, task: Task | None = None, decoder: str | None = None) -> Choice:
    """The best founded head; with `decoder` or `task` of those of that name or task.

    Our own heads are asked first, strangers' only where none of ours is sure: to look for them costs time.
    """
    if decoder is None and _is_one_vector(probe):
        return Choice()  # classes: no head has so little, and to import them all costs time
    names = [decoder] if decoder else registry.own_names(HeadInfo.GROUP)
    heads = ask((registry.declared(HeadInfo, name) for name in names), probe)
    if decoder is None and not any(h.evidence >= Evidence.NUMBERS for h in heads):
        heads += ask((info for _, info in registry.strangers(HeadInfo)), probe)
    return choose(h for h in heads if decoder is not None or task in (None, h.task) or h.decoder == "raw")


def _is_one_vector(probe: OutputProbe) -> bool:
    values = next(iter(probe.outputs.values()))
    return len(probe.outputs) == 1 and values.size > 1 and values.ndim != 3 and values.size == max(values.shape)


def ask(infos: Iterable[HeadInfo], probe: OutputProbe) -> list[Head]:
    """What heads say of the outputs."""
    matches = (info.recognise(probe) for info in infos if info.recognise is not None)
    return [head for head in matches if head is not None]


def choose(heads: Iterable[Head]) -> Choice:
    """The best founded head. Two that are founded equally well are rivals, and none is chosen."""
    ranked = sorted(heads, key=lambda h: -h.evidence)
    best = [h for h in ranked if h.evidence == ranked[0].evidence]
    return Choice(None, tuple(best)) if len(best) > 1 else Choice(best[0] if best else None)


def unread(head: Head, outputs: Mapping[str, Array]) -> list[str]:
    """A warning for outputs that the head's decoder leaves out."""
    read = {o.name for o in head.outputs}
    left = ", ".join(f"{n} {list(a.shape)}" for n, a in outputs.items() if n not in read)
    if not read or not left or head.task == "raw":
        return []
    return [f"outputs that are not published: {left} (--task raw gives all of them)"]
