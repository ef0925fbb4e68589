"""A device in the field: the installed `edge-run`, a broker of its own, a signed repository that it follows."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.processes import Client, EdgeRun, Mosquitto, until
from support.updating import Fleet, write_model

FEW = ("--updates-watch-time", "0", "--updates-watch-samples", "20", "--updates-latency", "100",
       "--trial-samples", "5", "--trial-time", "30")  # fmt: skip
"""A switch is confirmed soon, however busy the machine is."""


class Field:
    """A device that follows a repository, its broker, and who listens to it."""

    def __init__(self, folder: Path, **first: Any) -> None:
        """`first`: what the model of the start is made with, as of `write_model`."""
        self.folder = folder
        if not (folder / "m1.onnx").exists():
            write_model(folder / "m1.onnx", "1", **first)
        self.payload: Callable[[int], Any] = lambda n: {"a": n, "b": 1, "id": n}
        """The input of a number."""
        self.fleet = Fleet(folder / "fleet")
        self.fleet.add(folder / "m1.onnx", "1")
        self.broker = Mosquitto(folder / "broker").start()
        topics = [f"edge/d/m/{kind}" for kind in ("result", "update", "error", "info")]
        self.client = Client(self.broker.port, *topics, name="listener")
        self.sender = Client(self.broker.port)
        self.service: EdgeRun | None = None
        self.sent = 0

    def start(self, *more: str, model: str = "", environ: dict[str, str] | None = None) -> EdgeRun:
        self.service = EdgeRun(
            self.folder,
            *("--model", model or str(self.folder / "m1.onnx"), "--mqtt", self.broker.url, "--device", "d"),
            *("--updates", self.fleet.uri, "--updates-root", str(self.fleet.root), "--updates-interval", "0.5"),
            *("--trial-time", "0.5", *more),
            environ=environ,
        )
        return self.service

    def offer(self, version: str, file: Path | None = None, **more: Any) -> None:
        """A version that `edge-fleet add` might refuse: here it comes to the device."""
        file = file or write_model(self.folder / f"m{version}.onnx", version, **more)
        self.fleet.repository.add(file, "m", version, "stable", share=10_000)

    def send(self) -> None:
        self.sent += 1
        self.sender.publish("edge/d/m/input", self.payload(self.sent))

    def wait_for(self, told: Callable[[dict[str, Any]], bool], what: str, *, sending: bool = False) -> dict[str, Any]:
        """Until the topic `update` says so; an input after the other meanwhile where `sending`."""

        def came() -> bool:
            if sending:
                self.send()
            return any(told(said) for said in self.client.of("update"))

        until(came, what)
        return next(said for said in reversed(self.client.of("update")) if told(said))

    def switch(self, version: str, **more: Any) -> list[dict[str, Any]]:
        """Another version takes over while inputs come; all results, behind the last input."""
        self.offer(version, **more)
        self.wait_for(lambda s: state("confirmed")(s) and runs(version)(s), f"{version} is confirmed", sending=True)
        return self.client.wait_for("result", self.sent)

    def end(self) -> None:
        if self.service is not None:
            self.service.stop(signal.SIGKILL)
        self.client.close()
        self.sender.close()
        self.broker.end()


def state(wanted: str) -> Callable[[dict[str, Any]], bool]:
    return lambda said: said["state"] == wanted


def runs(version: str) -> Callable[[dict[str, Any]], bool]:
    return lambda said: said["running"]["version"] == version


def lives(told: list[dict[str, Any]]) -> int:
    """How many lives of the process these are of: `id` names it."""
    return len({one["id"].split("/")[2] for one in told})
