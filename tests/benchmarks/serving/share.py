"""What the flow keeps while HTTP is hammered: results a second of a source at a fixed rate, and of one at full speed.

PYTHONPATH=tests:tests/benchmarks python -m serving.share [--seconds 6] [--rounds 3]
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from support import onnxmodels

from edge.app import assembly
from edge.data.sample import Sample
from edge.http.app import HttpServer
from edge.http.options import Served, ServerOptions
from edge.runtime.options import RunnerOptions
from edge.runtime.runner import Runner
from edge.telemetry.clock import SystemClock
from edge.telemetry.metrics import Metrics

HERE = Path(__file__).parent


class Paced:
    """A live source of one array, `rate` times a second; 0: as fast as it is read."""

    def __init__(self, payload: Any, rate: float) -> None:
        self.live = rate > 0
        self._payload, self._rate = payload, rate
        self._next = 0.0

    def open(self) -> None:
        self._next = time.monotonic()

    def read(self, timeout_s: float) -> Sample:
        if self._rate:
            self._next += 1 / self._rate
            time.sleep(max(0.0, self._next - time.monotonic()))
        return Sample(self._payload, "paced", time.monotonic_ns(), time.time_ns())

    def ack(self, sample: Sample) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Case:
    """A flow and the request that hammers beside it. `rate` 0: as fast as it goes."""

    title: str
    model: Path
    payload: Any
    rate: float
    request: bytes


def flow(case: Case, connections: int, share: float, seconds: float) -> dict[str, Any]:
    """Figures of one run."""
    loaded = assembly.load_file(case.model)
    metrics, clock, seq = Metrics(), SystemClock(), itertools.count(1)

    def pipeline() -> Any:
        return assembly.make_pipeline(loaded, "bench", assembly.PipelineOptions(boot="b", seq=seq))

    served = Served(
        loaded.manifest, loaded.engine, loaded.sha256, "0", pipeline, metrics, clock, dict, dict, source="paced"
    )  # fmt: skip
    server = HttpServer(ServerOptions(share=share), lambda exc: None, clock, metrics)
    observe = server.serve(served)
    server.start()
    source = Paced(case.payload, case.rate)
    runner = Runner(
        source, pipeline(), [], clock=clock, metrics=metrics, options=RunnerOptions(observers=(observe,))
    )  # fmt: skip
    thread = threading.Thread(target=runner.run)
    thread.start()
    with tempfile.NamedTemporaryFile() as file:
        port = server.url.rpartition(":")[2]
        file.write(case.request.replace(b"PORT", port.encode()))
        file.flush()
        command = [sys.executable, HERE / "load.py", port, str(connections), str(seconds + 2), file.name]
        load = subprocess.Popen(command, stdout=subprocess.PIPE) if connections else None
        time.sleep(1.5)
        before, started = metrics.snapshot(), time.monotonic()
        time.sleep(seconds)
        after, passed = metrics.snapshot(), time.monotonic() - started
        said = json.loads(load.communicate()[0]) if load else {}
    runner.stop()
    thread.join()
    server.stop()
    keys = {
        "flow/s": "results",
        "HTTP/s": "http_inferences",
        "HTTP cores": "http_cpu_s",
        "dropped/s": "dropped:mailbox",
    }
    figures = {name: (after.get(key, 0) - before.get(key, 0)) / passed for name, key in keys.items()}
    return {**figures, "statuses": said.get("statuses")}


def request_of(name: str, array: Any) -> bytes:
    """A v2 request; PORT stands for the port."""
    tensor = {"name": "x", "shape": array.shape, "datatype": "FP32", "data": array.ravel().tolist()}
    body = json.dumps({"inputs": [tensor]}).encode()
    head = f"POST /v2/models/{name}/infer HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def main() -> None:
    """Prints a table a case."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        picture = np.random.default_rng(1).random((1, 3, 64, 64), dtype=np.float32)
        row = np.ones((1, 64), np.float32)
        heavy = onnxmodels.deep(Path(folder) / "heavy.onnx")
        tiny = onnxmodels.scores(Path(folder) / "tiny.onnx")
        for case in (
            Case("30 frames a second, a model of some 15 ms", heavy, picture, 30.0, request_of("heavy", picture)),
            Case("rows as fast as they go, a tiny model", tiny, row, 0.0, request_of("tiny", row)),
        ):
            print(f"\n{case.title}\n")
            runs = ((0, 0.25), (8, 0.25), (8, 0.5), (8, 1.0), (64, 0.25))
            found: dict[Any, list[Any]] = {run: [] for run in runs}
            for _ in range(options.rounds):
                for run in runs:
                    found[run].append(flow(case, *run, options.seconds))
            print("| connections | share | flow/s | HTTP/s | HTTP cores | dropped/s |\n|-|-|-|-|-|-|")
            for (connections, share), figures in found.items():
                cells = [
                    f"{statistics.median(f[k] for f in figures):.4g}"
                    for k in ("flow/s", "HTTP/s", "HTTP cores", "dropped/s")
                ]
                print(f"| {connections} | {share} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
