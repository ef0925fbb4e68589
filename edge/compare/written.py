"""A comparison as the bytes of a file: JSON or a page, by its name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from edge.compare.report import Report, as_json, good, summary
from edge.compare.verdict import Counts
from edge.errors import ConfigError


def require_place(path: Path) -> None:
    """Raises ConfigError for a place, or a kind of file, that the report cannot be written to."""
    if path.suffix.lower() not in (".json", ".html"):
        raise ConfigError(f"--report {path.name}: reports are written as .json or .html")
    if not path.parent.is_dir():
        raise ConfigError(f"--report {path}: there is no folder {path.parent}; make it first")


def content(report: Report, path: Path) -> bytes:
    """What belongs into this file."""
    return page(report).encode() if path.suffix.lower() == ".html" else as_json(report)


CHANGES_MOST = 500
"""Rows that changed, of those that the page lists; the JSON has all."""
_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 0 0 2rem; width: 100% }
caption { text-align: left; font-weight: 600; padding: .5rem 0 }
th, td { text-align: right; padding: .2rem .6rem; border-bottom: 1px solid #8886 }
th:first-child, td:first-child { text-align: left }
tr.more-than-chance td { font-weight: 700 }
"""


def page(report: Report) -> str:
    """The whole page; what stands in models and archives is escaped."""
    verdict = report.verdict
    title = f"{report.old.name} {report.old.version} → {report.new.name} {report.new.version}"
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
    facts = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in summary(report))
    tables = [
        f"<table><caption>What changes</caption>{facts}</table>",
        _counts("By class", verdict.classes, verdict.measure, None),
        _counts("By slice, the worst first", verdict.slices, verdict.measure, verdict.chance_of_one),
        _table("Changed", ("old", "new", "rows"), ((o, n, str(c)) for o, n, c in verdict.confusions)),
        _table(
            f"Rows that changed{f', the first {CHANGES_MOST}' if len(verdict.changed) > CHANGES_MOST else ''}",
            ("row", "old", "new", "expected", "change"),
            ((str(c.row), c.old, c.new, c.expected or "", c.change) for c in verdict.changed[:CHANGES_MOST]),
        ),
    ]  # fmt: skip
    return f"{head}<style>{_STYLE}</style><h1>{escape(title)}</h1>{''.join(tables)}</html>\n"


def _counts(title: str, counts: Sequence[Counts], measure: str, limit: float | None) -> str:
    names = ("", "rows", "agree", *((f"old {measure}", f"new {measure}", "wins", "losses") if measure else ()))
    marked = [limit is not None and c.chance is not None and c.chance < limit for c in counts]
    return _table(title, names, (_cells(c, measure) for c in counts), marked)


def _cells(c: Counts, measure: str) -> list[str]:
    judged = [] if c.old is None or c.new is None else [good(c.old, measure), good(c.new, measure)]
    return [c.name, str(c.rows), f"{c.agree:.2%}", *judged, *([str(c.wins), str(c.losses)] if judged else [])]


def _table(title: str, names: Sequence[str], rows: Iterator[Sequence[str]], marked: Sequence[bool] = ()) -> str:
    lines = []
    for number, row in enumerate(rows):
        kind = ' class="more-than-chance"' if number < len(marked) and marked[number] else ""
        lines.append(f"<tr{kind}>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>")
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    return f"<table><caption>{escape(title)}</caption><tr>{head}</tr>{''.join(lines)}</table>" if lines else ""
