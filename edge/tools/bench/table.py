"""The figures for people: aligned lines, and on a terminal bars beneath them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edge.tools.bench.figures import Row, Subject
from edge.tools.doctor.table import Style

HEAD = ("model", "provider", "threads", "p50 ms", "p99 ms", "per second", "CPU ms", "memory MB", "load ms")
LEFT = 2
"""So many columns are words."""
BAR_LEAST = 10


def subjects(models: Sequence[Subject]) -> Iterator[str]:
    """A line for each model file."""
    for s in models:
        size = f"{s.size / 1e6:.1f} MB" if s.size >= 1e6 else f"{s.size / 1000:.1f} kB"
        precision = f"{s.precision}, " if s.precision else ""
        yield f"{s.name}: {precision}{size}, {s.engine} {s.version}"


def lines(rows: Sequence[Row]) -> list[str]:
    """The head and a line for each row, in columns."""
    every = [HEAD, *(cells(row) for row in rows)]
    widths = [max(len(line[i]) for line in every) for i in range(len(HEAD))]
    return [
        "  ".join(
            text.ljust(w) if i < LEFT else text.rjust(w) for i, (text, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in every
    ]


def cells(row: Row) -> tuple[str, ...]:
    """As text, in the order of `HEAD`."""
    m = row.median
    return (
        row.case.model,
        row.case.provider,
        str(row.case.threads),
        number(m.p50_ms),
        number(m.p99_ms),
        number(m.per_second),
        number(m.cpu_ms),
        f"{m.memory_mb:.0f}",
        number(m.load_ms),
    )


def number(value: float) -> str:
    """Three digits that count: 0.00912, 1.23, 45.6, 12345."""
    if value <= 0:
        return "0"
    if value >= 100:
        return f"{value:.0f}"
    digits = 2 if value >= 1 else 3 if value >= 0.1 else 4 if value >= 0.01 else 5
    return f"{value:.{digits - (value >= 10)}f}"


def label(row: Row) -> str:
    """A row's combination in words."""
    return f"{row.case.model} {row.case.provider} {row.case.threads}"


def chart(rows: Sequence[Row], style: Style) -> list[str]:
    """A bar for each row: solid to the median latency, light from there to its 99th percentile."""
    names = [label(row) for row in rows]
    wide = max(len(n) for n in names)
    most = max(row.median.p99_ms for row in rows)
    room = max(BAR_LEAST, style.width - wide - 12)
    lines = [f"latency, {style.paint('█', '36')} p50 {style.paint('░', '36')} p99, in ms"]
    for name, row in zip(names, rows, strict=True):
        solid = max(1, round(room * row.median.p50_ms / most))
        light = max(0, round(room * row.median.p99_ms / most) - solid)
        lines.append(f"{name:{wide}} {style.paint('█' * solid + '░' * light, '36')} {number(row.median.p50_ms)}")
    return lines
