"""`python -m runs`: four camera runs in one process beside four processes: memory, frames, processor.

Cameras send pictures at a fixed rate whatever becomes of them; a broker takes the results. Memory is the proportional
set size (PSS), which counts a page that several processes share once, near the end of the streams.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import paho.mqtt.client as paho
from flow import machine, models
from paho.mqtt.enums import CallbackAPIVersion
from support.processes import Mosquitto, until

CAMERAS = 4
END_S = 600.0


class Broker:
    """Counts results by model, and keeps the newest `stats` of each."""

    def __init__(self, port: int) -> None:
        self.results: Counter[str] = Counter()
        self.dropped: dict[str, int] = {}
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.subscribe([("edge/pi/+/result", 0), ("edge/pi/+/stats", 0)])
        self._client.loop_start()

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        model, kind = message.topic.split("/")[-2:]
        if kind == "result":
            self.results[model] += 1
        else:
            self.dropped[model] = sum(json.loads(message.payload)["dropped"].values())

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def main() -> None:
    parser = argparse.ArgumentParser(prog="runs")
    parser.add_argument("--fps", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", type=Path, metavar="README.md", help="puts the table between its marks")
    args = parser.parse_args()
    shares, rows = [machine.busy()], []
    for same in (True, False):
        found: dict[bool, list[tuple[float, float, float, float]]] = {True: [], False: []}
        for _ in range(args.rounds):
            for together in (True, False):
                found[together].append(measure(args.fps, args.seconds, together=together, same=same))
                shares.append(machine.busy())
        rows.append((same, [[statistics.median(v) for v in zip(*found[t], strict=True)] for t in (True, False)]))
    text = table(rows, args.fps, args.seconds, args.rounds) + "\n\n" + machine.description(shares)
    print(text)
    if args.write is not None:
        before = args.write.read_text()
        marks = "<!-- runs: begin -->", "<!-- runs: end -->"
        pattern = f"{marks[0]}.*{marks[1]}"
        args.write.write_text(re.sub(pattern, lambda _: f"{marks[0]}\n{text}\n{marks[1]}", before, flags=re.DOTALL))


def table(rows: Sequence[tuple[bool, Sequence[Sequence[float]]]], fps: int, seconds: int, rounds: int) -> str:
    lines = [
        f"Four cameras at {fps} frames a second for {seconds} s, MobileNetV2 on each; medians of {rounds} rounds.",
        "",
        "| | memory, one process | four processes | of it | frames lost, one | four | processor, one | four |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for same, (one, four) in rows:
        what = "one model file" if same else "four model files"
        lines.append(
            f"| {what} | {one[0]:.0f} MB | {four[0]:.0f} MB | **{one[0] / four[0]:.2f}** "
            f"| {one[1]:.1%} | {four[1]:.1%} | {one[2]:.1f} s | {four[2]:.1f} s |"
        )
    return "\n".join(lines)


def measure(fps: int, seconds: int, *, together: bool, same: bool) -> tuple[float, float, float, float]:
    """PSS in MB, share of frames that gave no result, seconds of processor, frames."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        files = [models.image(folder / "m0.onnx")] * CAMERAS
        if not same:
            files = [Path(shutil.copy(files[0], folder / f"m{n}.onnx")) for n in range(1, CAMERAS + 1)]
        mosquitto = Mosquitto(folder)
        mosquitto.start()
        stack.callback(mosquitto.end)
        broker = Broker(mosquitto.port)
        stack.callback(broker.close)
        frames = fps * seconds
        _cameras_there, port, done = stack.enter_context(_cameras(fps, frames))
        runs = [
            f'[[run]]\nname = "cam{n}"\nmodel = "{f}"\nsource = "http://127.0.0.1:{port}/{n}"\n'
            for n, f in enumerate(files)
        ]
        head = f'device = "pi"\nmqtt = "mqtt://127.0.0.1:{mosquitto.port}"\nstats-interval = 1\n'
        whole = ["".join(runs)] if together else runs
        started = [_edge_run(folder, number, head, text) for number, text in enumerate(whole)]
        for process in started:
            stack.callback(process.wait)
            stack.callback(process.terminate)
        until(lambda: sum(broker.results.values()) >= CAMERAS * frames * 0.8 or done.is_set(), "most results", END_S)
        memory = sum(_pss(p.pid) for p in started) / 1e6
        until(done.is_set, "the end of the streams", END_S)
        until(lambda: sum(broker.results.values()) + sum(broker.dropped.values()) >= CAMERAS * frames, "all frames", 30)
        spent = sum(_cpu_s(p.pid) for p in started)
        lost = 1 - sum(broker.results.values()) / (CAMERAS * frames)
        return memory, lost, spent, frames


@contextlib.contextmanager
def _cameras(fps: int, frames: int) -> Iterator[tuple[subprocess.Popen[str], int, threading.Event]]:
    command = [sys.executable, "-m", "runs.cameras", str(CAMERAS), str(fps), str(frames)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        port, done = int(process.stdout.readline()), threading.Event()
        waits = threading.Thread(target=lambda: (process.stdout.readline(), done.set()))
        waits.start()
        try:
            yield process, port, done
        finally:
            process.kill()
            waits.join()


def _edge_run(folder: Path, number: int, head: str, text: str) -> subprocess.Popen[bytes]:
    config = folder / f"runs-{number}.toml"
    config.write_text(f'{head}state-dir = "{folder}/state-{number}"\n{text}')
    log = (folder / f"log-{number}").open("wb")
    environ = {**os.environ, "MALLOC_ARENA_MAX": "2"}  # as `service install` has it
    command = [sys.executable, "-m", "edge.cli.run", "--config", str(config)]
    return subprocess.Popen(command, stderr=log, env=environ)


def _pss(pid: int) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return 1024 * int(next(line.split()[1] for line in text.splitlines() if line.startswith("Pss:")))


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


main()
