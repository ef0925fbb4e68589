"""`python -m fleet`: a fleet on one machine, one broker at its default limits, one static web server.

make bench-fleet

The controller is `edge-fleet` itself, as a person or a pipeline runs it; its processor time and memory are those of its
processes. Devices are simulated (`devices.py`).
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import http.server
import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flow.machine import busy, description
from support.marks import write_between
from support.processes import BINARIES, Client, free_port, listens, until
from support.updating import PASSPHRASE, Fleet, write_model

from fleet.devices import TOPIC, Site, work

WORKERS = 2
CANARY, ABORT = 5, 3
WAIT_S = 900.0


class Handler(http.server.SimpleHTTPRequestHandler):
    """Any static server; connections are kept."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def serve(folder: str, port: int) -> None:
    handler = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        server.serve_forever()


@contextmanager
def web(folder: Path) -> Iterator[str]:
    port = free_port()
    process = multiprocessing.Process(target=serve, args=(str(folder), port), daemon=True)
    process.start()
    until(lambda: listens(port), "the web server listens")
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.join()


@contextmanager
def mosquitto(folder: Path) -> Iterator[int]:
    """With its defaults but for the port: a queue of 1000 messages, 20 in flight."""
    port = free_port()
    config = folder / "mosquitto.conf"
    config.write_text(f"user root\nlistener {port} 127.0.0.1\nallow_anonymous true\n")
    process = subprocess.Popen(["mosquitto", "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: listens(port), "mosquitto listens")
    yield port
    process.terminate()
    process.wait()


class Controller:
    """`edge-fleet`, measured."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.mqtt = folder, f"mqtt://127.0.0.1:{port}"
        self.file = folder.parent / "passphrase"
        self.file.write_bytes(PASSPHRASE)
        self.cpu_s = 0.0
        self.memory_mb = 0.0

    def __call__(self, command: str, *more: str) -> tuple[int, str]:
        argv = [str(BINARIES / "edge-fleet"), command, *more]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        watch = threading.Thread(target=self._watch, args=(process.pid,))
        watch.start()
        said = process.stdout.read()
        process.stdout.close()
        _, status, used = os.wait4(process.pid, 0)
        watch.join()
        process.returncode = os.waitstatus_to_exitcode(status)
        self.cpu_s += used.ru_utime + used.ru_stime
        return process.returncode, said

    def _watch(self, pid: int) -> None:
        """While it runs: what wait4 tells of memory is that of the process that forked it, where that is more."""
        with contextlib.suppress(OSError, StopIteration):
            while True:
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                used = next(line.split()[1] for line in lines if line.startswith("VmHWM"))
                self.memory_mb = max(self.memory_mb, int(used) / 1e3)
                time.sleep(0.05)

    def change(self, command: str, *more: str) -> None:
        code, said = self(command, str(self.folder), "--passphrase-file", str(self.file), *more)
        assert code == 0, said

    def wait(self, version: str, *more: str) -> int:
        return self("wait", "--version", version, "--mqtt", self.mqtt, "--timeout", str(WAIT_S), *more)[0]

    def heard(self) -> int:
        return len(json.loads(self("status", str(self.folder), "--mqtt", self.mqtt, "--json")[1])["heard"])


class Devices:
    """All workers."""

    def __init__(self, sites: list[Site]) -> None:
        self._pipes, self._processes = [], []
        for site in sites:
            ours, theirs = multiprocessing.Pipe()
            process = multiprocessing.Process(target=work, args=(site, theirs), daemon=True)
            process.start()
            self._pipes.append(ours)
            self._processes.append(process)
        for pipe in self._pipes:
            assert pipe.recv() == "ready"

    def say(self, *asked: Any) -> list[Any]:
        for pipe in self._pipes:
            pipe.send(asked)
        return [pipe.recv() for pipe in self._pipes]

    def figures(self) -> tuple[Counter[str], Counter[str], Counter[str], Counter[str]]:
        """Devices by state and version, by trouble, how many took which version, and what it cost."""
        parts = self.say("tell")
        sums = tuple(sum((Counter(p[i]) for p in parts), Counter()) for i in range(4))
        return sums[0], sums[1], sums[2], sums[3]

    def until(self, so: Callable[[], bool], what: str) -> float:
        """Seconds until it is so."""
        began = time.monotonic()
        while not so():
            if time.monotonic() - began > WAIT_S:
                raise TimeoutError(f"{what}: {self.figures()[:3]}")
            time.sleep(0.5)
        return time.monotonic() - began

    def end(self) -> None:
        for pipe in self._pipes:
            pipe.send(("end",))
        for process in self._processes:
            process.join()


class Stage:
    def __init__(self, args: argparse.Namespace, folder: Path, port: int, url: str, fleet: Fleet) -> None:
        count, watch_s, spread_s = args.devices, args.watch, args.spread
        self.spread_s = spread_s
        self.count, self.fleet, self.folder = count, fleet, folder
        self.control = Controller(fleet.folder, port)
        each = -(-count // WORKERS)
        trust = str(folder / "trust")
        parts = [(i * each, min(each, count - i * each)) for i in range(WORKERS)]
        self.devices = Devices(
            [Site(url, port, str(fleet.root), trust, *part, watch_s, "bad", spread_s) for part in parts]
        )
        self.hand = Client(port)
        self.rows: list[tuple[str, str]] = []

    def announce(self) -> None:
        self.hand.publish(TOPIC, str(time.time()).encode(), retain=True)

    def add(self, version: str) -> None:
        file = write_model(self.folder / f"{version}.onnx", version, description=version)
        self.control.change("add", str(file), "--name", "m", "--version", version)

    def confirmed(self, version: str) -> int:
        return self.devices.figures()[0][f"confirmed {version}"]

    def row(self, what: str, value: str) -> None:
        self.rows.append((what, value))
        sys.stderr.write(f"{what}: {value}\n")

    def good(self) -> None:
        """A good version to all, as a pipeline does it."""
        before = self.devices.figures()[3]
        self.add("1")
        self.control.change("promote")
        self.announce()
        began = time.monotonic()
        waiting = threading.Thread(target=self.control.wait, args=("1", "--share", "99%", "--devices", str(self.count)))
        waiting.start()
        took = self.devices.until(lambda: self.confirmed("1") >= 0.99 * self.count, "99 % confirmed")
        waiting.join()
        self.row("to 99 % confirmed, of that up to 60 s of spread and the watch", f"{took:.0f} s")
        self.row("until `edge-fleet wait --share 99%` says so", f"{time.monotonic() - began:.0f} s")
        self.row("processor of the controller until then", f"{self.control.cpu_s:.1f} s")
        self.devices.until(lambda: self.confirmed("1") == self.count, "all confirmed")
        now = self.devices.figures()[3]
        each = {name: (now[name] - before[name]) / self.count for name in now}
        self.row("MQTT messages a device, and bytes", f"{each['sent']:.1f}, {each['sent_bytes']:.0f} B")
        self.row("HTTP requests a device, and bytes of bodies", f"{each['requests']:.1f}, {each['body']:.0f} B")
        self.row("devices that `edge-fleet status` hears", f"{self.control.heard()} of {self.count}")

    def bad(self) -> None:
        """One that skips samples, to a canary share: `edge-fleet wait` gives up, and pauses it."""
        self.add("bad")
        self.control.change("rollout", "--share", f"{CANARY}%")
        self.announce()
        code = self.control.wait("bad", "--share", f"{CANARY}%", "--devices", str(self.count), "--abort-share", "10%",
                                 "--abort-number", str(ABORT), "--pause", str(self.fleet.folder), "--passphrase-file",
                                 str(self.control.file))  # fmt: skip
        reached = self.devices.figures()[2]["bad"]
        self.announce()
        time.sleep(self.spread_s + 5)
        self.devices.until(lambda: not self.devices.figures()[0]["watching bad"], "no device watches it")
        took = self.devices.figures()[2]["bad"]
        self.row(
            f"a bad version at {CANARY} %: `edge-fleet wait --abort-number {ABORT} --pause`", f"exit {code}, paused"
        )
        self.row("devices that had it then, and in the end", f"{reached}, {took} ({took / self.count:.2%})")
        self.row(
            "devices that run it in the end", str(sum(n for k, n in self.devices.figures()[0].items() if "bad" in k))
        )

    def away(self) -> None:
        """Half of the devices are away while a version comes, and come back."""
        self.devices.say("leave", 2)
        self.add("2")
        self.control.change("promote")
        self.announce()
        here = self.count - -(-self.count // 2)
        self.devices.until(lambda: self.confirmed("2") >= here, "those that are there have it")
        self.devices.say("join", 2)
        took = self.devices.until(lambda: self.confirmed("2") >= 0.99 * self.count, "99 % confirmed")
        self.row("half of them away meanwhile: back, to 99 % confirmed", f"{took:.0f} s")

    def rotated(self) -> None:
        """The key of the time stamp is rotated; devices follow, and the next version goes to all."""
        self.fleet.repository.rotate(("timestamp",), lost=False)
        self.add("3")
        self.control.change("promote")
        self.announce()
        took = self.devices.until(lambda: self.confirmed("3") >= 0.99 * self.count, "99 % confirmed")
        self.row("behind a rotated key: the next version, to 99 % confirmed", f"{took:.0f} s")

    def frozen(self) -> None:
        """A mirror whose time stamp has run out."""
        mirror = Fleet(Path(shutil.copytree(self.fleet.folder, self.folder / "mirror")))
        mirror.resign("timestamp", run_out)
        with web(mirror.public) as url:
            self.devices.say("web", url)
            self.announce()
            self.devices.until(lambda: sum(self.devices.figures()[1].values()) == self.count, "each says what is wrong")
            states, faults, *_ = self.devices.figures()
        self.row("a frozen mirror: devices that say so and run on", f"{states['confirmed 3']}: {next(iter(faults))}")


def run_out(timestamp: Any) -> None:
    """One that ran out yesterday."""
    timestamp.version += 1
    timestamp.expires = datetime.now(UTC).replace(microsecond=0) - timedelta(1)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fleet")
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--watch", type=float, default=30.0)
    parser.add_argument("--spread", type=float, default=60.0)
    parser.add_argument("--write", type=Path, metavar="README")
    args = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    share = busy()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "trust").mkdir()
        fleet = Fleet(folder / "fleet")
        fleet.add(write_model(folder / "0.onnx", "0"), "0", share=0)
        with mosquitto(folder) as port, web(fleet.public) as url:
            stage = Stage(args, folder, port, url, fleet)
            for part in (stage.good, stage.bad, stage.away, stage.rotated, stage.frozen):
                part()
            stage.row("processor of the controller, all of it, and its memory at most",
                      f"{stage.control.cpu_s:.0f} s, {stage.control.memory_mb:.0f} MB")  # fmt: skip
            stage.row("times that tuf verified, of the checks", f"{stage.devices.figures()[3]['verified']}")
            stage.hand.close()
            stage.devices.end()
    table = [f"| {args.devices:,} devices, watched for {args.watch:g} s | |", "|-|-:|"]
    table += [f"| {what} | {value} |" for what, value in stage.rows]
    text = "\n".join([*table, "", description([share])])
    sys.stdout.write(text + "\n")
    if args.write:
        write_between(args.write, "<!-- fleet: begin -->", "<!-- fleet: end -->", text)


if __name__ == "__main__":
    main()
