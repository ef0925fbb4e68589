"""Inputs that wait in the broker's session, as after a night away, and inputs that flood edge-run while it runs."""

from __future__ import annotations

import contextlib
import socket
import struct
from pathlib import Path

from flow import models
from flow.ear import Ear
from integration.faults.broker import Broker

from scale.life import Life, edge_run, flags
from scale.plot import Panel, Plot, Series
from scale.quiet import Quiet

COUNTS = {"2k": 2_000, "20k": 20_000, "200k": 200_000}
LIMITS = {"a broker's default": "", "`max_inflight_messages 0`": "max_inflight_messages 0\n"}
PATIENCE_S = 300.0
AT_ONCE = 500
SILENCE_S = 20.0
"""Longer than the way to another connection takes."""
ROW = b"[" + b",".join(b"%.2f" % (n / 7) for n in range(64)) + b"]"


def measure(folder: Path, port: int, few: int, quiet: Quiet) -> Plot:
    """`port` is not used: the brokers here differ in how much they send unacknowledged."""
    counts = {word: count for word, count in COUNTS.items() if count * few <= max(COUNTS.values())}
    lines: dict[str, list[float]] = {}
    for limit, line in LIMITS.items():
        for version in ("5", "3.1.1"):
            for count in counts.values():
                quiet()
                place = folder / f"{version}-{count}-{bool(line)}"
                for name, peak in _peaks(place, line, version, count).items():
                    lines.setdefault(f"{name}, {limit}, MQTT {version}", []).append(peak)
    panels = (Panel("Peak memory, MB", tuple(Series(name, tuple(peaks)) for name, peaks in lines.items())),)
    return Plot("queued-inputs", "inputs", tuple(counts), panels)


def _peaks(place: Path, line: str, version: str, count: int) -> dict[str, float]:
    place.mkdir()
    broker = Broker(place / "broker", line)
    broker.start()
    try:
        arguments = [*flags(models.tiny(place / "tiny.onnx"), place / "state", broker.port), "--mqtt-version", version]
        topic = "edge/bench/tiny"
        with contextlib.closing(Ear(broker.port, f"{topic}/status")) as ear, edge_run(arguments):
            while ear.hear(PATIENCE_S)[1] != b"online":
                continue
        publish(broker.port, f"{topic}/input", count)
        with edge_run(arguments) as life:
            waiting = _peak(life, broker.port, topic)
        with edge_run(arguments) as life, contextlib.closing(Ear(broker.port, f"{topic}/status")) as ear:
            while ear.hear(PATIENCE_S)[1] != b"online":
                continue
            publish(broker.port, f"{topic}/input", count)
            live = _peak(life, broker.port, topic)
    finally:
        broker.close()
    return {"waiting": waiting, "live": live}


def _peak(life: Life, port: int, topic: str) -> float:
    """Once no result has come for a while: all are done."""
    with contextlib.closing(Ear(port, f"{topic}/result")) as results, contextlib.suppress(TimeoutError):
        while True:
            results.hear(SILENCE_S)
    return life.peak_mb()


def publish(port: int, topic: str, count: int) -> None:
    """At QoS 1, `AT_ONCE` ahead of what the broker acknowledges."""
    name = topic.encode()
    body = struct.pack(">H", len(name)) + name
    size = len(body) + 2 + len(ROW)
    head = b"\x32" + bytes([size & 127 | 128, size >> 7]) + body
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(b"\x10\x0c\0\4MQTT\4\2\0\0\0\0")
        _receive(sock, 4)
        for first in range(0, count, AT_ONCE):
            several = range(first, min(first + AT_ONCE, count))
            sock.sendall(b"".join(head + struct.pack(">H", n % 60_000 + 1) + ROW for n in several))
            _receive(sock, 4 * len(several))


def _receive(sock: socket.socket, size: int) -> None:
    while size > 0:
        data = sock.recv(size)
        if not data:
            raise ConnectionError("the broker hung up")
        size -= len(data)
