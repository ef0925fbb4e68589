"""`python -m serving`: the HTTP endpoint beside MLServer, LitServe and BentoML, one ONNX file, turn about.

    make bench-http [ARGS="--part tiny --rivals MLServer"]

Each server has an environment of its own below the cache folder, made at the first run, so that none carries the
others' packages. On a machine that is busy otherwise the rates say little; the processor time of a request says more.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from flow.machine import BUSY_MOST, busy
from support import onnxmodels
from support.marks import write_between
from support.peers import CACHE, ENGINE, RIVALS, edge_run, environment, pinned, started, version
from support.processes import free_port

from serving import contest, over_grpc
from serving.contenders import PREDICT, RIVALS_BY_NAME, V2_BINARY, V2_JSON
from serving.contest import Case, Found, Target

ROOT = Path(__file__).parents[3]
BEGIN, END = "<!-- http: begin -->", "<!-- http: end -->"
OURS, CONSTANT = "edge-run", "a constant"


class Contest:
    """The servers' environments, and what the parts have found so far."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self._options, self._folder = options, folder
        self.rivals = [RIVALS_BY_NAME[name] for name in options.rivals]
        self.ours = environment(options.cache, "edge-run-http-grpc", f"{ROOT}[http,vision,grpc]", ENGINE)
        subprocess.run([self.ours / "pip", "install", "--quiet", "--force-reinstall", "--no-deps", ROOT], check=True)
        self.bins = {rival.name: pinned(options.cache, *rival.packages) for rival in self.rivals}
        self.found: dict[str, Found] = {}
        self.targets: list[str] = []
        self.idle_mb: dict[str, float] = {}
        self.shares: list[float] = []
        self.notes: list[str] = []

    @contextlib.contextmanager
    def _servers(self, model: Path) -> Any:
        """By name, all at once: what is measured in turn has to be there in turn."""
        with contextlib.ExitStack() as stack:
            started = {OURS: stack.enter_context(edge_run(self.ours, model, self._folder))}
            for rival in self.rivals:
                started[rival.name] = stack.enter_context(rival.start(self.bins[rival.name], model, self._folder))
            time.sleep(2)
            yield started

    def _measure(self, cases: dict[str, Case], wanted: Any, unchecked: dict[str, Case] | None = None) -> None:
        for case in cases.values():
            contest.check(case, wanted)
        cases = {**cases, **(unchecked or {})}
        rounds, seconds = self._options.rounds, self._options.seconds
        found = contest.measure(cases, rounds, seconds, self._folder, lambda: self.shares.append(busy()))
        self.found.update(found)

    def tiny(self) -> None:
        """A model of some 6 us, so that all the time is the server's: a row of 64 numbers, 1 and 8 connections."""
        model = onnxmodels.scores(self._folder / "tiny.onnx")
        row = np.random.default_rng(1).normal(size=(1, 64)).astype(np.float32)
        with self._servers(model) as servers:
            self.idle_mb = {name: server.pss_mb() for name, server in servers.items()}
            cases = {}
            for many in (1, 8):
                named = f"tiny, {many} connection{'s' * (many > 1)}"
                for rival in self.rivals:
                    cases[f"{named}: {rival.name}"] = Case(servers[rival.name], rival.protocol, "tiny", row, many)
                cases[f"{named}: {OURS}"] = Case(servers[OURS], V2_JSON, "tiny", row, many)
                cases[f"{named}: {OURS}, `/predict`"] = Case(servers[OURS], PREDICT, "tiny", row, many)
            port = free_port()
            command = [sys.executable, RIVALS / "constant_server.py", str(port)]
            with started(CONSTANT, port, command, self._folder) as constant:
                beside = {f"tiny, 1 connection: {CONSTANT}": Case(constant, V2_JSON, "tiny", row)}
                self._measure(cases, _engine(model, row), beside)
        for many, goal in (("tiny, 1 connection", 3.3), ("tiny, 8 connections", 8.0)):
            for rival in self.rivals:
                self._target(many, OURS, rival.name, goal if rival.name == "MLServer" else 3.0)
        self._target("tiny, 1 connection", OURS, CONSTANT, 0.6)

    def image(self) -> None:
        """A tensor as large as MobileNetV2's input, through a model that costs next to nothing."""
        model = onnxmodels.mean(self._folder / "image.onnx")
        array = np.random.default_rng(2).random((1, 3, 224, 224), dtype=np.float32)
        with self._servers(model) as servers:
            cases = {
                f"image: {rival.name}": Case(servers[rival.name], rival.protocol, "image", array)
                for rival in self.rivals
            }
            cases[f"image: {OURS}"] = Case(servers[OURS], V2_JSON, "image", array)
            cases[f"image: {OURS}, binary"] = Case(servers[OURS], V2_BINARY, "image", array)
            self._measure(cases, _engine(model, array))
        for rival in self.rivals:
            self._target("image", OURS, rival.name, 1.3)
        for other in (OURS, *(rival.name for rival in self.rivals)):
            self._target("image", f"{OURS}, binary", other, 20.0 if other == "MLServer" else 2.5)

    def grpc(self) -> None:
        """The tiny model over gRPC, beside MLServer's and a C++ Triton."""
        folder = self._folder / "grpc"
        folder.mkdir()
        model = onnxmodels.scores(folder / "tiny.onnx")
        with over_grpc.servers(self._options.cache, self.ours, model, folder) as found:
            time.sleep(2)
            self.shares.append(busy())
            rates = over_grpc.measure(found, self._options.rounds, self._options.seconds, folder)
        for many in (1, 8):
            for other, goal in (("MLServer", 2.0), ("Triton", 0.5)):
                if (other, many) in rates:
                    ratios = [a / b for a, b in zip(rates[OURS, many], rates[other, many], strict=True)]
                    title = f"gRPC, tiny, {many} connection{'s' * (many > 1)}: {OURS} / {other}"
                    self.targets.append(contest.ratio_row(title, ratios, goal))
        self.notes.append(f"gRPC calls by connections: {over_grpc.figures(rates)}.")

    def _target(self, part: str, own: str, other: str, goal: float) -> None:
        target = Target(f"{part}: {own} / {other}", f"{part}: {own}", f"{part}: {other}", goal)
        self.targets.append(target.row(self.found))

    def table(self) -> str:
        """Everything that was found, as Markdown."""
        lines = ["| requests a second | ratio | spread | goal | | processor time, times less |", "|-|-|-|-|-|-|"]
        lines += self.targets
        for name, used in self.idle_mb.items():
            if name != OURS:
                ratio = [self.idle_mb[OURS] / used]
                lines.append(contest.ratio_row(f"idle memory (PSS): {OURS} / {name}", ratio, 0.5, most=True))
        lines += ["", "| | requests a second | range | CPU us each |", "|-|-|-|-|"]
        lines += [contest.figures_row(name, found) for name, found in self.found.items()]
        if self.idle_mb:
            told = ", ".join(f"{name} {used:.0f} MB" for name, used in self.idle_mb.items())
            lines += ["", f"Idle memory (PSS, with child processes): {told}."]
        return "\n".join([*lines, *(f"\n{note}" for note in self.notes), "", self._machine()])

    def _machine(self) -> str:
        who = [f"{OURS} {version(self.ours, 'edge-run')} (httptools {version(self.ours, 'httptools')})"]
        who += [" ".join(rival.packages[0].split("==")) for rival in self.rivals]
        worst = max(self.shares)
        idle = "idle" if worst <= BUSY_MOST else "NOT IDLE: take these figures with care"
        return (
            f"{', '.join(who)}; {ENGINE.replace('==', ' ')}; Python {platform.python_version()}, {os.cpu_count()} "
            f"cores; {self._options.rounds} rounds of {self._options.seconds:g} s; {datetime.now(UTC):%Y-%m-%d}. "
            f"Between the runs others used at most {worst:.0%} of the cores: {idle}."
        )


def _engine(model: Path, array: Any) -> Any:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": array})[0].ravel()


PARTS = {"tiny": Contest.tiny, "image": Contest.image, "grpc": Contest.grpc}


def main() -> None:
    """Parses the options, prints the tables, writes them where it is asked to."""
    parser = argparse.ArgumentParser(prog="serving", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--part", choices=PARTS, action="append", help="repeatable [all]")
    parser.add_argument("--rivals", nargs="*", choices=RIVALS_BY_NAME, default=list(RIVALS_BY_NAME))
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--quick", action="store_true", help="a quarter of everything: to see that it works")
    parser.add_argument("--write", type=Path, metavar="README.md", help="puts the tables between their marks")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 2, 0.5
    with tempfile.TemporaryDirectory(prefix="edge-run-bench-") as folder:
        found = Contest(options, Path(folder))
        for part in options.part or PARTS:
            PARTS[part](found)
    text = found.table()
    print(f"\n{text}")
    if options.write is not None:
        write_between(options.write, BEGIN, END, text)


if __name__ == "__main__":
    main()
