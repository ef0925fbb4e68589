"""Other people's servers and clients, each in an environment of its own below a cache folder."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
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

RIVALS = Path(__file__).parents[1] / "benchmarks" / "serving" / "rivals"
ENGINE = "onnxruntime==1.32.0"
MLSERVER = ("mlserver==1.7.1", ENGINE)
PYTRITON = ("nvidia-pytriton==0.7.0", ENGINE)


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    name: str
    port: int
    process: subprocess.Popen[bytes]

    def pss_mb(self) -> float:
        """Proportional set size of the process and its children."""
        return sum(_pss(pid) for pid in family(self.process.pid)) / 1e3

    def cpu_s(self) -> float:
        """CPU time of the process and its children so far, in seconds."""
        return sum(_ticks(pid) for pid in family(self.process.pid)) / os.sysconf("SC_CLK_TCK")


def _ticks(pid: int) -> int:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return int(user) + int(system)


def family(pid: int) -> list[int]:
    """The process, its children and theirs; any of its threads may have started one."""
    children = [int(c) for task in Path(f"/proc/{pid}/task").iterdir() for c in (task / "children").read_text().split()]
    return [pid, *(member for child in children for member in family(child))]


def _pss(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("Pss:"))


def pinned(cache: Path, *packages: str) -> Path:
    """The bin folder of an environment that holds exactly these (`name==version`), named after the first."""
    return environment(cache, packages[0].replace("==", "-"), *packages)


def environment(cache: Path, name: str, *packages: str, python: str = sys.executable) -> Path:
    """The bin folder of an environment that holds `packages` (or options of pip); new ones among them are added."""
    folder = cache / name
    asked = "\n".join(package.rpartition("/")[2] for package in packages)  # a wheel lies in another folder each time
    made = folder / ".made"
    if not made.exists() or made.read_text() != asked:
        subprocess.run([python, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", *packages], check=True)
        made.write_text(asked)
    return folder / "bin"


def version(bins: Path, package: str) -> str:
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run([bins / "python", "-c", code], check=True, capture_output=True, text=True).stdout.strip()


@contextlib.contextmanager
def started(
    name: str, port: int, command: list[Any], folder: Path, *, health: str = "/v2/health/ready", **environ: str
) -> Iterator[Server]:
    """A server from its first answer at `health` to its end; `environ` is set beside what is there."""
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **environ}, stdout=log, stderr=log, start_new_session=True
        )
    try:
        end = time.monotonic() + 150
        while not ready(port, health):
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


def ready(port: int, health: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{health}", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def edge_run(bins: Path, model: Path, folder: Path, *more: str) -> contextlib.AbstractContextManager[Server]:
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
    return started("edge-run", port, [*command, *more], folder)


def mlserver(
    bins: Path, model: Path, folder: Path, grpc: int | None = None
) -> contextlib.AbstractContextManager[Server]:
    """`grpc`: the port for it."""
    port, grpc, metrics = free_port(), grpc or free_port(), free_port()
    home = folder / f"mlserver-{model.stem}"
    home.mkdir()
    shutil.copy(RIVALS / "mlserver_runtime.py", home)
    settings = {"name": model.stem, "implementation": "mlserver_runtime.Onnx", "parameters": {"uri": str(model)}}
    (home / "model-settings.json").write_text(json.dumps(settings))
    (home / "settings.json").write_text(
        json.dumps({"host": "127.0.0.1", "http_port": port, "grpc_port": grpc, "metrics_port": metrics,
                    "parallel_workers": 0, "debug": False})
    )  # fmt: skip
    return started("mlserver", port, [bins / "mlserver", "start", "."], home)


def npm(package: str, version: str) -> Path:
    """Where npm puts a package, once, below its `node_modules`; empty of it where npm cannot."""
    folder = CACHE.with_name("edge-run") / f"{package}-{version}"
    if not (folder / "node_modules" / package).is_dir() and shutil.which("npm") is not None:
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder)]
        subprocess.run([*command, f"{package}@{version}"], check=False, stdin=subprocess.DEVNULL, timeout=600)
    return folder
