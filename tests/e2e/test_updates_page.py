"""What docs/UPDATES.md has people type works."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from support.processes import BINARIES, Client, EdgeRun
from support.updating import PASSPHRASE, write_model

PAGE = (Path(__file__).parents[2] / "docs" / "UPDATES.md").read_text()


def lines(name: str) -> list[str]:
    return re.search(rf"<!-- test: {name} -->\n```sh\n(.*?)```", PAGE, re.DOTALL)[1].splitlines()


def test_the_day_after_brings_version_2_of_the_same_model(tmp_path):
    rows = np.random.default_rng(0).normal(size=(60, 4))
    np.savetxt(tmp_path / "rows.csv", rows, delimiter=",", header="a,b,c,d", comments="")
    skops.io.dump(LogisticRegression().fit(rows, rows[:, 0] > 0), tmp_path / "digits-2.skops")
    write_model(tmp_path / "digits.onnx", "1")
    env = {**os.environ, "FLEET_PASSPHRASE": PASSPHRASE.decode(), "PATH": f"{BINARIES}:{os.environ['PATH']}"}
    here = [
        line.replace("add fleet digits.onnx", "add fleet digits.onnx --name digits")
        for line in lines("publish") + lines("day")
        if "--mqtt" not in line
    ]
    said = subprocess.run(["bash", "-ec", "\n".join(here)], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert "digits 2 in stable: for 5 % of the devices" in said.stdout
    assert "digits 2 in stable: for 100 % of the devices" in said.stdout


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
