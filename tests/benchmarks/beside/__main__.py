"""`python -m beside --other EDGE_RUN`: this build beside another, every figure in one run, turn about, medians.

    make bench-beside OTHER=/path/to/other/bin/edge-run OTHER_PLUGIN=/path/to/its/tests/benchmarks/flow/plugin

The ratio is this build's by the other's: of rates more is better, of times, processor time and memory less.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from flow import models
from flow.contest import Stage, running
from flow.machine import busy, description
from flow.stage_hand import hold
from integration.faults.service import find_edge_run
from serving import contest as serving
from serving.contenders import V2_JSON, V2_PICTURE
from support.peers import Server
from support.processes import free_port, until

from beside import rows

BEGIN, END = "<!-- beside: begin -->", "<!-- beside: end -->"


def idle_pss(stage: Stage, *flags: str) -> float:
    """Megabytes of a run that waits for inputs, as the kernel shares them out."""
    command = [
        stage.program, "--model", str(stage.model), "--device", "idle", "--mqtt", f"mqtt://127.0.0.1:{stage.port}",
        "--state-dir", str(stage.model.parent / "idle"), *flags,
    ]  # fmt: skip
    with running(command, stage.plugin) as process:
        time.sleep(4)
        return Server("edge-run", 0, process).pss_mb()


@contextlib.contextmanager
def served(stage: Stage, *flags: str) -> Iterator[Server]:
    """The HTTP endpoint of this build, ready."""
    port = free_port()
    command = [stage.program, "--model", str(stage.model), "--mqtt", "none", "--http", str(port),
               "--state-dir", str(stage.model.parent / "http"), *flags]  # fmt: skip
    with running(command, stage.plugin) as process:
        until(lambda: _answers(port), "the endpoint answers")
        yield Server("edge-run", port, process)


def _answers(port: int) -> bool:
    asked = ["curl", "-sf", f"http://127.0.0.1:{port}/v2/health/ready"]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


def asked(stage: Stage, connections: int, seconds: float, folder: Path) -> float:
    """v2 JSON requests a second."""
    with served(stage) as server:
        case = serving.Case(server, V2_JSON, "tiny", np.full((1, 64), 0.5, np.float32), connections)
        return serving.load(case, seconds, folder)[0]


def asked_pictures(stage: Stage, seconds: float, folder: Path, *flags: str) -> float:
    """v2 binary requests a second for the picture's model, on eight connections."""
    with served(stage, *flags) as server:
        case = serving.Case(server, V2_PICTURE, "image", np.full((1, 3, 224, 224), 0.5, np.float32), 8)
        return serving.load(case, seconds, folder)[0]


def measures(
    stages: dict[str, tuple[Stage, Stage]], folder: Path, few: int
) -> dict[str, dict[str, Callable[[], float]]]:
    """What is measured, by name: for each build how."""
    frames, many, slow, trips = 300 // few, 12_000 // few, 60 // few, 200 // few

    def each(how: Callable[[Stage, Stage], float]) -> dict[str, Callable[[], float]]:
        return {name: (lambda pair=pair: how(*pair)) for name, pair in stages.items()}  # type: ignore[misc]

    trip: dict[str, rows.Trip] = {}

    def median_trip(image: Stage, tiny: Stage) -> float:
        trip[tiny.program] = rows.edge_run(tiny, trips)
        return trip[tiny.program].median_ms

    found = {
        "image model, results a second": each(lambda i, t: i.edge_run(f"frames@0x{frames}").per_s),
        "tiny model, results a second": each(lambda i, t: t.edge_run(f"rows@0x{many}").per_s),
        "tiny model with `--batch 64`": each(lambda i, t: t.edge_run(f"rows@0x{2 * many}", "--batch", "64").per_s),
        "added latency at 10 frames a second, ms": each(lambda i, t: i.edge_run(f"frames@10x{slow}").added_ms),
        "a row over MQTT and back, 20 a second, median ms": each(median_trip),
        "the same, 99 of 100, ms": each(lambda i, t: trip[t.program].p99_ms),
        "the same, processor ms": each(lambda i, t: trip[t.program].cpu_ms),
        "HTTP v2 JSON, 1 connection, a second": each(lambda i, t: asked(t, 1, 4 / few, folder)),
        "HTTP v2 JSON, 8 connections, a second": each(lambda i, t: asked(t, 8, 4 / few, folder)),
        "start to the first result, image model, s": each(lambda i, t: i.start_s(ours=True)),
        "idle memory, MB": each(lambda i, t: idle_pss(t)),
        "idle memory with `--http`, MB": each(lambda i, t: idle_pss(t, "--http", str(free_port()))),
    }
    image, other = stages["this"][0], stages["other"][0]
    side_by_side = ("--instances", "2")  # which the other one may not know: it runs as it does without
    found["pictures' files, `--instances 2`, results a second"] = {
        "this": lambda: image.files(frames, *side_by_side).per_s,
        "other": lambda: other.files(frames).per_s,
    }
    found["HTTP v2 binary, image model, 8 connections, `--instances 2`, a second"] = {
        "this": lambda: asked_pictures(image, 4 / few, folder, *side_by_side),
        "other": lambda: asked_pictures(other, 4 / few, folder),
    }
    found["a row over MQTT and back, 20 a second, median ms"]["script"] = lambda: (
        rows.script(stages["this"][1], trips, sys.executable).median_ms
    )
    return found


def table(found: dict[str, list[dict[str, float]]], shares: list[float]) -> str:
    """As Markdown."""
    lines = ["| measure | this build | the other | ratio | spread | a script |", "|-|-|-|-|-|-|"]
    for name, rounds in found.items():
        this, other = (statistics.median(r[k] for r in rounds) for k in ("this", "other"))
        ratios = [r["this"] / r["other"] for r in rounds]
        beside = f"{statistics.median(r['script'] for r in rounds):.3g}" if "script" in rounds[0] else ""
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        lines.append(f"| {name} | {this:.4g} | {other:.4g} | {statistics.median(ratios):.2f} | {spread} | {beside} |")
    return "\n".join([*lines, "", description(shares)])


def contest(folder: Path, port: int, options: argparse.Namespace) -> str:
    """Runs everything."""
    builds: dict[str, dict[str, Any]] = {
        "this": {"program": find_edge_run()},
        "other": {"program": options.other, **({"plugin": options.other_plugin} if options.other_plugin else {})},
    }
    stages = {}
    for name, build in builds.items():  # each its own folder: neither takes the graphs of the other away
        own = folder / name
        own.mkdir()
        image, tiny = models.image(own / "image.onnx"), models.tiny(own / "tiny.onnx")
        pair = stages[name] = Stage(port, image, **build), Stage(port, tiny, **build)
        pair[0].edge_run("frames@0x30")  # a file that was never seen is tried in a child process first
        pair[1].edge_run("rows@0x30")
    found: dict[str, list[dict[str, float]]] = {}
    shares: list[float] = []
    for number in range(options.rounds):
        for name, contenders in measures(stages, folder, 3 if options.quick else 1).items():
            if options.only and options.only not in name:
                continue
            shares.append(busy())
            order = list(contenders) if number % 2 == 0 else list(reversed(contenders))
            found.setdefault(name, []).append({who: contenders[who]() for who in order})
            print(".", end="", file=sys.stderr, flush=True)
    return table(found, shares)


def main() -> None:
    """Parses the options, prints the table, writes it where it is asked to."""
    parser = argparse.ArgumentParser(prog="beside", description=__doc__)
    parser.add_argument("--other", required=True, help="another build's edge-run")
    parser.add_argument("--other-plugin", type=Path, help="its `bench:` source, where the seam has changed since")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="a part of the measure's name")
    parser.add_argument("--quick", action="store_true", help="a third of everything: to see that it works")
    parser.add_argument("--write", type=Path, metavar="README.md", help="puts the table between its marks")
    options = parser.parse_args()
    hold(contest, options, BEGIN, END)


if __name__ == "__main__":
    main()
