"""In steady state `outage` leaves the disk alone, and a long run leaves memory as it was."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from integration.faults.broker import Broker, find_mosquitto
from integration.faults.ends import Publisher, Subscriber
from integration.faults.model import write_model
from integration.faults.service import Service
from integration.faults.waiting import wait_until
from paho.mqtt.enums import CallbackAPIVersion

BASE = "edge/d/m"

pytestmark = pytest.mark.skipif(find_mosquitto() is None, reason="needs mosquitto (apt-get install mosquitto)")


@pytest.fixture
def broker(tmp_path) -> Iterator[Broker]:
    broker = Broker(tmp_path / "broker")
    broker.start()
    yield broker
    broker.close()


def arguments(tmp_path: Path, port: int, *more: str) -> list[str]:
    model = tmp_path / "m.onnx"
    write_model(model)
    return [
        *("--model", str(model), "--mqtt", f"mqtt://127.0.0.1:{port}", "--device", "d", "--name", "m"),
        *("--state-dir", str(tmp_path / "state"), *more),
    ]


def disk_use(pid: int, state: Path) -> tuple[int, dict[str, tuple[int, int]]]:
    """Bytes that the process made dirty, as the kernel counts them, and the state folder's files as they stand."""
    io = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    files = {p.name: (p.stat().st_size, p.stat().st_mtime_ns) for p in state.iterdir()}
    return int(io["write_bytes"]), files


def hundreds_of_results(tmp_path: Path, broker: Broker, durability: str, hundreds: int) -> list[tuple[int, bool]]:
    """For each hundred in turn: bytes written for them, and whether a file of the state folder changed."""
    state = tmp_path / "state"
    subscriber = Subscriber(broker.port, BASE)
    publisher = Publisher(broker.port, lambda _: f"{BASE}/input")
    service = Service(
        arguments(tmp_path, broker.port, "--stats-interval", "0.5", "--durability", durability), {}, tmp_path / "log"
    )
    subscriber.start()
    service.start()
    try:
        wait_until("edge-run answers", lambda: subscriber.stats, 150)
        publisher.start(per_second=400)
        seen = [disk_use(service.pid, state)]
        for hundred in range(1, hundreds + 1):
            wait_until("results", lambda n=100 * hundred: len(subscriber.answered) >= n, 150)
            seen.append(disk_use(service.pid, state))
        publisher.finish(150)
        return [(after - before, files != files_before) for (before, files_before), (after, files) in pairwise(seen)]
    finally:
        service.kill()
        publisher.close()
        subscriber.close()


@pytest.mark.long  # hundreds of results at their own pace
def test_while_the_broker_confirms_outage_writes_nothing_to_disk(tmp_path, broker):
    """Where the machine is so busy that the broker takes a second to confirm, that is an outage, and saved."""
    assert (0, False) in hundreds_of_results(tmp_path, broker, "outage", 10)


def test_always_does_write_and_the_measure_sees_it(tmp_path, broker):
    assert (0, False) not in hundreds_of_results(tmp_path, broker, "always", 2)


class Drain:
    """Counts results, keeps none: a million of them must not grow the harness either."""

    def __init__(self, port: int) -> None:
        self.count = 0
        self._subscribed = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="drain", clean_session=True)
        self._client.on_connect = lambda c, *_: c.subscribe(f"{BASE}/result", 1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(150)

    def _on_message(self, *_: object) -> None:
        self.count += 1

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def resident(pid: int) -> int:
    """Bytes of memory that the process holds."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_memory_is_flat_over_a_million_results(tmp_path, broker):
    drain = Drain(broker.port)
    service = Service(arguments(tmp_path, broker.port, "--source", "-"), {}, tmp_path / "log")
    service.start(feed=True)
    lines = (json.dumps({"id": n, "a": n % 1000, "b": n % 7}).encode() + b"\n" for n in itertools.count())
    rss: list[int] = []
    try:
        with open(service.stdin, "wb", closefd=False) as feed:
            for step in range(20):
                feed.writelines(itertools.islice(lines, 50_000))
                feed.flush()
                wait_until("results", lambda step=step: drain.count >= 50_000 * step + 45_000, 600)
                rss.append(resident(service.pid))
    finally:
        service.kill()
        drain.close()
    warm, last = rss[1], max(rss[2:])
    print(f"RSS in MB, each 50,000 results: {[round(r / 1e6, 1) for r in rss]}")
    assert last <= 1.05 * warm
