"""A life of the installed edge-run beside a broker, and what /proc says of it."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flow import contest
from integration.faults.service import find_edge_run


@dataclass(frozen=True)
class Life:
    """A process."""

    process: subprocess.Popen[bytes]

    def cpu_s(self) -> float:
        """Processor time so far, of all threads."""
        return contest.cpu_time_s(self.process.pid)

    def memory_mb(self) -> tuple[float, float]:
        """Resident, and proportional: what several processes share is divided among them."""
        lines = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines()
        found = {line.split()[0]: float(line.split()[1]) / 1e3 for line in lines if " kB" in line}
        return found["Rss:"], found["Pss:"]

    def peak_mb(self) -> float:
        """The largest resident set so far."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(float(line.split()[1]) / 1e3 for line in lines if line.startswith("VmHWM:"))


def flags(model: Path, state: Path, port: int, *, device: str = "bench") -> list[str]:
    """What every life here is started with."""
    where = f"mqtt://127.0.0.1:{port}"
    return ["--model", str(model), "--device", device, "--mqtt", where, "--state-dir", str(state)]


@contextlib.contextmanager
def edge_run(arguments: list[str]) -> Iterator[Life]:
    """From its start to its end by SIGKILL."""
    with contest.running([find_edge_run(), *arguments]) as process:
        yield Life(process)
