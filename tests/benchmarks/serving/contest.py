"""Cases in turn, each under the load of one process that speaks plain sockets, and what came of them."""

from __future__ import annotations

import http.client
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from support.peers import Server

from serving.contenders import Protocol

LOAD = Path(__file__).with_name("load.py")


@dataclass(frozen=True)
class Case:
    """One line of the table: who is asked, how, for which model, and on how many connections at once."""

    server: Server
    protocol: Protocol
    model: str
    array: Any
    connections: int = 1


@dataclass
class Found:
    """What the rounds of one case have shown."""

    per_s: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Target:
    """Case `own` must be at least `goal` times as fast as case `other`, by requests a second."""

    title: str
    own: str
    other: str
    goal: float

    def row(self, found: dict[str, Found]) -> str:
        """A line of the table: the median of the rounds' ratios, and what of it is processor time."""
        own, other = found[self.own], found[self.other]
        ratios = [a / b for a, b in zip(own.per_s, other.per_s, strict=True)]
        spent = statistics.median(other.cpu_us) / statistics.median(own.cpu_us)
        return ratio_row(self.title, ratios, self.goal, spent)


def ratio_row(
    title: str, ratios: Sequence[float], goal: float, spent: float | None = None, *, most: bool = False
) -> str:
    """A line of the table of targets. `spent`: how many times less processor time a request takes."""
    middle = statistics.median(ratios)
    met = middle <= goal if most else middle >= goal
    cpu = f"{spent:.2f}" if spent is not None else ""
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}" if len(ratios) > 1 else ""
    verdict = "pass" if met else "**short**"
    return f"| {title} | {middle:.2f} | {spread} | {'<=' if most else '>='} {goal} | {verdict} | {cpu} |"


def figures_row(name: str, found: Found) -> str:
    """A line of the table of figures."""
    rate, cpu = statistics.median(found.per_s), statistics.median(found.cpu_us)
    return f"| {name} | {rate:.0f} | {min(found.per_s):.0f} to {max(found.per_s):.0f} | {cpu:.0f} |"


def check(case: Case, wanted: Any) -> None:
    """Ends the benchmark where the server does not answer what the engine says: `wanted`, or the best of it first."""
    head, _, body = case.protocol.request(case.server, case.model, case.array).partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    connection = http.client.HTTPConnection("127.0.0.1", case.server.port, timeout=60)
    connection.request("POST", first.split()[1], body, headers)
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"{case.server.name} answers {answer.status}: {said[:500]!r}")
    numbers = case.protocol.numbers(said)
    if isinstance(numbers[0], dict):
        numbers, wanted = [p["score"] for p in numbers], np.sort(wanted)[::-1][: len(numbers)]
    if not np.allclose(numbers, wanted, rtol=1e-4, atol=1e-6):
        raise SystemExit(f"{case.server.name} answers {numbers}, and the engine says {wanted}")


def load(case: Case, seconds: float, folder: Path) -> tuple[float, float]:
    """Requests answered with 200 a second, and microseconds of the server's processor time that each took."""
    file = folder / "request.bin"
    file.write_bytes(case.protocol.request(case.server, case.model, case.array))
    command = [sys.executable, LOAD, str(case.server.port), str(case.connections), str(seconds), str(file)]
    before = case.server.cpu_s()
    said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    if set(said["statuses"]) != {"200"}:
        raise SystemExit(f"{case.server.name} answers {said['statuses']}")
    asked = said["per_s"] * (seconds + min(1.0, seconds / 4))  # the client warms up for a moment
    return float(said["per_s"]), (case.server.cpu_s() - before) / asked * 1e6


def measure(
    cases: dict[str, Case], rounds: int, seconds: float, folder: Path, between: Callable[[], None]
) -> dict[str, Found]:
    """Every case in every round, turn about; `between` is called before each round."""
    found = {name: Found() for name in cases}
    for number in range(rounds):
        between()
        for name in list(cases) if number % 2 else list(reversed(cases)):
            per_s, cpu_us = load(cases[name], seconds, folder)
            found[name].per_s.append(per_s)
            found[name].cpu_us.append(cpu_us)
        print(".", end="", file=sys.stderr, flush=True)
    return found
