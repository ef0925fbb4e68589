"""Charts as SVG text, coloured by the classes of the page they stand in."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from html import escape

import numpy as np

from edge.data.tensor import Array

WIDTH, HEIGHT = 460, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 14, 10, 26, 34
_BINS = 24
_SMALLEST = 1e-9


def histogram(differences: Array, limit: float) -> str:
    """How many rows differ by how much, in powers of ten, with a line at `limit`; rows over it in another colour."""
    values, limit = np.asarray(differences, dtype=np.float64), max(limit, _SMALLEST)
    finite = values[np.isfinite(values)]
    small = finite[finite > _SMALLEST]
    low = math.floor(math.log10(min([float(small.min())] if small.size else [1e-8], default=1e-8)))
    top = max(float(finite.max()) if finite.size else 0.0, limit, _SMALLEST)
    high = max(low + 1, math.ceil(math.log10(top) + 0.05))
    edges = np.linspace(low, high, _BINS + 1)
    logs = np.log10(np.clip(finite, 10.0**low, 10.0**high))
    counts = np.histogram(logs, edges)[0]
    inner_width = WIDTH - _LEFT - _RIGHT
    floor = HEIGHT - _BOTTOM

    def x(power: float) -> float:
        return _LEFT + inner_width * (power - low) / (high - low)

    parts = _bars(counts, edges, x, math.log10(limit))
    parts.extend(_text(x(p), floor + 18, _power(p), "", anchor) for p, anchor in _ticks(low, high))
    at = x(math.log10(limit))
    parts.append(f'<line class="limit" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP - 8}" y2="{floor}"/>')
    beside, anchor = (at - 6, "end") if at > WIDTH / 2 else (at + 6, "start")
    parts.append(_text(beside, _TOP - 12, "allowed", "limit-label", anchor))
    axis = f'<line class="axis" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{floor}" y2="{floor}"/>'
    lost = len(values) - len(finite)
    if lost:
        parts.append(_text(WIDTH - _RIGHT, _TOP + 6, f"{lost} rows not finite", "limit-label", "end"))
    return _svg(HEIGHT, "rows by difference", axis + "".join(parts))


def _bars(counts: Array, edges: Array, x: Callable[[float], float], limit: float) -> list[str]:
    """A bar for each bin that is not empty, and the largest one's count. `edges` and `limit` are powers of ten."""
    floor, inner_height, most = HEIGHT - _BOTTOM, HEIGHT - _TOP - _BOTTOM, max(int(counts.max()), 1)
    parts: list[str] = []
    for count, start, end in zip(counts, edges[:-1], edges[1:], strict=True):
        if not count:
            continue
        tall = max(2.0, inner_height * int(count) / most)
        over = "over" if start >= limit - 1e-9 else "bar"
        parts.append(
            f'<rect class="{over}" x="{x(start) + 1:.1f}" y="{floor - tall:.1f}" width="{x(end) - x(start) - 2:.1f}" '
            f'height="{tall:.1f}" rx="2"><title>{count} rows, {10**start:.1e} to {10**end:.1e}</title></rect>'
        )
        if count == counts.max():
            middle = min(max((x(start) + x(end)) / 2, _LEFT + 16), WIDTH - _RIGHT - 16)
            parts.append(_text(middle, floor - tall - 6, f"{count:,}", "value", "middle"))
    return parts


def _ticks(low: int, high: int) -> Iterator[tuple[int, str]]:
    """The powers of ten below the axis, and where their text is anchored."""
    for power in range(low, high + 1, max(1, math.ceil((high - low) / 8))):
        yield power, "start" if power == low else "end" if power == high else "middle"


def bars(rows: Sequence[tuple[str, float, str]], shown: Callable[[float], str]) -> str:
    """A bar for each (name, value, class), the value beside it."""
    most = max((value for _, value, _ in rows), default=0.0) or 1.0
    name_width, value_width, tall, gap = 150, 84, 20, 10
    room = WIDTH - name_width - value_width
    parts: list[str] = []
    for place, (name, value, kind) in enumerate(rows):
        y = place * (tall + gap)
        width = max(2.0, room * value / most)
        parts.append(_text(0, y + 14, name, "", "start"))
        parts.append(f'<rect class="{kind}" x="{name_width}" y="{y}" width="{width:.1f}" height="{tall}" rx="3"/>')
        parts.append(_text(name_width + width + 8, y + 14, shown(value), "value", "start"))
    return _svg(len(rows) * (tall + gap), "bars", "".join(parts))


def _svg(height: int, label: str, inner: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">{inner}</svg>'


def _text(x: float, y: float, text: str, kind: str, anchor: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _power(power: int) -> str:
    if -3 <= power <= 2:
        return f"{10.0**power:g}"
    return f"10{''.join('⁻⁰¹²³⁴⁵⁶⁷⁸⁹'['-0123456789'.index(c)] for c in str(power))}"
