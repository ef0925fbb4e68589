"""`python -m fleet.idle`: what `--updates` costs a service that does its work: beside the same one without, by turns.

Processor time of the service for the same number of inputs over MQTT, its memory when they are done, and that of the
process of a check: Pss, where what it shares with others counts in parts.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from support.processes import Client, EdgeRun, Mosquitto, until
from support.updating import Fleet, RangeServer, write_model

from edge.updates import order

INPUTS = 8000
ROUNDS = 4


def spent_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pss_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1e3


def flow(folder: Path, broker: Mosquitto, *updates: str) -> tuple[float, float]:
    """Processor seconds of the inputs, and memory behind them."""
    model = write_model(folder / "m.onnx", "1")
    listener, sender = Client(broker.port, "edge/d/m/result", "edge/d/m/status"), Client(broker.port)
    service = EdgeRun(folder, "--model", str(model), "--mqtt", broker.url, "--device", "d", *updates)
    until(lambda: any(p in ("online", b"online") for _, p, *_ in listener.messages), "the service is there")
    before = spent_s(service.process.pid)
    for number in range(INPUTS):
        sender.client.publish("edge/d/m/input", f'{{"a": {number}, "b": 1}}', 1)
    listener.wait_for("result", INPUTS, 120)
    used = spent_s(service.process.pid) - before, pss_mb(service.process.pid)
    service.stop()
    listener.close()
    sender.close()
    return used


def check(folder: Path, fleet: Fleet, uri: str) -> float:
    """Memory of the process of a check, at most."""
    device = folder / "device"
    device.mkdir(exist_ok=True)
    command = [sys.executable, "-P", "-m", "edge.updates"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    seen = [0.0]

    def watch() -> None:
        while process.poll() is None:
            try:
                seen.append(pss_mb(process.pid))
            except (OSError, StopIteration):
                return
            time.sleep(0.002)

    thread = threading.Thread(target=watch)
    thread.start()
    process.communicate(order.encode(fleet.order(device, uri=uri)))
    thread.join()
    return max(seen)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fleet = Fleet(folder / "fleet")
        fleet.add(write_model(folder / "m.onnx", "1"), "1")
        broker = Mosquitto(folder / "broker").start()
        flags = ("--updates", fleet.uri, "--updates-root", str(fleet.root))
        pairs = []
        for number in range(ROUNDS):
            kinds: list[tuple[str, ...]] = [(), flags]
            order_of = kinds if number % 2 else kinds[::-1]  # whoever comes second finds warm caches
            found = {more: flow(folder / f"{number}{len(more)}", broker, *more) for more in order_of}
            pairs.append((found[()], found[flags]))
        broker.end()
        cpu = statistics.median(b[0] / a[0] for a, b in pairs)
        memory = statistics.median(b[1] - a[1] for a, b in pairs)
        with RangeServer(fleet.public) as server:
            first = check(folder, fleet, server.uri)
            asked = len(server.asked)
            again = check(folder, fleet, server.uri)
            body = sum(size for *_, size in server.asked[asked:])
            requests = len(server.asked) - asked
        sys.stdout.write(
            f"| processor of {INPUTS} inputs with `--updates`, to without; medians of {ROUNDS} by turns | {cpu:.3f} |\n"
            f"| memory more | {memory:.1f} MB |\n"
            f"| memory of the process of a check, given back: the first, the next | {first:.0f}, {again:.0f} MB |\n"
            f"| a check with nothing new | {requests} requests, {body} B |\n"
        )


if __name__ == "__main__":
    main()
