"""The figures as a file: JSON for programs; for people a page without script or anything from elsewhere, or a PNG."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from importlib import resources
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
    tagged = [("th", table.HEAD), *(("td", table.cells(row)) for row in rows)]
    template = Template(resources.files("edge.tools.bench").joinpath("page.template.html").read_text("utf-8"))
    return template.substitute(
        title=escape(_title(models)),
        about="".join(f"<p>{escape(line)}</p>" for line in details),
        latency_is=LATENCY,
        throughput_is=THROUGHPUT,
        latency=_bars([(table.label(r), r.median.p50_ms, r.median.p99_ms) for r in rows], " ms"),
        throughput=_bars([(table.label(r), r.median.per_second, r.median.per_second) for r in rows], ""),
        rows="".join(f"<tr>{''.join(f'<{tag}>{escape(c)}</{tag}>' for c in line)}</tr>" for tag, line in tagged),
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
