"""`python -m scale.spool_start --other EDGE_RUN`: a start with a million results in the spool, beside another build's.

Turn about, each from a copy of the same files, none of it in the system's memory, as after a power cut. From the start
of the process: to the first result of any kind, and to the first of a sample that was read by this life. A build that
sends all of the spool first comes to that much later: PATIENCE_S is waited for it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from flow import models
from flow.contest import HERE, running
from flow.ear import Ear
from flow.machine import busy, description
from integration.faults.broker import Broker
from integration.faults.service import find_edge_run
from support.spoolfiles import crashed_copy

from scale.life import flags
from scale.spool_depth import FILL, ROOM, SPOOL, example, forget

PATIENCE_S = 4.0
EACH = "bench:rows@50x100000"


def fill(folder: Path, payload: Path, depth: int) -> Path:
    """A spool of so many results, as a kill leaves it."""
    (folder / "fill").mkdir()
    file = folder / "fill" / SPOOL
    with subprocess.Popen(
        [sys.executable, FILL, file, payload, str(depth)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        print(json.loads(process.stdout.readline())["disk_mb"], "MB", file=sys.stderr)
        crashed_copy(file, folder / "spool" / SPOOL)
        process.stdin.write("\n")
        process.stdin.flush()
    return folder / "spool"


def start(program: str, plugin: Path, model: Path, spool: Path, port: int) -> tuple[float, float | None]:
    """Seconds to the first result, and to the first that is new; None where that took longer than is waited."""
    state = model.parent / "state"
    shutil.copytree(spool, state)
    forget(state)
    topic = f"edge/bench/{model.stem}/result"
    try:
        with contextlib.closing(Ear(port, topic)) as results:
            began = time.time()
            with running([program, *flags(model, state, port), *ROOM, "--source", EACH], plugin):
                came, said = results.hear(60)
                first = came - began
                while b'"replayed":true' in said and came - began < PATIENCE_S:
                    came, said = results.hear(60)
        return first, None if b'"replayed":true' in said else came - began
    finally:
        shutil.rmtree(state)


def main() -> None:
    """Prints the medians and what each round gave."""
    parser = argparse.ArgumentParser(prog="scale.spool_start", description=__doc__)
    parser.add_argument("--other", help="another build's edge-run")
    parser.add_argument("--other-plugin", type=Path, default=HERE / "plugin")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--depth", type=int, default=1_000_000)
    options = parser.parse_args()
    builds = {"this": (find_edge_run(), HERE / "plugin")}
    if options.other:
        builds["other"] = (options.other, options.other_plugin)
    shares = []
    with tempfile.TemporaryDirectory(prefix="edge-run-bench-") as place:
        folder = Path(place)
        broker = Broker(folder / "broker")
        broker.start()
        try:
            model = models.tiny(folder / "tiny.onnx")
            example(folder, model, broker.port)
            spools = {"full": fill(folder, folder / "payload", options.depth), "empty": folder / "empty"}
            spools["empty"].mkdir()
            found: dict[str, list[tuple[float, float | None]]] = {}
            for number in range(options.rounds):
                for who, build in list(builds.items())[:: 1 if number % 2 else -1]:
                    for name, spool in spools.items():
                        shares.append(busy())
                        found.setdefault(f"{who}, {name}", []).append(start(*build, model, spool, broker.port))
        finally:
            broker.close()
    for name, rounds in found.items():
        new = [n for _, n in rounds if n is not None]
        told = f"{statistics.median(new):.3f} s" if len(new) == len(rounds) else f"not in {PATIENCE_S:g} s"
        each = ", ".join("-" if n is None else f"{n:.2f}" for _, n in rounds)
        print(f"{name}: first {statistics.median(f for f, _ in rounds):.3f} s, first new {told} ({each})")
    print(description(shares))


if __name__ == "__main__":
    main()
