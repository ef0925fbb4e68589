"""One figure of a part, as an SVG and as a table, from the same numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

PAPER, INK, SOFT, LINE = "#fbfaf8", "#1d2129", "#667085", "#e4e2dd"
COLOURS = ("#2f6fb0", "#d9772b", "#667085", "#3f8f5f")
MARKERS = "osD^"
LEGEND = {"frameon": False, "labelcolor": INK, "fontsize": 9}


@dataclass(frozen=True)
class Series:
    """A line: a number for each place on the axis below; None where there is none."""

    name: str
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class Panel:
    """Lines that share a scale. `log`: the scale's steps are powers of ten."""

    title: str
    series: tuple[Series, ...]
    log: bool = False


@dataclass(frozen=True)
class Plot:
    """`steps` are the words below the axis: equally far apart, since each is so many times the last."""

    name: str
    below: str
    steps: tuple[str, ...]
    panels: tuple[Panel, ...]

    def save(self, folder: Path) -> None:
        """`<name>.svg`, the same bytes for the same numbers. It has a background: pages are light or dark."""
        look = {"svg.fonttype": "none", "svg.hashsalt": self.name, "font.size": 9.5, "font.family": "sans-serif"}
        folder.mkdir(parents=True, exist_ok=True)
        with mpl.rc_context(look):
            wide = 3 if len(self.panels) > 4 else 2
            high = -(-len(self.panels) // wide)
            figure = Figure(figsize=(9.5, 2.9 * high), facecolor=PAPER, layout="constrained")
            figure.get_layout_engine().set(w_pad=0.1, h_pad=0.12)
            places = figure.subplots(high, wide, squeeze=False).ravel()
            for axes, panel in zip(places, self.panels, strict=False):
                _draw(axes, panel, self)
            _legends(list(places), self.panels)
            path = folder / f"{self.name}.svg"
            figure.savefig(path, facecolor=PAPER, metadata={"Date": None, "Creator": None})
        # Matplotlib names the fonts of the machine that drew it: any page's own will do.
        text = path.read_text().replace("DejaVu Sans", "system-ui")
        path.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n")

    def table(self) -> str:
        """A row for each step."""
        every = [
            (f"{p.title}: {s.name}" if len(p.series) > 1 else p.title, s.values) for p in self.panels for s in p.series
        ]
        return "\n".join(_rows(self, every))


def _rows(plot: Plot, every: list[tuple[str, tuple[float | None, ...]]]) -> Iterator[str]:
    yield f"| {plot.below} | {' | '.join(name for name, _ in every)} |"
    yield "|" + "-:|" * (len(every) + 1)
    for place, step in enumerate(plot.steps):
        yield f"| {step} | {' | '.join(number(values[place]) for _, values in every)} |"


def number(value: float | None) -> str:
    """Three digits that count, thousands apart."""
    if value is None:
        return ""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _legends(places: list[Any], panels: tuple[Panel, ...]) -> None:
    """One for all in a place that is left over, where all have the same lines; else one in each."""
    drawn, spare = places[: len(panels)], places[len(panels) :]
    for axes in spare:
        axes.axis("off")
    if spare and len({tuple(s.name for s in panel.series) for panel in panels}) == 1:
        spare[0].legend(*drawn[0].get_legend_handles_labels(), **LEGEND, loc="center left")
        return
    for axes, panel in zip(drawn, panels, strict=True):
        if len(panel.series) > 1:
            axes.legend(**LEGEND)


def _draw(axes: Any, panel: Panel, plot: Plot) -> None:
    places = range(len(plot.steps))
    for series, colour, marker in zip(panel.series, COLOURS, MARKERS, strict=False):
        there = [(p, v) for p, v in zip(places, series.values, strict=True) if v is not None]
        axes.plot(
            *zip(*there, strict=True), color=colour, marker=marker, markersize=4, linewidth=1.8, label=series.name
        )
    if panel.log:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set_facecolor(PAPER)
    axes.set_title(panel.title, loc="left", color=INK, fontsize=10.5)
    axes.set_xlabel(plot.below, color=SOFT)
    axes.set_xticks(list(places), plot.steps)
    axes.yaxis.set_major_formatter(lambda value, _: number(value))
    axes.minorticks_off()
    axes.tick_params(colors=SOFT, length=0)
    axes.grid(axis="y", color=LINE)
    axes.spines[:].set_visible(False)
    axes.spines["bottom"].set(visible=True, color=SOFT)
