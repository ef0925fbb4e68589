"""`python -m fleet.idle`: what `--updates` costs a service that does its work: beside the same one without, by turns.

Processor time of the service for the same number of inputs over MQTT, its memory when they are done, and that of the
processes of a check: what is theirs alone, which the machine has back when they end, while another Python runs beside
them as the service does. `--checks PYTHON` measures those alone, with the packages of another environment: a device has
the extra [updates], and no compiled cryptography.
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
from support.tls import Papers
from support.updating import Fleet, RangeServer, write_model

from edge.app.update_children import BARE
from edge.updates import glance, order, seen

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


def private_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean:", "Private_Dirty:"))) / 1e3


def most_mb(command: list[str], given: bytes = b"") -> tuple[float, bytes]:
    """Memory of a process, at most, and what it says."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    seen = [0.0]

    def watch() -> None:
        while process.poll() is None:
            try:
                seen.append(private_mb(process.pid))
            except OSError:
                return
            time.sleep(0.001)

    thread = threading.Thread(target=watch)
    thread.start()
    said, _ = process.communicate(given)
    thread.join()
    return max(seen), said


def checks(folder: Path, python: str) -> str:
    """Rows of the table: over https, with the certificates of the system."""
    fleet, papers, device = Fleet(folder / "checked"), Papers(folder / "papers"), folder / "device"
    fleet.add(write_model(folder / "c.onnx", "1"), "1")
    device.mkdir()
    with RangeServer(fleet.public, papers=papers) as server:
        asked = fleet.order(device, uri=server.uri, ca=papers.ca)
        whole = max(most_mb([python, "-P", "-m", "edge.updates"], order.encode(asked))[0] for _ in range(3))
        verified = seen.read(asked)
        assert verified is not None
        words = [f"{server.uri}/", str(verified.root), str(seen.timestamp_of(device)), str(papers.ca)]
        server.asked.clear()
        least, said = most_mb([python, *BARE[1:], glance.__file__, *words])
        assert said == b"same", said
        body, requests = sum(size for *_, size in server.asked), len(server.asked)
    return (
        f"| memory of the process of a check that finds what was verified, given back | {least:.1f} MB |\n"
        f"| of one that looks at all signatures: a new version, or once a day | {whole:.1f} MB |\n"
        f"| a check with nothing new | {requests} requests, {body} B |\n"
    )


def main() -> None:
    if sys.argv[1:2] == ["--checks"]:
        with tempfile.TemporaryDirectory() as name:
            sys.stdout.write(checks(Path(name), sys.argv[2] if sys.argv[2:] else sys.executable))
        return
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
        sys.stdout.write(
            f"| processor of {INPUTS} inputs with `--updates`, to without; medians of {ROUNDS} by turns | {cpu:.3f} |\n"
            f"| memory more | {memory:.1f} MB |\n" + checks(folder, sys.executable)
        )


if __name__ == "__main__":
    main()
