"""The figures as a file: JSON for programs; for people a page without script or anything from elsewhere, or a PNG."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import msgspec

from edge import __version__
from edge.errors import ConfigError
from edge.tools.bench import picture, table
from edge.tools.bench.figures import Row, Subject

WIDTH, TALL, GAP, NAMES, VALUES = 900, 22, 10, 320, 90

LATENCY = "Latency: the median, and light to the 99th percentile"
THROUGHPUT = "Inferences a second"

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>
:root {
  --paper: #fbfaf8; --card: #fff; --ink: #1d2129; --soft: #667085; --line: #e4e2dd; --bar: #2f6fb0; --tail: #b9d0e6;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171c; --card: #1c2027; --ink: #e8eaee; --soft: #98a2b3; --line: #2d333d; --bar: #6aa9e6;
    --tail: #35506b;
  }
}
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", sans-serif; }
main { max-width: 1000px; margin: 0 auto; padding: 36px 24px; }
h1 { margin: 0; font-size: 26px; overflow-wrap: anywhere; }
h2 { margin: 0 0 8px; font-size: 16px; }
p { margin: 4px 0 0; color: var(--soft); overflow-wrap: anywhere; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 12px; }
section { padding: 20px; margin-top: 16px; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--soft); font: 13px system-ui, "Segoe UI", Roboto, sans-serif; }
svg .value { fill: var(--ink); font-weight: 600; }
svg .bar { fill: var(--bar); }
svg .tail { fill: var(--tail); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 10px; text-align: right; white-space: nowrap; border-top: 1px solid var(--line); }
tr:first-child th { border-top: 0; color: var(--soft); font-weight: 500; }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left; }
</style>
</head>
<body><main>
<h1>$title</h1>
$about
<section><h2>$latency_is</h2>$latency</section>
<section><h2>$throughput_is</h2>$throughput</section>
<section><h2>All figures</h2><div class="scroll"><table>$rows</table></div></section>
</main></body>
</html>
""")


def check(path: Path) -> None:
    """Before anything is measured. Raises ConfigError for a kind of file that is not written, and where a folder or a
    library is missing."""
    kind = path.suffix.lower()
    if kind not in (".json", ".html", ".png"):
        instead = path.with_suffix(".html").name
        raise ConfigError(
            f"--save {path}: {kind or 'no ending'} is not written; say {instead} (a page with charts), .png or .json"
        )
    if kind == ".png":
        picture.require()
    if not path.parent.is_dir():
        raise ConfigError(f"--save {path}: there is no folder {path.parent}; make it, or name another")


def write(path: Path, models: Sequence[Subject], rows: Sequence[Row], about: Sequence[str]) -> None:
    """`about` are lines on the machine and the way of measuring. Raises ConfigError where it cannot be written."""
    kinds: Mapping[str, Callable[..., str | bytes]] = {".json": as_json, ".html": page, ".png": chart}
    content = kinds[path.suffix.lower()](models, rows, about)
    try:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    except OSError as exc:
        raise ConfigError(f"--save {path}: {exc.strerror}; name a file that this user may write") from exc


def as_json(models: Sequence[Subject], rows: Sequence[Row], about: Sequence[str]) -> str:
    """`schema` 1: `models`, and a flat object for each combination in `rows`."""
    flat: list[dict[str, Any]] = []
    for row in rows:
        case = {"model": row.case.model, "provider": row.case.provider, "threads": row.case.threads}
        flat.append({**case, **msgspec.structs.asdict(row.median)})
    document = {"schema": 1, "version": __version__, "about": list(about), "models": list(models), "rows": flat}
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def page(models: Sequence[Subject], rows: Sequence[Row], about: Sequence[str]) -> str:
    """The whole page."""
    details = _details(models, about)
    cells = [table.HEAD, *(table.cells(row) for row in rows)]
    return PAGE.substitute(
        title=escape(_title(models)),
        about="".join(f"<p>{escape(line)}</p>" for line in details),
        latency_is=LATENCY,
        throughput_is=THROUGHPUT,
        latency=_bars([(table.label(r), r.median.p50_ms, r.median.p99_ms) for r in rows], " ms"),
        throughput=_bars([(table.label(r), r.median.per_second, r.median.per_second) for r in rows], ""),
        rows="".join(_line(line, "td" if at else "th") for at, line in enumerate(cells)),
    )


def chart(models: Sequence[Subject], rows: Sequence[Row], about: Sequence[str]) -> bytes:
    """The page's head and charts as a PNG. Raises ConfigError where its library is not installed."""
    picture.require()
    names = [(table.label(row), row.median) for row in rows]
    latency = [(name, m.p50_ms, m.p99_ms, f"{table.number(m.p50_ms)} ms") for name, m in names]
    throughput = [(name, m.per_second, m.per_second, table.number(m.per_second)) for name, m in names]
    return picture.draw(_title(models), _details(models, about), [(LATENCY, latency), (THROUGHPUT, throughput)])


def _title(models: Sequence[Subject]) -> str:
    return "edge-bench: " + ", ".join(s.name for s in models)


def _details(models: Sequence[Subject], about: Sequence[str]) -> list[str]:
    return [*table.subjects(models), *about, f"edge-bench {__version__}"]


def _line(cells: Sequence[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(c)}</{tag}>" for c in cells) + "</tr>"


def _bars(rows: Sequence[tuple[str, float, float]], unit: str) -> str:
    """Of (name, value, end of its tail)."""
    most = max(tail for _, _, tail in rows) or 1.0
    room = WIDTH - NAMES - VALUES
    parts = []
    for place, (name, value, tail) in enumerate(rows):
        y = place * (TALL + GAP)
        wide, far = max(2.0, room * value / most), max(2.0, room * tail / most)
        parts.append(
            f'<text x="0" y="{y + 16}">{escape(name)}</text>'
            f'<rect class="tail" x="{NAMES}" y="{y}" width="{far:.1f}" height="{TALL}" rx="3"/>'
            f'<rect class="bar" x="{NAMES}" y="{y}" width="{wide:.1f}" height="{TALL}" rx="3"/>'
            f'<text class="value" x="{NAMES + far + 8:.1f}" y="{y + 16}">{table.number(value)}{unit}</text>'
        )
    height = len(rows) * (TALL + GAP)
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="bars">{"".join(parts)}</svg>'
