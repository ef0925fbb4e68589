"""The spool from empty to a million results: what one more costs, and what a start and the way out cost."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from flow import models
from flow.ear import Ear
from support.spoolfiles import crashed_copy

from scale.life import edge_run, flags
from scale.plot import Panel, Plot, Series
from scale.quiet import Quiet

DEPTHS = {"0": 0, "1k": 1_000, "10k": 10_000, "100k": 100_000, "1M": 1_000_000}
MOST = max(DEPTHS.values())
FILL = Path(__file__).with_name("spool_fill.py")
SPOOL = "bench.tiny.mqtt.spool"
ROOM = ("--spool-max", "8GB")
DRAINED = 15_000
"""So many results leave before the rate is told."""
PATIENCE_S = 120.0


def measure(folder: Path, port: int, few: int, quiet: Quiet) -> Plot:
    """One process fills the spool; edge-run finds a copy of its files at each depth, as a kill would leave them."""
    model = models.tiny(folder / "tiny.onnx")
    example(folder, model, port)
    depths = {word: depth for word, depth in DEPTHS.items() if depth * few <= MOST}
    found: list[dict[str, Any]] = []
    (folder / "fill").mkdir()
    file = folder / "fill" / SPOOL
    command = [sys.executable, FILL, file, folder / "payload", *map(str, depths.values())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as fill:
        assert fill.stdin is not None
        assert fill.stdout is not None
        for depth in depths.values():
            filled = json.loads(fill.stdout.readline())
            state = folder / "state"
            crashed_copy(file, state / SPOOL)
            forget(state)
            quiet()
            found.append({**filled, **_life(model, state, port, depth)})
            shutil.rmtree(state)
            fill.stdin.write("\n")
            fill.stdin.flush()

    def line(name: str, figure: str) -> Series:
        return Series(name, tuple(one[figure] for one in found))

    panels = (
        Panel("Append, us a result", (line("passed", "append_us"), line("processor", "append_cpu_us"))),
        Panel("Drained, results a second", (line("drained", "per_s"),)),
        Panel("Start, s", (line("to `online`", "online_s"), line("to the first result", "first_s"))),
        Panel("Memory, MB", (line("edge-run", "peak_mb"), line("the spool alone", "memory_mb"))),
        Panel("On disk, MB", (line("files", "disk_mb"),), log=True),
    )
    return Plot("spool-depth", "results in the spool", tuple(depths), panels)


def example(folder: Path, model: Path, port: int) -> None:
    """The bytes of a real result."""
    arguments = [*flags(model, folder / "first", port), "--source", "bench:rows@0x1"]
    with contextlib.closing(Ear(port, f"edge/bench/{model.stem}/result")) as ear, edge_run(arguments):
        (folder / "payload").write_bytes(ear.hear(PATIENCE_S)[1])


def forget(state: Path) -> None:
    """The system writes the files out and keeps nothing of them in memory: as after a power cut."""
    for path in state.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _life(model: Path, state: Path, port: int, depth: int) -> dict[str, float | None]:
    topic = f"edge/bench/{model.stem}"
    with (
        contextlib.closing(Ear(port, f"{topic}/status")) as status,
        contextlib.closing(Ear(port, f"{topic}/result")) as results,
    ):
        began = time.time()
        with edge_run([*flags(model, state, port), *ROOM]) as life:
            while True:
                came, said = status.hear(PATIENCE_S)
                if said == b"online" and came > began + 0.05:  # not the last life's, which is retained
                    break
            found: dict[str, float | None] = {"online_s": came - began, "first_s": None, "per_s": None}
            if depth:
                first, _ = results.hear(PATIENCE_S)
                count = min(depth, DRAINED) - 1
                last = first
                for _ in range(count):
                    last, _ = results.hear(PATIENCE_S)
                found.update(first_s=first - began, per_s=count / (last - first))
            return {**found, "peak_mb": life.peak_mb()}
