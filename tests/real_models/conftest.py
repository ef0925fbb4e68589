"""Real models, looked for in REAL_MODELS, else beside the repository; never copied into it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import need
from support.processes import BINARIES, PATIENCE_S, Client, Mosquitto

FOLDER = Path(os.environ.get("REAL_MODELS") or Path(__file__).resolve().parents[2] / "../shared/models")


@pytest.fixture(scope="session")
def models() -> Path:
    if not FOLDER.is_dir():
        pytest.skip(f"no real models in {FOLDER}: set REAL_MODELS to their folder")
    return FOLDER.resolve()


@pytest.fixture(scope="session")
def broker(tmp_path_factory) -> Iterator[int]:
    """The port of a mosquitto of our own."""
    need("mosquitto", "mosquitto")
    one = Mosquitto(tmp_path_factory.mktemp("broker"))
    yield one.start().port
    one.end()


@pytest.fixture
def run(models, broker, tmp_path, client) -> Callable[..., list[dict]]:
    """`edge-run` as a process, its results as a subscriber of the broker receives them."""

    def run(model: str, source: str, *flags: str) -> list[dict]:
        base = f"edge/test/{tmp_path.name}"
        subscriber: Client = client(broker, f"{base}/result", f"{base}/done")
        path = Path(source)
        given = str(path if path.is_absolute() else models / path) if source != "-" else "-"
        command = [
            str(BINARIES / "edge-run"), "--model", str(models / model), "--source", given,
            "--mqtt", f"mqtt://127.0.0.1:{broker}", "--device", "test", "--name", tmp_path.name,
            "--state-dir", str(tmp_path / "state"), *flags,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert done.returncode == 0, done.stderr
        # Everything was confirmed to the process, so the broker has it; what is left is its way to us.
        subscriber.publish(f"{base}/done", b"")
        subscriber.wait_for_topic("done")
        return subscriber.of("result")

    return run
