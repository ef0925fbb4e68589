"""A life of the installed edge-run beside a broker, and what /proc says of it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flow import contest
from integration.faults.service import find_edge_run

PLUGIN = Path(contest.__file__).parent / "plugin"
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Life:
    """A process."""

    process: subprocess.Popen[bytes]

    def cpu_s(self) -> float:
        """Processor time so far, of all threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * TICK_S

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
    """From its start to its end by SIGKILL. What it said is shown where it gave nothing in time."""
    environ = {**os.environ, "PYTHONPATH": str(PLUGIN)}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen([find_edge_run(), *arguments], env=environ, stdout=said, stderr=said)
        try:
            yield Life(process)
        except TimeoutError:
            said.seek(0)
            raise SystemExit(f"edge-run gave nothing: {said.read()[-2000:].decode()}") from None
        finally:
            process.kill()
            process.wait()
