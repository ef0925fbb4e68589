"""The image of Dockerfile.arm64 as `docker run --read-only` runs it: checked, fed, asked for its health, stopped.

Inputs go to a mosquitto on this machine's loopback, and so do those of an `edge-run` that runs here without
emulation: what the two publish must be the same.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support import arm64
from support.processes import until

pytestmark = [pytest.mark.arm64, pytest.mark.timeout(900)]  # the first test builds the image

SLOW_S = 300.0  # for an emulated program on a busy machine
USER = 10001


class Device:
    """The image with a folder of models and a volume for its state."""

    def __init__(self, store: arm64.Store, name: str, models: Path, state: Path) -> None:
        self.config = store.config(name)
        self.log = state.parent / "device.log"
        state.mkdir()
        os.chown(state, USER, USER)
        self.machine = arm64.image_machine(store, name, {models: "/models", state: "/state"})

    def run(self, *args: Any) -> subprocess.CompletedProcess[str]:
        """As `docker run IMAGE args`."""
        return self.machine.run(*self.config["Entrypoint"], *args)

    def healthy(self) -> int:
        """What the image's own health check says, run as Docker runs it: beside the service."""
        kind, *command = self.config["Healthcheck"]["Test"]
        assert kind == "CMD"
        return self.machine.run(*command).returncode

    @contextmanager
    def started(self, *args: Any) -> Iterator[subprocess.Popen[bytes]]:
        """The service, from its start to its end."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(self.machine.command(*self.config["Entrypoint"], *args), stdout=log, stderr=log)
        try:
            yield process
        finally:
            arm64.end(process)

    def send(self, process: subprocess.Popen[bytes], number: signal.Signals) -> None:
        """A signal to the container's first process, as from outside."""
        os.kill(arm64.first_process(process), number)


@pytest.fixture(scope="module")
def device(image, models, tmp_path_factory) -> Device:
    store, name = image
    return Device(store, name, models, tmp_path_factory.mktemp("device") / "state")


def test_the_image_holds_what_a_device_needs_and_no_more(device, table):
    config, root = device.config, device.machine.root
    assert config["User"] == f"{USER}:{USER}"
    assert config["Entrypoint"] == ["env", "--block-signal=TERM", "edge-run"]
    assert list(config["Volumes"]) == ["/state"]
    assert config["StopSignal"] == "SIGTERM"
    assert config["Labels"]["org.opencontainers.image.title"] == "edge-run"
    packages = root / "opt/edge/lib/python3.13/site-packages"
    assert not list(packages.glob("pip*"))
    assert not (root / "usr/bin/curl").exists()
    sizes = sorted(((arm64.megabytes(p), p.name) for p in packages.iterdir()), reverse=True)
    total = arm64.megabytes(root / "opt/edge")
    largest = ", ".join(f"{name} {size:.0f}" for size, name in sizes[:8])
    table("image, without its base", "trixie, 3.13", f"{total:.0f} MB: {largest}")
    assert total < 500


@pytest.mark.parametrize("name", ["digits", "cats"])
def test_the_check_passes_in_the_image(device, broker, table, request, name):
    case = request.getfixturevalue(name)
    done = device.run("--check", "--model", f"/models/{case.model.name}", "--mqtt", broker.url)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {line.split()[1]: line for line in done.stdout.splitlines() if line[:1].isalpha()}
    assert "aarch64, 64-bit" in rows["python"]
    assert rows["broker"].startswith("ok")
    assert rows["state"].startswith("ok")
    latency = rows["latency"].removeprefix("ok").split(maxsplit=1)[1]
    table(f"--check {case.model.name}", "image", f"passes; {latency}")


@pytest.mark.parametrize("name", ["digits", "cats", "plus_two"])
def test_results_are_those_of_x86_64(device, broker, edge_run, client, table, request, name):
    case = request.getfixturevalue(name)
    flags = ("--mqtt", broker.url, *case.flags)
    edge_run("--model", case.model, "--device", "here", *flags)
    with device.started("--model", f"/models/{case.model.name}", "--device", "there", *flags):
        published = {who: exchange(client(broker.port, f"edge/{who}/#"), who, case) for who in ("here", "there")}
    worst = max(apart(a, b) for a, b in zip(published["here"], published["there"], strict=True))
    table(f"{len(case.payloads)} results of {case.model.name}", "image and x86-64", f"at most {worst:.2g} apart")
    assert worst <= case.tolerance


def test_the_health_check_tells_a_service_that_runs_hangs_or_is_gone(device, broker, digits, client, table):
    watcher = client(broker.port, "edge/pi/#")
    with device.started("--model", f"/models/{digits.model.name}", "--device", "pi", "--mqtt", broker.url) as process:
        watcher.wait_for_text("edge/pi/digits/status", b"online", SLOW_S)
        until(lambda: device.healthy() == 0, "the service is healthy", SLOW_S)
        device.send(process, signal.SIGSTOP)
        hung = device.healthy()
        device.send(process, signal.SIGCONT)
        until(lambda: device.healthy() == 0, "the service is healthy again", SLOW_S)
        device.send(process, signal.SIGTERM)
        ended = process.wait(SLOW_S)
        gone = device.healthy()
    assert (hung, ended, gone) == (1, 0, 1), device.log.read_text()
    watcher.wait_for_text("edge/pi/digits/status", b"offline")
    table("health check", "image", "healthy, hung, healthy, ended on SIGTERM with 0, gone: all told")


def exchange(client: Any, who: str, case: Any) -> list[dict[str, float]]:
    """The numbers of the results that an `edge-run` publishes, in order of its inputs."""
    topics = f"edge/{who}/{case.model.stem.replace('.', '-')}"
    client.wait_for_text(f"{topics}/status", b"online", SLOW_S)
    for payload in case.payloads:
        client.publish(f"{topics}/input", payload)
    results = client.wait_for("result", len(case.payloads), SLOW_S)
    return [numbers(r) for r in sorted(results, key=lambda r: r["seq"])]


def numbers(result: dict[str, Any]) -> dict[str, float]:
    """Its predictions as numbers by name."""
    if result["task"] == "classify":
        return {f"{p['index']}": p["score"] for p in result["predictions"]}
    return {p["name"]: p["value"] for p in result["predictions"]}


def apart(one: dict[str, float], other: dict[str, float]) -> float:
    """The largest difference of two results, in shares of numbers past 1; the largest number must be the same one."""
    assert one.keys() == other.keys()
    assert max(one, key=one.__getitem__) == max(other, key=other.__getitem__)
    return max(abs(one[k] - other[k]) / max(1.0, abs(one[k])) for k in one)
