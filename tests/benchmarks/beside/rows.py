"""A row published on `input`, and when its result came: what a person with one sensor has."""

from __future__ import annotations

import contextlib
import socket
import statistics
import struct
import time
from dataclasses import dataclass
from pathlib import Path

from flow.contest import PATIENCE_S, Stage, cpu_time_s, running
from flow.ear import Ear

HZ = 20
ROW = b"[" + b",".join(b"0.5" for _ in range(64)) + b"]"
SCRIPT = Path(__file__).with_name("script.py")


@dataclass(frozen=True)
class Trip:
    """Milliseconds from the publish to the result at a subscriber, and the processor time of one."""

    median_ms: float
    p99_ms: float
    cpu_ms: float


def edge_run(stage: Stage, count: int) -> Trip:
    """`edge-run` on its own input topic."""
    base = f"edge/bench/{stage.model.stem}"
    command = [
        stage.program, "--model", str(stage.model), "--device", "bench", "--mqtt", f"mqtt://127.0.0.1:{stage.port}",
        "--state-dir", str(stage.model.parent / "rows"),
    ]  # fmt: skip
    return _trips(stage, command, f"{base}/input", f"{base}/result", count)


def script(stage: Stage, count: int, python: str) -> Trip:
    """The fifteen lines that people write: paho's loop, `on_message`, run, publish."""
    command = [python, str(SCRIPT), str(stage.model), str(stage.port)]
    return _trips(stage, command, "script/input", "script/result", count)


def _trips(stage: Stage, command: list[str], asked: str, answered: str, count: int) -> Trip:
    with (
        contextlib.closing(Ear(stage.port, answered)) as ear,
        running(command, stage.plugin) as process,
        Publisher(stage.port, asked) as publish,
    ):
        _until_it_hears(publish, ear)
        cpu_s, trips = cpu_time_s(process.pid), []
        for _ in range(count):
            sent = time.time()
            publish(ROW)
            trips.append((ear.hear(PATIENCE_S)[0] - sent) * 1e3)
            time.sleep(1 / HZ)
        spent = (cpu_time_s(process.pid) - cpu_s) / count * 1e3
    return Trip(statistics.median(trips), statistics.quantiles(trips, n=100)[98], spent)


def _until_it_hears(publish: Publisher, ear: Ear) -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        publish(ROW)
        with contextlib.suppress(TimeoutError):
            ear.hear(0.5)
            break
    with contextlib.suppress(TimeoutError):  # what was asked before and is still on its way
        while True:
            ear.hear(0.5)


class Publisher:
    """QoS 0 over a plain socket: a client library would take part of what is measured."""

    def __init__(self, port: int, topic: str) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port))
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._topic = struct.pack(">H", len(topic)) + topic.encode()

    def __enter__(self) -> Publisher:
        self._sock.sendall(b"\x10\x0e\0\4MQTT\4\2\0\0\0\2pb")
        self._sock.recv(4)
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def __call__(self, payload: bytes) -> None:
        body = self._topic + payload
        length, size = bytearray(), len(body)
        while True:
            length.append(size % 128 | (128 if size > 127 else 0))
            size //= 128
            if not size:
                break
        self._sock.sendall(b"\x30" + bytes(length) + body)
