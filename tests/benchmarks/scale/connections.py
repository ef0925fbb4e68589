"""HTTP requests a second against the number of connections that ask again as soon as they are answered."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from flow import models
from integration.faults.service import find_edge_run
from serving.contenders import V2_JSON
from serving.contest import LOAD
from support import peers

from scale.model_time import fitted
from scale.plot import Panel, Plot, Series
from scale.quiet import Quiet

COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
QUEUE = 32
"""edge-run's default: so many requests wait, more are refused."""
SLOW_S = 2e-3


def measure(folder: Path, port: int, few: int, quiet: Quiet) -> Plot:
    """Servers one after the other: of a model that costs nothing, and of one that takes 2 ms."""
    slow = fitted(folder, SLOW_S)
    served = {
        "6 us": (models.tiny(folder / "tiny.onnx"), True),
        "2 ms": (slow, True),
        "2 ms, Retry-After ignored": (slow, False),
    }
    found = {name: _served(model, folder, 2 / few, heeds, quiet) for name, (model, heeds) in served.items()}

    def lines(figure: str) -> tuple[Series, ...]:
        return tuple(
            Series(name, tuple(every[n][figure] if n in every else None for n in COUNTS))
            for name, every in found.items()
        )

    panels = (
        Panel("Answered a second", lines("per_s"), log=True),
        Panel("Refused (503), %", lines("refused")),
        Panel("Median, ms", lines("median_ms"), log=True),
        Panel("p99, ms", lines("p99_ms"), log=True),
        Panel("Memory (PSS), MB", lines("pss_mb")),
    )
    return Plot("connections", "connections", tuple(map(str, COUNTS)), panels)


def _served(model: Path, folder: Path, seconds: float, heeds: bool, quiet: Quiet) -> dict[int, dict[str, Any]]:
    row = np.random.default_rng(1).normal(size=(1, 64)).astype(np.float32)
    file, found = folder / "request.bin", {}
    bins = Path(find_edge_run()).parent
    with peers.edge_run(bins, model, folder) as server:
        file.write_bytes(V2_JSON.request(server, model.stem, row))
        # Where nobody is refused, it is the same whether that is heeded.
        for count in COUNTS if heeds else [n for n in COUNTS if n >= QUEUE]:
            quiet()
            command = [sys.executable, LOAD, str(server.port), str(count), str(seconds), str(file)]
            command += ["heed"] * heeds
            said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            refused = said["statuses"].get("503", 0)
            if set(said["statuses"]) - {"200", "503"}:
                raise SystemExit(f"edge-run answers {said['statuses']}")
            share = 100 * refused / sum(said["statuses"].values())
            found[count] = {**said, "refused": share, "pss_mb": server.pss_mb()}
    return found
