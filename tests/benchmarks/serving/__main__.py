"""The HTTP endpoint beside MLServer: the same ONNX file, the same session options, turn about.

    make bench-http        or, with PYTHONPATH=tests:tests/benchmarks: python -m serving [--rounds 7] [--seconds 3]

Each server has an environment of its own below the cache folder, made at the first run, so that neither carries the
other's packages. The load comes from one process that speaks plain sockets. Prints a Markdown table for README.md.
On a machine that is busy otherwise the rates say little; the server's CPU time for each request says more.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from support import onnxmodels
from support.peers import CACHE, Server, edge_run, environment, mlserver, version

ROOT = Path(__file__).parents[3]
LOAD = Path(__file__).with_name("load.py")


def json_request(model: str, array: Any, port: int) -> bytes:
    tensor = {"name": "x", "shape": array.shape, "datatype": "FP32", "data": array.ravel().tolist()}
    return _request(model, port, json.dumps({"inputs": [tensor]}).encode(), "application/json")


def binary_request(model: str, array: Any, port: int) -> bytes:
    tensor = {"name": "x", "shape": array.shape, "datatype": "FP32", "parameters": {"binary_data_size": array.nbytes}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return _request(
        model,
        port,
        head + array.tobytes(),
        "application/octet-stream",
        f"Inference-Header-Content-Length: {len(head)}\r\n",
    )


def _request(model: str, port: int, body: bytes, kind: str, more: str = "") -> bytes:
    head = (
        f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: {kind}\r\n{more}"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@dataclass
class Found:
    """What the rounds of one case have shown."""

    per_s: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)


def load(server: Server, request: bytes, connections: int, seconds: float, folder: Path) -> tuple[float, float]:
    """Requests answered with 200 a second, and microseconds of the server's CPU time that each took."""
    file = folder / "request.bin"
    file.write_bytes(request)
    command = [sys.executable, LOAD, str(server.port), str(connections), str(seconds), str(file)]
    before = server.cpu_s()
    said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    if set(said["statuses"]) != {"200"}:
        raise SystemExit(f"{server.name} answers {said['statuses']}")
    asked = said["per_s"] * (seconds + min(1.0, seconds / 4))  # the client warms up for a moment
    return float(said["per_s"]), (server.cpu_s() - before) / asked * 1e6


def measure(cases: dict[str, tuple[Server, bytes, int]], options: argparse.Namespace, folder: Path) -> dict[str, Found]:
    """Every case in every round, turn about."""
    found = {name: Found() for name in cases}
    for number in range(options.rounds):
        order = list(cases) if number % 2 else list(reversed(cases))
        for name in order:
            server, request, connections = cases[name]
            per_s, cpu_us = load(server, request, connections, options.seconds, folder)
            found[name].per_s.append(per_s)
            found[name].cpu_us.append(cpu_us)
    return found


def row(name: str, found: Found, base: Found | None = None, goal: str = "") -> str:
    rate, cpu = statistics.median(found.per_s), statistics.median(found.cpu_us)
    spread = f"{min(found.per_s):.0f} to {max(found.per_s):.0f}"
    ratio = f"{rate / statistics.median(base.per_s):.2f}" if base else ""
    less = f"{statistics.median(base.cpu_us) / cpu:.2f}" if base else ""
    return f"| {name} | {rate:.0f} | {spread} | {ratio} | {goal} | {cpu:.0f} | {less} |"


def compare(options: argparse.Namespace, folder: Path) -> None:
    """Runs everything and prints the table."""
    ours = environment(options.cache, "edge-run-http", f"{ROOT}[http,vision]")
    subprocess.run([ours / "pip", "install", "--quiet", "--force-reinstall", "--no-deps", ROOT], check=True)
    peer = environment(options.cache, "mlserver", "mlserver", "onnxruntime")
    print(f"edge-run {version(ours, 'edge-run')} (onnxruntime {version(ours, 'onnxruntime')}, uvicorn "
          f"{version(ours, 'uvicorn')}), MLServer {version(peer, 'mlserver')} (onnxruntime "
          f"{version(peer, 'onnxruntime')}), Python {sys.version.split()[0]}, {os.cpu_count()} cores, "
          f"load {os.getloadavg()[0]:.1f}, {options.rounds} rounds of {options.seconds} s\n")  # fmt: skip
    print("| requests a second | median | range | ratio | goal | CPU us each | times less |\n|-|-|-|-|-|-|-|")
    tiny = onnxmodels.scores(folder / "tiny.onnx")
    values = np.random.default_rng(1).normal(size=(1, 64)).astype(np.float32)
    with edge_run(ours, tiny, folder) as a, mlserver(peer, tiny, folder) as b:
        time.sleep(2)
        idle = a.pss_mb(), b.pss_mb()
        cases = {
            f"{s.name}, tiny model, JSON, {n} connection{'s' * (n > 1)}": (s, json_request("tiny", values, s.port), n)
            for n in (1, 8)
            for s in (b, a)
        }
        found = measure(cases, options, folder)
    names = list(cases)
    for other, own in zip(names[::2], names[1::2], strict=True):
        print(row(other, found[other]))
        print(row(own, found[own], found[other], "3 x MLServer"))
    image(options, folder, ours, peer)
    print(f"\nIdle memory (PSS): edge-run {idle[0]:.0f} MB, MLServer {idle[1]:.0f} MB, ratio {idle[0] / idle[1]:.2f} "
          "(goal 0.5)")  # fmt: skip


def image(options: argparse.Namespace, folder: Path, ours: Path, peer: Path) -> None:
    """A tensor as large as MobileNetV2's input, through a model that costs next to nothing."""
    model = onnxmodels.mean(folder / "image.onnx")
    values = np.random.default_rng(2).random((1, 3, 224, 224), dtype=np.float32)
    with edge_run(ours, model, folder) as a, mlserver(peer, model, folder) as b:
        cases = {
            "mlserver, image, JSON": (b, json_request("image", values, b.port), 1),
            "edge-run, image, JSON": (a, json_request("image", values, a.port), 1),
            "edge-run, image, binary": (a, binary_request("image", values, a.port), 1),
        }
        found = measure(cases, options, folder)
    base, own, binary = (found[name] for name in cases)
    print(row("mlserver, image, JSON", base))
    print(row("edge-run, image, JSON", own, base, "1.3 x MLServer"))
    print(row("edge-run, image, binary", binary, own, "2.5 x our JSON"))
    print(row("edge-run, image, binary", binary, base, "2.5 x MLServer's JSON"))


def main() -> None:
    """Parses the options."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--cache", type=Path, default=CACHE)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compare(options, Path(folder))


if __name__ == "__main__":
    main()
