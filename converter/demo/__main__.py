"""Trains, converts, runs `edge-run` on rows it has not seen, and shows what a subscriber receives.

`python -m converter.demo [--broker mqtt://localhost:1883]`; without a broker edge-run brings its own.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from converter.demo.train import Trained, train

TOPIC = "edge/demo/digits/result"
BINARIES = Path(sys.executable).parent
WAIT_S = 60.0


def main() -> int:
    """0 where every row came back."""
    parser = argparse.ArgumentParser(prog="python -m converter.demo")
    parser.add_argument("--broker", default="", help="mqtt://host:port; default: a broker inside edge-run")
    broker = parser.parse_args().broker
    with tempfile.TemporaryDirectory(prefix="edge-run-demo-") as name:
        folder = Path(name)
        _say("1. Training a model on scikit-learn's digits")
        files = train(folder)
        _say("2. Converting it, with proof: edge-convert digits.skops -o digits.onnx")
        _convert(files, folder)
        _say(f"3. Running it on {len(files.truth)} digits it has not seen: edge-run --model digits.onnx")
        return _run(files, folder, broker)


def _say(text: str) -> None:
    sys.stdout.write(f"\n{text}\n")
    sys.stdout.flush()


def _convert(files: Trained, folder: Path) -> None:
    subprocess.run(
        [
            *(str(BINARIES / "edge-convert"), str(files.model), "-o", str(folder / "digits.onnx")),
            *("--sample", str(files.sample), "--expect", str(files.expect), "--name", "digits"),
        ],
        check=True,
    )


def _run(files: Trained, folder: Path, broker: str) -> int:
    url = urlsplit(broker or f"mqtt://127.0.0.1:{_free_port()}")
    host, port = url.hostname or "localhost", url.port or 1883
    command = [
        *(str(BINARIES / "edge-run"), "--model", str(folder / "digits.onnx"), "--source", "-", "--device", "demo"),
        *("--mqtt", broker or f"embedded:{port}", "--state-dir", str(folder / "state"), "--top-k", "1"),
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as edge_run:
        _wait_for(host, port)
        listen = [sys.executable, "-m", "converter.demo.subscriber", host, str(port), TOPIC]
        with subprocess.Popen(listen, stdout=subprocess.PIPE, text=True) as subscriber:
            watchdog = threading.Timer(WAIT_S, subscriber.terminate)
            watchdog.start()
            try:
                received = _exchange(edge_run, subscriber, files)
            finally:
                watchdog.cancel()
                subscriber.terminate()
        code = edge_run.wait(WAIT_S)
    return _summary(received, files) if code == 0 else code


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(host: str, port: int) -> None:
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        try:
            socket.create_connection((host, port), 1.0).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"no broker at {host}:{port} after {WAIT_S:.0f} s")


def _exchange(
    edge_run: subprocess.Popen[str], subscriber: subprocess.Popen[str], files: Trained
) -> dict[str, dict[str, Any]]:
    """Feeds the rows once the subscriber listens; returns the results by id."""
    events = _events(subscriber)
    next(events, None)  # subscribed
    _say(f"   A subscriber in another process receives on {TOPIC}:")
    feeder = threading.Thread(target=_feed, args=(edge_run, files))
    feeder.start()
    received: dict[str, dict[str, Any]] = {}
    for event in events:
        result = event["payload"]
        if result["id"] not in received:
            received[result["id"]] = event
            _show(event, files.truth[result["input_id"]])
        if len(received) == len(files.truth):
            break
    feeder.join()
    return received


def _events(subscriber: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    for line in subscriber.stdout or ():
        yield json.loads(line)


def _feed(edge_run: subprocess.Popen[str], files: Trained) -> None:
    if edge_run.stdin is not None:
        edge_run.stdin.write(files.rows.read_text())
        edge_run.stdin.close()


def _show(event: dict[str, Any], truth: str) -> None:
    result = event["payload"]
    best = result["predictions"][0]
    mark = "" if best["label"] == truth else f"   (it is {truth})"
    sys.stdout.write(f"   #{result['seq']:<4} {best['label']}  {best['score']:7.2%}{mark}\n")
    sys.stdout.flush()


def _latency_ms(event: dict[str, Any]) -> float:
    timing = event["payload"]["timing_ms"]
    return float(sum(timing.values()))


def _way_ms(event: dict[str, Any]) -> float:
    """From the reading of the row to the subscriber's hands."""
    return (float(event["arrived"]) - datetime.fromisoformat(event["payload"]["time"]).timestamp()) * 1e3


def _summary(received: dict[str, dict[str, Any]], files: Trained) -> int:
    events = list(received.values())
    right = sum(e["payload"]["predictions"][0]["label"] == files.truth[e["payload"]["input_id"]] for e in events)
    lost = len(files.truth) - len({e["payload"]["input_id"] for e in events})
    if not events:
        _say("No result came.")
        return 1
    _say(
        f"4. {len(events)} results, {right / len(events):.1%} right; median latency "
        f"{statistics.median(map(_latency_ms, events)):.2f} ms on the device, "
        f"{statistics.median(map(_way_ms, events)):.0f} ms to the subscriber; {lost or 'none'} lost."
    )
    return 0 if not lost else 1


if __name__ == "__main__":
    sys.exit(main())
