"""A comparison as text for a terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from edge.compare.verdict import Counts, Verdict

SCHEMA = 1
SLICES_SHOWN = 8
CHANGES_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two models."""

    file: str
    name: str
    version: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Report:
    """Two models and what is said of them."""

    old: Side
    new: Side
    task: str
    verdict: Verdict


def as_json(report: Report) -> bytes:
    """The whole report, each row that changed among it."""
    return msgspec.json.format(msgspec.json.encode(as_dict(report)), indent=2) + b"\n"


def as_dict(report: Report) -> dict[str, Any]:
    """As JSON has it: docs/COMPARE.md tells the fields."""
    verdict = asdict(report.verdict)
    confusions = [{"old": o, "new": n, "rows": c} for o, n, c in report.verdict.confusions]
    return {
        "schema": SCHEMA, "old": asdict(report.old), "new": asdict(report.new), "task": report.task, **verdict,
        "confusions": confusions, "chance_of_one": report.verdict.chance_of_one,
    }  # fmt: skip


def text(report: Report) -> str:
    """The lines for a terminal: the whole, by class, the worst slices, some of the rows that changed for the worse."""
    verdict = report.verdict
    parts = ["\n".join(f"{name:<17} {value}" for name, value in summary(report))]
    if verdict.classes:
        parts.append(_table("by class" if verdict.confusions or report.task != "regress" else "by answer",
                            verdict.classes, verdict.measure))  # fmt: skip
    if verdict.slices:
        parts.append(_slices(verdict))
    parts += [t for t in (_confusions(verdict), _changes(verdict)) if t]
    return "\n\n".join(parts)


def summary(report: Report) -> list[tuple[str, str]]:
    """What is said of the whole: name and value."""
    total, verdict = report.verdict.total, report.verdict
    lines = [
        ("old", _side(report.old)),
        ("new", _side(report.new)),
        ("rows compared", str(total.rows)),
        ("agreement", f"{total.agree:.2%} ({total.rows - round(total.agree * total.rows)} rows differ)"),
    ]
    if report.old.sha256 == report.new.sha256:
        lines.append(("note", "both are one and the same file"))
    if total.old is None or total.new is None or total.chance is None:
        return [*lines, ("note", "without --expect nobody can say which of the two is right")]
    lines.append((verdict.measure, f"{good(total.old, verdict.measure)} -> {good(total.new, verdict.measure)}"))
    what = "better" if (total.wins or 0) > (total.losses or 0) else "worse"
    if not total.wins and not total.losses:
        said = "no row changed for better or worse"
    elif total.chance < 0.05:
        said = f"{what}; by chance in {total.chance:.2g} of such comparisons"
    else:
        said = f"may be chance (p = {total.chance:.2g}): more rows would tell"
    return [*lines, ("wins, losses", f"{total.wins}, {total.losses}: {said}")]


def _side(side: Side) -> str:
    return f"{side.file}: {side.name} {side.version}, {side.size:,} bytes"


def good(value: float, measure: str) -> str:
    """A share of right classes, or an error, as people read it."""
    return f"{value:.4f}" if measure == "accuracy" else f"{value:.4g}"


def _slices(verdict: Verdict) -> str:
    shown = verdict.slices[:SLICES_SHOWN]
    more = f" ({len(shown)} of {len(verdict.slices)}, the worst first)" if len(shown) < len(verdict.slices) else ""
    table = _table(f"by slice{more}", shown, verdict.measure, verdict.chance_of_one)
    marked = any(c.chance is not None and c.chance < verdict.chance_of_one for c in shown)
    return f"{table}\n* more than chance, though {len(verdict.slices)} slices were looked at" if marked else table


def _table(title: str, counts: Sequence[Counts], measure: str, limit: float | None = None) -> str:
    width = max(len(title), *(len(c.name) for c in counts))
    head = f"{title:<{width}} {'rows':>7} {'agree':>8}"
    if measure:
        head += f" {'old':>9} {'new':>9} {'wins':>6} {'losses':>6}"
    lines = [head]
    for c in counts:
        line = f"{c.name:<{width}} {c.rows:>7} {c.agree:>8.2%}"
        if c.old is not None and c.new is not None:
            line += f" {good(c.old, measure):>9} {good(c.new, measure):>9} {c.wins:>6} {c.losses:>6}"
        if limit is not None and c.chance is not None and c.chance < limit:
            line += " *"
        lines.append(line)
    return "\n".join(lines)


def _confusions(verdict: Verdict) -> str:
    shown = [f"  {old} -> {new}: {rows}" for old, new, rows in verdict.confusions[:CHANGES_SHOWN]]
    return "\n".join(["changed, old -> new: rows", *shown]) if shown else ""


def _changes(verdict: Verdict) -> str:
    lost = [c for c in verdict.changed if c.change == "loss"]
    shown = [f"  row {c.row}: {c.old} -> {c.new}, expected {c.expected}" for c in lost[:CHANGES_SHOWN]]
    more = f" (the first {len(shown)} of {len(lost)}; --report FILE.json has all)" if len(lost) > len(shown) else ""
    return "\n".join([f"rows lost{more}", *shown]) if shown else ""
