"""The doctor's table for people, and the same as JSON for programs."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from edge.tools.doctor.row import Row

VERDICT_WIDTH = 5
PART_WIDTH = 12
INDENT = " " * (VERDICT_WIDTH + PART_WIDTH + 2)
COLOURS = {"ok": "32", "warn": "33", "fail": "31;1", "skip": "2"}
NARROWEST = 50


@dataclass(frozen=True, slots=True)
class Style:
    """`width` 0: lines are not folded, for `grep`. `colour`: with escape sequences."""

    width: int = 0
    colour: bool = False

    @classmethod
    def of(cls, out: TextIO, environ: Mapping[str, str]) -> Style:
        """Folded and in colour on a terminal only; https://no-color.org is honoured."""
        if not out.isatty():
            return cls()
        plain = bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb"
        return cls(max(NARROWEST, shutil.get_terminal_size().columns), not plain)

    def paint(self, text: str, code: str) -> str:
        """The text in a colour, where there are colours."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text


def line(row: Row, style: Style) -> str:
    """A row, and its fix below it."""
    verdict = style.paint(f"{row.verdict:{VERDICT_WIDTH}}", COLOURS[row.verdict])
    said = f"{row.run}: {row.text}" if row.run else row.text
    text = f"{verdict} {row.part:{PART_WIDTH}} {_folded(said, style.width)}\n"
    if row.fix:
        text += f"{INDENT}{style.paint('fix:', '1')} {_folded(row.fix, style.width, extra=5)}\n"
    return text


def _folded(text: str, width: int, extra: int = 0) -> str:
    text = " ".join(text.split())
    if not width:
        return text
    room = max(20, width - len(INDENT) - extra)
    lines = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)
    return f"\n{INDENT}{' ' * extra}".join(lines)


def exit_code(rows: Sequence[Row]) -> int:
    """Of the first part that fails; 0 where none does."""
    return next((row.code for row in rows if row.code), 0)


def summary(rows: Sequence[Row], style: Style) -> str:
    """The last line: how many of what."""
    count = Counter(row.verdict for row in rows)
    counts = [
        f"{count['fail']} failed" if count["fail"] else "",
        f"{count['warn']} to look at" if count["warn"] else "",
    ]
    worst = "fail" if count["fail"] else "warn" if count["warn"] else "ok"
    text = ", ".join(s for s in counts if s) or "all in order"
    return f"\n{style.paint(text, COLOURS[worst])}\n"


def as_json(rows: Sequence[Row], version: str) -> str:
    """One object: exit code and rows; numbers behind a text are in its `facts`."""
    return (
        json.dumps(
            {
                "schema": 1,
                "version": version,
                "exit_code": exit_code(rows),
                "rows": [_row(row) for row in rows],
            }
        )
        + "\n"
    )


def _row(row: Row) -> dict[str, Any]:
    fields: dict[str, Any] = {"part": row.part, "verdict": row.verdict, "text": row.text}
    if row.run:
        fields["run"] = row.run
    if row.fix:
        fields["fix"] = row.fix
    if row.code:
        fields["code"] = row.code
    return {**fields, "facts": dict(row.facts)}
