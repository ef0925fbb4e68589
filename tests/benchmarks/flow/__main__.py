"""`python -m flow`: every target of the runtime, turn about, medians; says pass or short.

    make bench [QUICK=1]
    make bench-flow BROKER=rabbitmq     the tiny model over another broker

Contenders run one after the other, A B C C B A A B C ..., so that a machine that warms up, or is busy for a while,
disturbs all alike. A ratio is the median of the rounds' ratios, with the smallest and the largest beside it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flow import models
from flow.contest import Stage
from flow.machine import busy, description
from flow.stage_hand import NO_DELAY, hold

BEGIN, END = "<!-- flow: begin -->", "<!-- flow: end -->"
OTHERS = (NO_DELAY, "rabbitmq", "nats", "aedes")
"""Brokers beside mosquitto with its own settings: those that ask for no password, which the tutorial has none of."""


@dataclass(frozen=True)
class Target:
    """`figure` of a round; `goal`: at least, or at most where `most`."""

    name: str
    figure: Callable[[dict[str, Any]], float]
    goal: float
    most: bool = False

    def row(self, rounds: Sequence[dict[str, Any]]) -> str:
        """A line of the table."""
        found = [self.figure(r) for r in rounds]
        middle = statistics.median(found)
        met = middle <= self.goal if self.most else middle >= self.goal
        sign = "<=" if self.most else ">="
        return (
            f"| {self.name} | {middle:.2f} | {min(found):.2f} to {max(found):.2f} | {sign} {self.goal} | "
            f"{'pass' if met else '**short**'} |"
        )


IMAGE = (
    Target("results a second / bare `session.run`", lambda r: r["edge"].per_s / r["bare"].per_s, 0.95),
    Target("results a second / tutorial", lambda r: r["edge"].per_s / r["tutorial"].per_s, 1.15),
    Target("processor time a frame / bare", lambda r: r["edge"].cpu_ms / r["bare"].cpu_ms, 1.15, most=True),
)
LATENCY = (
    Target(
        "latency added to the inference, 10 frames a second / tutorial",
        lambda r: r["edge"].added_ms / r["tutorial"].added_ms,
        0.6,
        most=True,
    ),
)
TINY = (
    Target("results a second / tutorial", lambda r: r["edge"].per_s / r["tutorial"].per_s, 10.0),
    Target("with `--batch 64` / tutorial", lambda r: r["batch"].per_s / r["tutorial"].per_s, 16.0),
)
START = (Target("start to the first result / tutorial", lambda r: r["edge"] / r["tutorial"], 0.85, most=True),)


def turn_about(contenders: dict[str, Callable[[], Any]], rounds: int, shares: list[float]) -> list[dict[str, Any]]:
    """Every contender once in each round, in turning order."""
    found = []
    for number in range(rounds):
        names = list(contenders) if number % 2 == 0 else list(reversed(contenders))
        shares.append(busy())
        done = {name: contenders[name]() for name in names}
        found.append(done)
        print(".", end="", file=sys.stderr, flush=True)
    return found


def figures(rounds: Sequence[dict[str, Any]], *, beside: bool = False) -> str:
    """The medians behind the ratios; `beside`: what was added to the inference, too."""
    lines = []
    for name in rounds[0]:
        of = [r[name] for r in rounds]
        if isinstance(of[0], float):
            lines.append(f"{name} {statistics.median(of):.3f} s")
            continue
        keys = ("per_s", "cpu_ms", "median_ms", "added_ms")
        per_s, cpu, late, added = (statistics.median(getattr(f, k) for f in of) for k in keys)
        rest = f", {added:.2f} of them beside the inference" if beside else ""
        lines.append(f"{name} {per_s:.1f}/s, {cpu:.3f} ms of processor, {late:.2f} ms late{rest}")
    return "; ".join(lines)


Contenders = dict[str, Callable[[], Any]]
Part = tuple[str, tuple[Target, ...], Contenders]
"""Title, targets, and what runs turn about."""


def contest(folder: Path, port: int, options: argparse.Namespace) -> str:
    """Runs everything; the table as Markdown."""
    image, tiny = Stage(port, models.image(folder / "image.onnx")), Stage(port, models.tiny(folder / "tiny.onnx"))
    image.edge_run("frames@0x30")  # a file that was never seen is tried in a child process first
    few = 3 if options.quick else 1
    seconds, frames, slow = 6 / few, 300 // few, 60 // few
    parts: list[Part] = [
        (
            "image model, as fast as it goes",
            IMAGE,
            {
                "bare": lambda: image.bare(seconds),
                "tutorial": lambda: image.tutorial(f"frames@0x{frames}"),
                "edge": lambda: image.edge_run(f"frames@0x{frames}"),
            },
        ),
        (
            "image model, a camera of 10 frames a second",
            LATENCY,
            {
                "tutorial": lambda: image.tutorial(f"frames@10x{slow}"),
                "edge": lambda: image.edge_run(f"frames@10x{slow}"),
            },
        ),
        ("tiny model, as fast as it goes", TINY, fast_rows(tiny, few)),
        (
            "cold start, image model",
            START,
            {"tutorial": lambda: image.start_s(ours=False), "edge": lambda: image.start_s(ours=True)},
        ),
    ]
    return played(parts, options.rounds)


def over_another_broker(folder: Path, port: int, options: argparse.Namespace) -> str:
    """Runs the tiny model, for which the way to the broker is most of it; the table as Markdown."""
    tiny = Stage(port, models.tiny(folder / "tiny.onnx"))
    contenders = fast_rows(tiny, 3 if options.quick else 1)
    return played([(f"tiny model over {options.broker}, as fast as it goes", TINY, contenders)], options.rounds)


def fast_rows(tiny: Stage, few: int) -> Contenders:
    """A tenth of a millisecond and less for each: the tutorial is given a quarter of the rows."""
    tiny.edge_run("rows@0x30")  # a file that was never seen is tried in a child process first
    rows = 12_000 // few
    return {
        "bare": lambda: tiny.bare(2 / few),
        "tutorial": lambda: tiny.tutorial(f"rows@0x{rows // 4}"),
        "edge": lambda: tiny.edge_run(f"rows@0x{rows}"),
        "batch": lambda: tiny.edge_run(f"rows@0x{2 * rows}", "--batch", "64"),
    }


def played(parts: Sequence[Part], times: int) -> str:
    """The table as Markdown, and the figures behind it."""
    lines = ["| target | ratio | spread | goal | |", "|-|-|-|-|-|"]
    notes = []
    shares: list[float] = []
    for title, targets, contenders in parts:
        rounds = turn_about(contenders, times, shares)
        lines += [f"| **{title}** | | | | |", *(t.row(rounds) for t in targets)]
        notes.append(f"- {title}: {figures(rounds, beside=targets is LATENCY)}.")
    return "\n".join([*lines, "", *notes, "", description(shares)])


def main() -> None:
    """Parses the options, prints the table, writes it where it is asked to."""
    parser = argparse.ArgumentParser(prog="flow", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a third of everything: to see that it works")
    parser.add_argument("--broker", choices=("mosquitto", *OTHERS), default="mosquitto")
    parser.add_argument("--write", type=Path, metavar="README.md", help="puts the table between its marks")
    options = parser.parse_args()
    if options.broker == "mosquitto":
        hold(contest, options, BEGIN, END)
    else:
        begin, end = (mark.replace("flow", f"flow over {options.broker}") for mark in (BEGIN, END))
        hold(over_another_broker, options, begin, end, options.broker)


if __name__ == "__main__":
    main()
