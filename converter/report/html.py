"""The report as one page: no script, nothing from elsewhere, light and dark as the reader's system is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

import numpy as np

from converter.artifact import Variant
from converter.model_file import write_whole
from converter.report.charts import bars, histogram
from converter.report.report import Report
from edge.data.tensor import Array
from edge.model.manifest import Input

# Classes that a confusion table shows: the ones most often mistaken.
MOST_CLASSES = 16


def write_html(report: Report, path: Path) -> None:
    """The report as an HTML file. Raises OutputError where it cannot be written."""
    write_whole(path, page(report).encode())


def page(report: Report) -> str:
    """The whole page."""
    figures, m = report.figures, report.manifest
    verdict, kind = "passed: it answers as the original", "good"
    if not figures.passed:
        verdict, kind = ("failed, written by --force", "warn") if figures.forced else ("failed: not written", "bad")
    elif figures.source != "sample":
        verdict, kind = "passed on made-up rows only", "warn"
    template = Template(resources.files("converter").joinpath("report.template.html").read_text("utf-8"))
    return template.substitute(
        title=escape(f"{m.name}: conversion report"), heading=escape(m.name),
        subtitle=escape(f"version {m.version} · {m.task} · {report.framework} to {_target(report)}"),
        verdict=verdict, verdict_class=kind, reasons=_reasons(report, kind), tiles="".join(_tiles(report)),
        histogram=histogram(report.comparison.differences, figures.tolerance),
        histogram_hint=_rows_hint(report), bars=_bars(report), bars_hint=_bars_hint(report),
        variants=_variants(report.variants), confusion=_confusion(report), provenance="".join(_provenance(report)),
        footer=escape(_footer(report)),
    )  # fmt: skip


def _target(report: Report) -> str:
    return {"onnx": "ONNX", "tflite": "TensorFlow Lite"}[report.target]


def _reasons(report: Report, kind: str) -> str:
    items = "".join(f"<li>{escape(reason)}</li>" for reason in report.comparison.reasons)
    return f'<ul class="reasons {kind}">{items}</ul>' if items else ""


def _tile(name: str, value: str, more: str) -> str:
    return f'<div class="tile"><span>{escape(name)}</span><b>{escape(value)}</b><em>{escape(more)}</em></div>'


def _tiles(report: Report) -> Iterator[str]:
    p, c = report.figures, report.comparison
    if p.accuracy_before is not None and p.accuracy_after is not None:
        name = "R squared" if report.manifest.task == "regress" else "Accuracy"
        value = f"{p.accuracy_after:.3f}" if report.manifest.task == "regress" else f"{p.accuracy_after:.2%}"
        was = f"{p.accuracy_before:.3f}" if report.manifest.task == "regress" else f"{p.accuracy_before:.2%}"
        yield _tile(name, value, f"the original: {was}")
    if p.agreement is not None:
        yield _tile("Same class", f"{p.agreement:.2%}", f"as the original, {p.rows:,} rows")
    yield _tile("Largest difference", f"{p.max_difference:.2g}", f"allowed: {p.tolerance:.2g}")
    ratio = f"{report.size_before / report.size_after:.1f} × smaller" if report.size_before > report.size_after else ""
    yield _tile("Size", _bytes(report.size_after), ratio or "of the file")
    yield _tile("One row takes", _time(c.after_ms), f"the original: {_time(c.before_ms)}")


def _rows_hint(report: Report) -> str:
    p = report.figures
    made_up = "" if p.source == "sample" else ", made up from the model's ranges: give --sample for a stronger proof"
    return escape(
        f"The largest difference in each of {p.rows:,} rows{made_up}. Mean {p.mean_difference:.2g}, "
        f"allowed {p.tolerance:.2g}."
    )


def _bars(report: Report) -> str:
    c = report.comparison
    sizes = [("the original", float(report.size_before), "before")] if report.size_before else []
    sizes.append((f"this {_target(report)} file", float(report.size_after), "bar"))
    times = [("the original", c.before_ms, "before"), ("this file", c.after_ms, "bar")]
    return (
        f"<h3>Size on disk</h3>{bars(sizes, _bytes)}<h3>One row, median</h3>{bars([t for t in times if t[1]], _time)}"
    )


def _bars_hint(report: Report) -> str:
    version = report.manifest.provenance.versions.get("onnxruntime", "") if report.manifest.provenance else ""
    engine = f"ONNX Runtime {version}" if report.target == "onnx" else "LiteRT"
    return escape(f"Measured where it was converted, {engine.strip()}, one thread; the original in its framework.")


def _variants(variants: Sequence[Variant]) -> str:
    if not variants:
        return ""
    head = "<tr><th>precision</th><th>size</th><th>one row</th><th>largest difference</th><th>same class</th>"
    lines = [f"{head}<th>accuracy</th><th></th></tr>"]
    for v in variants:
        figures = ["", "", "", "", ""]
        if v.size:
            figures = [
                _bytes(v.size), _time(v.latency_ms), f"{v.max_difference:.2g}",
                "–" if v.agreement is None else f"{v.agreement:.2%}",
                "–" if v.accuracy is None else f"{v.accuracy:.4f}",
            ]  # fmt: skip
        cells = "".join(f"<td>{escape(f)}</td>" for f in figures)
        why = "chosen: the fastest that passes" if v.chosen else v.reason
        name = {"none": "float32"}.get(v.name, v.name)
        lines.append(f'<tr class="{"chosen" if v.chosen else ""}"><td>{name}</td>{cells}<td>{escape(why)}</td></tr>')
    return (
        '<section><h2>What was tried</h2><p class="hint">Timed turn by turn in one run; another processor may order '
        f'them otherwise.</p><div class="scroll"><table class="wide">{"".join(lines)}</table></div></section>'
    )


def _confusion(report: Report) -> str:
    c = report.comparison
    if c.before is None or c.after is None:
        return ""
    if c.expected is None:
        table = _matrix(c.before, c.after, report.manifest.labels)
        hint = "A row for each class of the original, a column for each of the file: off the diagonal they disagree."
        return f'<section><h2>The same class?</h2><p class="hint">{hint}</p><div class="scroll">{table}</div></section>'
    shown = dict(zip(_values(report), report.manifest.labels, strict=False))
    names = [np.array([shown.get(str(v), str(v)) for v in part], dtype=object) for part in (c.before, c.after)]
    truth = np.array([shown.get(str(v), str(v)) for v in c.expected], dtype=object)
    both = [
        f'<section><h2>{title}</h2><p class="hint">A row for each true class, a column for each answer.</p>'
        f'<div class="scroll">{_matrix(truth, answers, report.manifest.labels)}</div></section>'
        for title, answers in (("Confusion before", names[0]), ("Confusion after", names[1]))
    ]
    return f'<div class="columns" style="margin-top:14px">{"".join(both)}</div>'


def _values(report: Report) -> tuple[str, ...]:
    given = next((o.values for o in report.manifest.outputs if o.role == "label" and o.values), ())
    return given or report.manifest.labels


def _matrix(truth: Array, answers: Array, labels: Sequence[str]) -> str:
    counts = Counter(zip((str(t) for t in truth), (str(a) for a in answers), strict=True))
    present = {n for pair in counts for n in pair}
    order = [n for n in labels if n in present] + sorted(present - set(labels))
    wrong = {n: sum(k for (t, a), k in counts.items() if t != a and n in (t, a)) for n in order}
    hidden = len(order) - MOST_CLASSES
    if hidden > 0:
        worst = sorted(order, key=lambda n: -wrong[n])[:MOST_CLASSES]
        order = [n for n in order if n in worst]
    most = max((counts[t, a] for t in order for a in order), default=1) or 1
    head = "".join(f'<th title="{escape(n)}">{escape(n)}</th>' for n in order)
    body = "".join(
        f'<tr><th title="{escape(t)}">{escape(t)}</th>{"".join(_cell(counts[t, a], most, t == a) for a in order)}</tr>'
        for t in order
    )
    more = f'<p class="hint">The {MOST_CLASSES} classes most often mistaken; {hidden} more.</p>' if hidden > 0 else ""
    return f'{more}<table class="confusion"><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>'


def _cell(count: int, most: int, right: bool) -> str:
    if not count:
        return '<td class="nil">0</td>'
    shade = 0.12 + 0.5 * count / most
    return f'<td class="{"" if right else "wrong"}" style="background:rgba(var(--heat),{shade:.2f})">{count}</td>'


def _provenance(report: Report) -> Iterator[str]:
    p = report.manifest.provenance
    passes = " → ".join(p.passes) if p else ""
    facts = [
        ("source", p.source if p else ""), ("sha-256", p.source_sha256 if p else ""), ("passes", passes),
        ("libraries", ", ".join(f"{n} {v}" for n, v in p.versions.items()) if p else ""),
        ("written to", report.output), ("inputs", "; ".join(_input(i) for i in report.manifest.inputs)),
        ("labels", _some(report.manifest.labels)), ("golden samples", str(len(report.manifest.golden) or "")),
        *(("note", note) for note in report.notes),
    ]  # fmt: skip
    yield from (f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in facts if value)


def _input(one: Input) -> str:
    size = " × ".join("any" if not isinstance(d, int) else str(d) for d in one.shape)
    picture = f", {one.color} {one.layout}, {one.resize}" if one.kind == "image" else ""
    return f"{one.name} ({one.kind}, {one.dtype}, {size}){picture}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _footer(report: Report) -> str:
    p = report.manifest.provenance
    version = p.versions.get("edge-run", "") if p else ""
    return f"edge-convert {version}{', ' + p.created if p and p.created else ''}".strip()


def _bytes(count: float) -> str:
    for unit, size in (("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} B"


def _time(milliseconds: float) -> str:
    return f"{milliseconds:.2f} ms" if milliseconds >= 1 else f"{milliseconds * 1000:.1f} µs"
