"""edge-run processes on one broker: what they do together, and what each of them costs."""

from __future__ import annotations

import contextlib
import json
import statistics
import time
from datetime import datetime
from pathlib import Path

from flow import models
from flow.ear import Ear

from scale.life import Life, edge_run, flags
from scale.plot import Panel, Plot, Series
from scale.quiet import Quiet

COUNTS = (1, 2, 4, 8, 16)
PACE = 20
"""Results a second of each process, where they are paced."""
PATIENCE_S = 60.0
ENDLESS = 100_000_000


def measure(folder: Path, port: int, few: int, quiet: Quiet) -> Plot:
    """Each number of processes twice: as fast as they go, and at a sensor's pace."""
    model = models.tiny(folder / "tiny.onnx")
    seconds = 4 / few
    total, middle, late, resident, shared, cpu = ([] for _ in range(6))
    for count in COUNTS:
        quiet()
        with _processes(folder, model, port, count, rate=0) as (ear, _):
            total.append(_count(ear, seconds) / seconds)
        quiet()
        with _processes(folder, model, port, count, rate=PACE) as (ear, lives):
            _hear(ear, 0.5)
            before = sum(life.cpu_s() for life in lives)
            heard = _hear(ear, seconds)
            cpu.append((sum(life.cpu_s() for life in lives) - before) / len(heard) * 1e3)
            memory = [life.memory_mb() for life in lives]
        times = sorted(heard)
        middle.append(statistics.median(times) * 1e3)
        late.append(times[int(len(times) * 0.99)] * 1e3)
        resident.append(statistics.mean(rss for rss, _ in memory))
        shared.append(statistics.mean(pss for _, pss in memory))
    panels = (
        Panel("Results a second, as fast as they go", (Series("all together", tuple(total)),)),
        Panel(f"Latency at {PACE}/s each, ms", (Series("median", tuple(middle)), Series("p99", tuple(late)))),
        Panel("Memory of each, MB", (Series("resident", tuple(resident)), Series("proportional", tuple(shared)))),
        Panel(f"CPU of a result at {PACE}/s each, ms", (Series("all threads", tuple(cpu)),)),
    )
    return Plot("sources", "processes", tuple(map(str, COUNTS)), panels)


@contextlib.contextmanager
def _processes(folder: Path, model: Path, port: int, count: int, rate: int):  # type: ignore[no-untyped-def]
    """All of them, once each has given a result, and an ear for them all."""
    with contextlib.closing(Ear(port, f"edge/+/{model.stem}/result")) as ear, contextlib.ExitStack() as stack:
        lives: list[Life] = []
        for number in range(count):
            source = ["--source", f"bench:rows@{rate}x{ENDLESS}"]
            arguments = flags(model, folder / f"state{number}", port, device=f"bench{number}") + source
            lives.append(stack.enter_context(edge_run(arguments)))
        waited_for = {f"bench{number}" for number in range(count)}
        while waited_for:
            waited_for.discard(json.loads(ear.hear(PATIENCE_S)[1])["device"])
        yield ear, lives


def _count(ear: Ear, seconds: float) -> int:
    """Results that come in so many seconds: to look into them would take the processes' time."""
    count, end = 0, time.time() + seconds
    while ear.hear(PATIENCE_S)[0] < end:
        count += 1
    return count


def _hear(ear: Ear, seconds: float) -> list[float]:
    """Seconds from each sample to its result at the subscriber, of those that come in so many seconds."""
    found = []
    end = time.time() + seconds
    while True:
        came, said = ear.hear(PATIENCE_S)
        if came >= end:
            return found
        found.append(came - datetime.fromisoformat(json.loads(said)["time"]).timestamp())
