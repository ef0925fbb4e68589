"""What a conversion has to say: a table on the terminal, and a file.

A further format of the file is a function `(Report, Path) -> None` in `WRITERS`, by suffix; `Report` holds the
comparison with every row's difference and class for those that draw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from converter.artifact import Variant
from converter.model_file import write_whole
from converter.report.html import write_html
from converter.report.report import Report


def table(report: Report) -> str:
    """The lines for a terminal."""
    p = report.figures
    real = "" if p.source == "sample" else " (made up: weaker, give --sample)"
    m = report.manifest
    lines = [
        ("model", f"{m.name} {m.version}, {report.framework} -> {report.target}, {m.task}"),
        ("rows compared", f"{p.rows}{real}"),
        ("size", _size(report)),
        ("latency, one row", _latency(report)),
        ("max difference", f"{p.max_difference:.3g} (mean {p.mean_difference:.3g}, allowed {p.tolerance:.3g})"),
        ("agreement", "-" if p.agreement is None else f"{p.agreement:.2%}"),
    ]
    if p.accuracy_before is not None and p.accuracy_after is not None:
        name = "R squared" if report.manifest.task == "regress" else "accuracy"
        lines.append((name, f"{p.accuracy_before:.4f} -> {p.accuracy_after:.4f}"))
    lines.append(("parity", "passed" if p.passed else f"FAILED{', written by --force' if p.forced else ''}"))
    lines += [("note", note) for note in report.notes]
    if report.output:
        lines.append(("written", report.output))
    shown = "\n".join(f"{name:<17} {value}" for name, value in lines)
    return f"{shown}\n{variants_table(report.variants)}" if report.variants else shown


def _latency(report: Report) -> str:
    before, after = report.comparison.before_ms, report.comparison.after_ms
    if report.framework == report.target:  # one engine for both: what differs is that rows were prepared for the first
        return f"{before:.3g} ms with the row prepared -> {after:.3g} ms without"
    ratio = before / max(after, 1e-9)
    compared = f"{ratio:.1f} x faster" if ratio >= 1 else f"{1 / max(ratio, 1e-9):.1f} x slower"
    return f"{before:.3g} ms -> {after:.3g} ms ({compared})"


def variants_table(variants: Sequence[Variant]) -> str:
    """What `--quantize auto` tried, a line each; the chosen one has a star."""
    lines = [f"  {'precision':<10} {'bytes':>12} {'ms a row':>10} {'max diff':>10} {'agreement':>10} {'accuracy':>9}"]
    for v in variants:
        mark = "*" if v.chosen else " "
        if not v.size:
            lines.append(f"{mark} {v.name:<10} {v.reason}")
            continue
        agreement = "-" if v.agreement is None else f"{v.agreement:.2%}"
        accuracy = "-" if v.accuracy is None else f"{v.accuracy:.4f}"
        figures = f"{v.size:>12,} {v.latency_ms:>10.4f} {v.max_difference:>10.3g} {agreement:>10} {accuracy:>9}"
        lines.append(f"{mark} {v.name:<10} {figures}{'' if v.passed else '  ' + v.reason}")
    return "\n".join(lines)


def _size(report: Report) -> str:
    if not report.size_before:
        return f"{report.size_after:,} bytes"
    return f"{report.size_before:,} -> {report.size_after:,} bytes ({report.size_after / report.size_before:.2f} x)"


def as_dict(report: Report) -> dict[str, Any]:
    """The report as JSON would have it, without the golden samples and the single rows."""
    manifest = msgspec.to_builtins(msgspec.structs.replace(report.manifest, golden=()))
    figures = {f: getattr(report.figures, f) for f in report.figures.__struct_fields__}
    return {
        "model": report.manifest.name, "version": report.manifest.version, "framework": report.framework,
        "target": report.target, "task": report.manifest.task, "output": report.output,
        "size_before": report.size_before, "size_after": report.size_after,
        "latency_before_ms": report.comparison.before_ms, "latency_after_ms": report.comparison.after_ms,
        "parity": figures, "reasons": list(report.comparison.reasons), "notes": list(report.notes),
        "variants": [msgspec.to_builtins(v) for v in report.variants], "manifest": manifest,
    }  # fmt: skip


def write_json(report: Report, path: Path) -> None:
    """The report as a JSON file."""
    write_whole(path, msgspec.json.format(msgspec.json.encode(as_dict(report)), indent=2) + b"\n")


WRITERS: dict[str, Callable[[Report, Path], None]] = {".json": write_json, ".html": write_html}
