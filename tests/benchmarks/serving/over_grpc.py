"""The gRPC servers beside ours, all on the tiny model, and how each is started."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from support import peers
from support.peers import PYTRITON, RIVALS, Server
from support.processes import free_port

from edge.http.grpc.messages import Messages

LOAD = Path(__file__).with_name("grpc_load.py")
CONFIG = """
backend: "python"
max_batch_size: 64
input [{ name: "x" data_type: TYPE_FP32 dims: [64] }]
output [{ name: "scores" data_type: TYPE_FP32 dims: [10] }]
instance_group [{ kind: KIND_CPU count: 1 }]
"""


def request() -> bytes:
    """A row of 64 numbers, raw."""
    made = Messages()["ModelInferRequest"](model_name="tiny")
    made.inputs.add(name="x", datatype="FP32", shape=[1, 64])
    made.raw_input_contents.append(np.full((1, 64), 0.5, np.float32).tobytes())
    return bytes(made.SerializeToString())


@contextlib.contextmanager
def triton(bins: Path, model: Path, folder: Path) -> Iterator[Server]:
    """The C++ server of PyTriton's bundle. Raises SystemExit where it cannot run here."""
    packages = next((bins.parent / "lib").glob("python*")) / "site-packages"
    bundle = packages / "pytriton" / "tritonserver"
    repository, backends = folder / "triton" / "models", folder / "triton" / "backends"
    (repository / "tiny" / "1").mkdir(parents=True)
    shutil.copy(model, repository / "tiny" / "model.onnx")
    shutil.copy(RIVALS / "triton_model.py", repository / "tiny" / "1" / "model.py")
    (repository / "tiny" / "config.pbtxt").write_text(CONFIG)
    stub = f"{sys.version_info.major}.{sys.version_info.minor}"
    shutil.copytree(bundle / "backends" / "python", backends / "python")
    shutil.copy(bundle / "python_backend_stubs" / stub / "triton_python_backend_stub", backends / "python")
    port, grpc = free_port(), free_port()
    command = [
        bundle / "bin" / "tritonserver", f"--model-repository={repository}", f"--backend-directory={backends}",
        "--http-port", str(port), "--grpc-port", str(grpc), "--allow-metrics=false",
    ]  # fmt: skip
    environ = {
        "PATH": f"{bins}:{os.environ['PATH']}", "LD_LIBRARY_PATH": str(packages / "nvidia_pytriton.libs"),
        "PYTHONPATH": str(packages),
    }  # fmt: skip
    with peers.started("triton", port, command, folder, **environ) as server:
        yield replace(server, port=grpc)


@contextlib.contextmanager
def servers(cache: Path, ours: Path, model: Path, folder: Path) -> Iterator[dict[str, Server]]:
    """By name, all at once."""
    with contextlib.ExitStack() as stack:
        port = free_port()
        server = stack.enter_context(peers.edge_run(ours, model, folder, "--grpc", str(port)))
        found = {"edge-run": replace(server, port=port)}
        port = free_port()
        bins = peers.pinned(cache, *peers.MLSERVER)
        found["MLServer"] = replace(stack.enter_context(peers.mlserver(bins, model, folder, port)), port=port)
        try:
            found["Triton"] = stack.enter_context(triton(peers.pinned(cache, *PYTRITON), model, folder))
        except (SystemExit, subprocess.CalledProcessError, OSError) as exc:
            print(f"Triton cannot run here: {exc}", file=sys.stderr)
        yield found


def measure(found: dict[str, Server], rounds: int, seconds: float, folder: Path) -> dict[tuple[str, int], list[float]]:
    """Calls a second by server and connections, turn about."""
    file = folder / "request.pb"
    file.write_bytes(request())
    rates: dict[tuple[str, int], list[float]] = {}
    for number in range(rounds):
        for many in (1, 8):
            for name in list(found) if number % 2 else list(reversed(found)):
                command = [sys.executable, LOAD, str(found[name].port), str(many), str(seconds), str(file)]
                said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                rates.setdefault((name, many), []).append(float(json.loads(said)["per_s"]))
    return rates


def figures(rates: dict[tuple[str, int], list[float]]) -> str:
    """What each server does, in a line."""
    return "; ".join(f"{name} on {many}: {statistics.median(found):.0f}/s" for (name, many), found in rates.items())
