"""Real models, looked for in EDGE_REAL_MODELS, else beside the repository; never copied into it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest

FOLDER = Path(os.environ.get("EDGE_REAL_MODELS") or Path(__file__).resolve().parents[2] / "../shared/models")


@pytest.fixture(scope="session")
def models() -> Path:
    if not FOLDER.is_dir():
        pytest.skip(f"no real models in {FOLDER}: set EDGE_REAL_MODELS to their folder")
    return FOLDER.resolve()


@pytest.fixture(scope="session")
def broker(tmp_path_factory) -> Iterator[int]:
    """The port of a mosquitto of our own."""
    if shutil.which("mosquitto") is None:
        pytest.skip("no mosquitto on this machine: apt-get install mosquitto")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = tmp_path_factory.mktemp("broker") / "mosquitto.conf"
    settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    process = subprocess.Popen(["mosquitto", "-c", str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        process.poll()
    yield port
    process.terminate()
    process.wait(10)


@pytest.fixture
def run(models, broker, tmp_path) -> Callable[..., list[dict]]:
    """`edge-run` as a process, its results as a subscriber of the broker receives them."""

    def run(model: str, source: str, *flags: str) -> list[dict]:
        received: list[dict] = []
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        client.on_message = lambda _client, _data, message: received.append(json.loads(message.payload))
        client.connect("127.0.0.1", broker)
        topic = f"edge/test/{tmp_path.name}/result"
        client.subscribe(topic, qos=1)
        client.loop_start()
        path = Path(source)
        given = str(path if path.is_absolute() else models / path) if source != "-" else "-"
        command = [
            str(Path(sys.executable).with_name("edge-run")), "--model", str(models / model), "--source", given,
            "--mqtt", f"mqtt://127.0.0.1:{broker}", "--device", "test", "--name", tmp_path.name,
            "--state-dir", str(tmp_path / "state"), *flags,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, done.stderr
        # Everything was confirmed to the process, so the broker has it; what is left is its way to us.
        marker = f"edge/test/{tmp_path.name}/done"
        ended: list[object] = []
        client.message_callback_add(marker, lambda *found: ended.append(found))
        client.subscribe(marker, qos=1)
        client.publish(marker, b"", qos=1)
        deadline = time.monotonic() + 20
        while not ended and time.monotonic() < deadline:
            time.sleep(0.01)
        client.loop_stop()
        client.disconnect()
        return received

    return run
