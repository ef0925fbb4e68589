"""What `edge-fleet status` knows as one HTML file that stands alone: no script, nothing fetched, light and dark."""

from __future__ import annotations

import datetime
import html
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from string import Template

from edge.errors import printable
from edge.tools.fleet.status import Heard, Offered, left, of_them_offline, percent, state_of

KINDS = ("done", "idle", "way", "bad")
"""What states are drawn as, in the order of the bar."""
DEVICES_MOST = 20_000
"""Rows of devices in the page; more are counted, not listed."""
LONGEST = 300
"""Characters of what a device says."""


def page(
    title: str,
    offers: Sequence[Offered],
    heard: Sequence[Heard] | None,
    expires: Mapping[str, datetime.datetime],
    now: datetime.datetime,
    every_s: float | None = None,
) -> str:
    """`heard` None: no broker was asked. What devices say is told as text, whatever it is. `every_s`: the file is
    written anew so often, and a browser looks again."""
    body = "\n".join((*_offered(offers), *_devices(heard or ()), *_expiries(expires, now)))
    said = (
        "No broker was asked; --mqtt does."
        if heard is None
        else f"{len(heard):,} devices and models were heard{of_them_offline(heard)}."
    )
    again = "" if every_s is None else f'\n<meta http-equiv="refresh" content="{max(1, round(every_s))}">'
    template = Template(resources.files("edge.tools.fleet").joinpath("page.template.html").read_text("utf-8"))
    return template.substitute(again=again, title=_text(title), now=f"{now:%Y-%m-%d %H:%M} UTC", heard=said, body=body)


def _offered(offers: Sequence[Offered]) -> Iterator[str]:
    yield "<h2>Offered</h2>"
    rows = [
        (o.model, o.channel, o.version, percent(o.share) + (", paused" if o.paused else ""), o.sha256[:12],
         o.origin.get("registry", ""))
        for o in offers
    ]  # fmt: skip
    head = ("Model", "Channel", "Version", "Devices", "SHA-256", "From")
    yield from _table(head, rows, "Nothing yet: edge-fleet add.")


def _devices(heard: Sequence[Heard]) -> Iterator[str]:
    for model in sorted({h.model for h in heard}):
        of = [h for h in heard if h.model == model]
        counted = Counter((h.version, state_of(h)) for h in of)
        yield f"<h2>{_text(model)}: {len(of):,} device{'s' * (len(of) != 1)}</h2>"
        kinds: Counter[str] = Counter()
        for (_, state), count in counted.items():
            kinds[kind_of(state)] += count
        parts = [(kinds[kind] / len(of), kind) for kind in KINDS if kinds[kind]]
        yield '<div class="bar" role="presentation">'
        yield "".join(f'<div class="{kind}" style="width:{share:.4%}"></div>' for share, kind in parts) + "</div>"
        rows = [
            (version or "unknown", state, f"{count:,}", f"{count / len(of):.1%}")
            for (version, state), count in sorted(counted.items())
        ]
        yield from _table(("Version that runs", "State", "Devices", "Share"), rows, "", states=1, numbers=(2, 3))
    told = [h for h in heard if h.reason]
    if told:
        yield "<h2>What devices say</h2>"
        yield from _listed(told, ("Device", "Model", "State", "Since", "Reason"), is_open=True)
    if heard:
        yield "<h2>Each device</h2>"
        yield from _listed(heard, ("Device", "Model", "State", "Since", "Version"), is_open=False)


def _listed(heard: Sequence[Heard], head: tuple[str, ...], *, is_open: bool) -> Iterator[str]:
    shown = heard[:DEVICES_MOST]
    last = "reason" if head[-1] == "Reason" else "version"
    rows = [(h.device, h.model, state_of(h), h.since[:19].replace("T", " "), str(getattr(h, last))) for h in shown]
    yield f"<details{' open' * is_open}><summary>{len(heard):,} in all</summary>"
    yield from _table(head, rows, "", states=2)
    if len(heard) > len(shown):
        yield f'<p class="note">{len(heard) - len(shown):,} more are not listed; --json tells all.</p>'
    yield "</details>"


def _expiries(expires: Mapping[str, datetime.datetime], now: datetime.datetime) -> Iterator[str]:
    yield "<h2>Signed until</h2>"
    rows = [(role, f"{when:%Y-%m-%d}", left(role, when - now)) for role, when in expires.items()]
    yield from _table(("Role", "Until", ""), rows, "")


def kind_of(state: str) -> str:
    """What a state is drawn as."""
    if state.startswith("rolled-back") or state == "unreadable":
        return "bad"
    return {"confirmed": "done", "idle": "idle"}.get(state, "way")


def _table(
    head: Sequence[str], rows: Sequence[Sequence[str]], nothing: str, *, states: int = -1, numbers: Sequence[int] = ()
) -> Iterator[str]:
    """`states`: the column that has a dot of its colour."""
    if not rows:
        yield f'<p class="note">{nothing}</p>'
        return
    classes = [' class="n"' if at in numbers else ' class="s"' if at == states else "" for at in range(len(head))]
    yield '<div class="wide"><table><thead><tr>'
    yield "".join(f'<th scope="col"{kind}>{_text(cell)}</th>' for cell, kind in zip(head, classes, strict=True))
    yield "</tr></thead><tbody>"
    for row in rows:
        dots = [f'<span class="dot {kind_of(c)}"></span>' if at == states else "" for at, c in enumerate(row)]
        cells = [dot + _text(c) for dot, c in zip(dots, row, strict=True)]
        yield "<tr>" + "".join(f"<td{kind}>{c}</td>" for c, kind in zip(cells, classes, strict=True)) + "</tr>"
    yield "</tbody></table></div>"


def _text(text: str) -> str:
    return html.escape(printable(text if len(text) <= LONGEST else f"{text[:LONGEST]}..."))
