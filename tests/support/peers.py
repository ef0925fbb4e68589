"""Other people's servers and clients, each in an environment of its own below a cache folder."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.processes import free_port

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "edge-run-benchmarks"

RUNTIME = """
import onnxruntime as ort
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class Onnx(MLModel):
    async def load(self):
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = self.settings.parameters.uri
        self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._names = [o.name for o in self._session.get_outputs()]
        return True

    async def predict(self, payload):
        feed = {i.name: NumpyCodec.decode_input(i) for i in payload.inputs}
        outputs = self._session.run(self._names, feed)
        encoded = [NumpyCodec.encode_output(n, v) for n, v in zip(self._names, outputs)]
        return InferenceResponse(model_name=self.name, outputs=encoded)
"""


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    name: str
    port: int
    process: subprocess.Popen[bytes]

    def pss_mb(self) -> float:
        """Proportional set size of the process and its children."""
        pids = [self.process.pid, *map(int, _children(self.process.pid))]
        return sum(_pss(pid) for pid in pids) / 1e3

    def cpu_s(self) -> float:
        """CPU time of the process and its children so far, in seconds."""
        pids = [self.process.pid, *map(int, _children(self.process.pid))]
        return sum(_ticks(pid) for pid in pids) / os.sysconf("SC_CLK_TCK")


def _ticks(pid: int) -> int:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return int(user) + int(system)


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def _pss(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("Pss:"))


def environment(cache: Path, name: str, *packages: str, python: str = sys.executable) -> Path:
    """The bin folder of an environment that holds `packages` (or options of pip)."""
    folder = cache / name
    if not (folder / ".made").exists():
        subprocess.run([python, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", *packages], check=True)
        (folder / ".made").touch()
    return folder / "bin"


def version(bins: Path, package: str) -> str:
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run([bins / "python", "-c", code], check=True, capture_output=True, text=True).stdout.strip()


@contextlib.contextmanager
def started(name: str, port: int, command: list[Any], folder: Path) -> Iterator[Server]:
    """A server from its first answer to its end."""
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        end = time.monotonic() + 60
        while not ready(port):
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{name} does not start:\n{(folder / f'{name}.log').read_text()[-2000:]}")
            time.sleep(0.1)
        yield Server(name, port, process)
    finally:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def edge_run(bins: Path, model: Path, folder: Path) -> contextlib.AbstractContextManager[Server]:
    port = free_port()
    command = [
        bins / "edge-run",
        "--model",
        model,
        "--mqtt",
        "none",
        "--http",
        str(port),
        "--state-dir",
        folder / "state",
    ]
    return started("edge-run", port, command, folder)


def mlserver(bins: Path, model: Path, folder: Path) -> contextlib.AbstractContextManager[Server]:
    port, grpc, metrics = free_port(), free_port(), free_port()
    home = folder / f"mlserver-{model.stem}"
    home.mkdir()
    (home / "runtime.py").write_text(RUNTIME)
    settings = {"name": model.stem, "implementation": "runtime.Onnx", "parameters": {"uri": str(model)}}
    (home / "model-settings.json").write_text(json.dumps(settings))
    (home / "settings.json").write_text(
        json.dumps({"host": "127.0.0.1", "http_port": port, "grpc_port": grpc, "metrics_port": metrics,
                    "parallel_workers": 0, "debug": False})
    )  # fmt: skip
    return started("mlserver", port, [bins / "mlserver", "start", "."], home)
