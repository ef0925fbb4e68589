"""What docs/UPDATES.md has people type works."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from support.processes import BINARIES, Client, EdgeRun
from support.updating import PASSPHRASE, write_model

PAGE = (Path(__file__).parents[2] / "docs" / "UPDATES.md").read_text()


def lines(name: str) -> list[str]:
    return re.search(rf"<!-- test: {name} -->\n```sh\n(.*?)```", PAGE, re.DOTALL)[1].splitlines()


@pytest.mark.long  # a whole update at its real pace
def test_the_five_lines_publish_a_model_and_a_device_follows(mosquitto, tmp_path):
    write_model(tmp_path / "published" / "digits.onnx", "2")
    device = write_model(tmp_path / "digits.onnx", "1")
    env = {**os.environ, "FLEET_PASSPHRASE": PASSPHRASE.decode(), "PATH": f"{BINARIES}:{os.environ['PATH']}"}
    publish = "\n".join(lines("publish")).replace("digits.onnx", "published/digits.onnx")
    subprocess.run(["bash", "-ec", publish], cwd=tmp_path, env=env, check=True, stdout=subprocess.DEVNULL)
    command, status = lines("follow")
    broker = mosquitto()
    phone = Client(broker.port, "edge/pi/m/#")
    soon = ("--updates-interval", "1", "--trial-time", "1")
    service = EdgeRun(tmp_path, *command.split()[1:], "--mqtt", broker.url, "--device", "pi", *soon)
    try:
        phone.wait_for("update")
        while not any(said["running"]["version"] == "2" for said in phone.of("update")):
            phone.wait_for("update", len(phone.of("update")) + 1)
        told = subprocess.run(
            ["bash", "-ec", status.replace("mqtt://localhost", broker.url)],
            cwd=tmp_path, env=env, check=True, capture_output=True, text=True,
        )  # fmt: skip
    finally:
        service.stop()
        phone.close()

    assert device.exists()
    assert "m      2        watching" in told.stdout
