"""The contenders as processes, each measured from outside in the same way: by what a subscriber hears, and by /proc."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from integration.faults.service import find_edge_run

from flow import models
from flow.ear import Ear, results_in

HERE = Path(__file__).parent
PATIENCE_S = 60.0
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Figures:
    """Of one run: things a second, processor time for each, milliseconds from a thing to its result, and how many
    of these were not the inference itself: from one process to the next that differs by more than what is added."""

    per_s: float
    cpu_ms: float
    median_ms: float
    added_ms: float = 0.0


@dataclass(frozen=True)
class Stage:
    """The broker's port, the model that all run, and the `edge-run` that is meant, with the `bench:` source for it."""

    port: int
    model: Path
    program: str = field(default_factory=find_edge_run)
    plugin: Path = HERE / "plugin"

    def bare(self, seconds: float) -> Figures:
        """`session.run` alone."""
        command = [sys.executable, HERE / "rivals" / "bare.py", self.model, str(seconds)]
        return Figures(**json.loads(subprocess.run(command, check=True, capture_output=True).stdout))

    def tutorial(self, things: str) -> Figures:
        """The loop that a tutorial shows."""
        topic = "tutorial/result"
        return self._heard(self._tutorial(things, topic), topic, _count(things))

    def edge_run(self, things: str, *flags: str) -> Figures:
        """The installed `edge-run`, with its defaults beside these flags."""
        return self._heard([*self._edge_run(f"bench:{things}"), *flags], self._topic, _count(things))

    def files(self, count: int, *flags: str) -> Figures:
        """`edge-run` on a folder of JPEGs of 640 x 480, as fast as they go."""
        source = str(models.pictures(self.model.parent / "pictures", count))
        return self._heard([*self._edge_run(source), *flags], self._topic, count)

    def start_s(self, *, ours: bool) -> float:
        """From the start of the process to the result of a picture's file at the subscriber."""
        picture = str(models.picture(self.model.with_name("picture.jpg")))
        command, topic = (
            (self._edge_run(picture), self._topic)
            if ours
            else (self._tutorial(picture, "tutorial/result"), "tutorial/result")
        )
        with contextlib.closing(Ear(self.port, topic)) as ear:
            started = time.time()
            with running(command, self.plugin):
                return ear.hear(PATIENCE_S)[0] - started

    @property
    def _topic(self) -> str:
        return f"edge/bench/{self.model.stem}/result"

    def _tutorial(self, things: str, topic: str) -> list[str]:
        return [sys.executable, str(HERE / "rivals" / "tutorial.py"), str(self.model), things, str(self.port), topic]

    def _edge_run(self, source: str) -> list[str]:
        return [
            self.program,
            *("--model", str(self.model), "--source", source, "--device", "bench"),
            *("--mqtt", f"mqtt://127.0.0.1:{self.port}", "--state-dir", str(self.model.parent / "state")),
        ]

    def _heard(self, command: list[str], topic: str, count: int) -> Figures:
        """The first tenth warms up."""
        warm = max(1, count // 10)
        with contextlib.closing(Ear(self.port, topic)) as ear, running(command, self.plugin) as process:
            first = ear.hear_results(warm, PATIENCE_S)
            cpu_s = cpu_time_s(process.pid)
            rest = count - sum(results_in(said) for _, said in first)
            heard = ear.hear_results(rest, PATIENCE_S)
            cpu_s = cpu_time_s(process.pid) - cpu_s
        results = [(came, result) for came, said in heard for result in _results(said)]
        times = [(came - datetime.fromisoformat(result["time"]).timestamp()) * 1e3 for came, result in results]
        added = [late - result["timing_ms"]["infer"] for late, (_, result) in zip(times, results, strict=True)]
        passed = heard[-1][0] - first[-1][0]
        cpu_ms = cpu_s / len(results) * 1e3
        return Figures(len(results) / passed, cpu_ms, statistics.median(times), statistics.median(added))


def _results(said: bytes) -> list[dict[str, Any]]:
    found = json.loads(said)
    return found if isinstance(found, list) else [found]


def _count(things: str) -> int:
    return int(things.rpartition("x")[2])


@contextlib.contextmanager
def running(command: list[str], plugin: Path = HERE / "plugin") -> Iterator[subprocess.Popen[bytes]]:
    """From its start to its end by SIGKILL. What it said is shown where it gave nothing in time."""
    environment = {**os.environ, "PYTHONPATH": str(plugin)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is compiled
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=said)
        try:
            yield process
        except TimeoutError:
            said.seek(0)
            raise SystemExit(f"{command[0]} gave no result: {said.read()[-2000:].decode()}") from None
        finally:
            process.kill()
            process.wait()


def cpu_time_s(pid: int) -> float:
    """Processor time of a process so far, of all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S
