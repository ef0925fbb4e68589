"""What the figures were taken on, and whether it had nothing else to do."""

from __future__ import annotations

import os
import platform
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

BUSY_MOST = 0.1


def busy(seconds: float = 0.5) -> float:
    """The share of all cores that others use, measured while nothing of ours runs."""
    before = _ticks()
    time.sleep(seconds)
    after = _ticks()
    total = sum(after) - sum(before)
    idle = after[3] + after[4] - before[3] - before[4]
    return 1 - idle / total if total else 0.0


def _ticks() -> list[int]:
    return [int(n) for n in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]


def description(shares: list[float]) -> str:
    """A line for the table: machine, versions, and how busy it was between the runs."""
    names = ("edge-run", "onnxruntime", "numpy", "paho-mqtt", "msgspec", "opencv-python-headless")
    versions = ", ".join(f"{n} {metadata.version(n)}" for n in names)
    worst = max(shares)
    idle = "idle" if worst <= BUSY_MOST else "NOT IDLE: take these figures with care"
    return (
        f"{platform.machine()}, {_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"{versions}; {datetime.now(UTC):%Y-%m-%d}. "
        f"Between the runs others used at most {worst:.0%} of the cores: {idle}."
    )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown processor"
    )
