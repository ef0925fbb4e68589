"""`python tests/benchmarks/walk.py [--python OTHER]`: how long the way of one warm MQTT input is, counted, not timed.

For the infer thread and the network thread: the distinct functions of ours that are entered for each of some rows, so
not what is looked at once a second. Over all threads: the
distinct locks of ours that are taken, the classes of ours that the sample and its results wear, and the threads that
run an outbox. OTHER is the Python of another build's environment; its functions are counted the same way.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

HERE = Path(__file__).parent
WARM = 30
ROWS = 3
OWNERS = ("_settle", "_collect", "_send")
"""What only the thread does that runs an outbox (or a lane, as it was called)."""


class Walk:
    """What is entered, taken and passed on between `begin` and `end`. Installed before our first import."""

    def __init__(self) -> None:
        self.on = self.shapes_on = False
        self.rows: list[dict[str, set[CodeType]]] = []
        """By thread, what was entered for each row."""
        self.locks: dict[str, set[tuple[int, str]]] = defaultdict(set)
        self.shapes: set[type] = set()
        self._kept: dict[int, Any] = {}
        self._older: set[int] = set()
        self.owners: set[str] = set()
        self._ours: dict[CodeType, bool] = {}
        self._make = threading.Lock

    def install(self) -> None:
        walk, make, condition = self, threading.Lock, threading.Condition

        class CountedLock:
            """A lock that says who made it, where that is ours."""

            def __init__(self) -> None:
                self._lock = make()
                frame = sys._getframe(1)  # noqa: SLF001
                while frame is not None and frame.f_code.co_filename == threading.__file__:
                    frame = frame.f_back
                name = frame.f_code.co_filename if frame is not None else ""
                self._made = f"{name}:{frame.f_lineno}" if frame is not None and _is_ours(name) else ""

            def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
                if walk.on and self._made:
                    walk.locks[threading.current_thread().name].add((id(self), self._made))
                return self._lock.acquire(blocking, timeout)

            def _at_fork_reinit(self) -> None:
                self._lock = make()

            def release(self) -> None:
                self._lock.release()

            def locked(self) -> bool:
                return self._lock.locked()

            def __enter__(self) -> bool:
                return self.acquire()

            def __exit__(self, *_: Any) -> None:
                self.release()

        threading.Lock = CountedLock  # type: ignore[misc, assignment]
        threading.Condition = lambda lock=None: condition(lock or CountedLock())  # type: ignore[misc, assignment]
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)

    def begin(self, shapes: bool) -> None:
        # What an earlier row has worn too is no shape of a row: a constant of the process.
        self._older, self.shapes = set(self._kept), set()
        self.shapes_on = shapes
        if not shapes:
            self.rows.append(defaultdict(set))
        self.on = True

    def end(self) -> None:
        self.on = self.shapes_on = False

    def _profile(self, frame: FrameType, event: str, value: Any) -> None:
        if not self.on or event not in ("call", "return"):
            return
        code = frame.f_code
        ours = self._ours.get(code)
        if ours is None:
            # Comprehensions are functions to some Pythons and not to others.
            ours = self._ours[code] = _is_ours(code.co_filename) and not code.co_name.endswith(("comp>", "expr>"))
        if not ours:
            return
        thread = threading.current_thread().name
        if event == "call" and not self.shapes_on:
            self.rows[-1][thread].add(code)
            if code.co_name in OWNERS and code.co_filename.endswith("outbox.py"):
                self.owners.add(thread)
        elif self.shapes_on and thread != "MainThread":
            for one in (value, *frame.f_locals.values()):
                self._shape(one, 2)

    def _shape(self, one: Any, depth: int) -> None:
        kind = type(one)
        if kind in (list, tuple) and depth:
            for part in one[:4]:
                self._shape(part, depth - 1)
        elif kind.__module__.startswith("edge.") and _is_value(kind):
            self._kept[id(one)] = one  # no other one gets its identity
            if id(one) not in self._older:
                self.shapes.add(kind)

    def report(self) -> dict[str, Any]:
        entered = {thread: set.intersection(*(row[thread] for row in self.rows)) for thread in self.rows[0]}
        functions = {t: sorted(f"{Path(c.co_filename).name}:{c.co_qualname}" for c in f) for t, f in entered.items()}
        locks = {t: sorted({m for _, m in found}) for t, found in self.locks.items()}
        shapes = sorted(f"{k.__module__}.{k.__qualname__}" for k in self.shapes)
        return {"functions": functions, "locks": locks, "shapes": shapes, "owners": sorted(self.owners)}


def _is_value(kind: type) -> bool:
    return hasattr(kind, "__struct_fields__") or hasattr(kind, "_fields") or hasattr(kind, "__dataclass_fields__")


def _is_ours(filename: str) -> bool:
    return f"{os.sep}edge{os.sep}" in filename and "site-packages" not in filename


def child(arguments: list[str]) -> None:
    """`edge-run` in this process; lines on standard input say when to count."""
    walk = Walk()
    walk.install()
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="edge-run")

    def obey() -> None:
        for line in sys.stdin:
            word = line.strip()
            if word in ("functions", "shapes"):
                walk.begin(word == "shapes")
            else:
                walk.end()
            if word == "report":
                print(json.dumps(walk.report()), flush=True)
                os.kill(os.getpid(), signal.SIGTERM)
                return
            print("done", flush=True)

    threading.Thread(target=obey, name="walk", daemon=True).start()
    sys.argv = ["edge-run", *arguments]
    script.load()()


def measure(python: str, folder: Path) -> dict[str, Any]:
    """The report of one build."""
    sys.path[:0] = [str(HERE), str(HERE.parent)]
    from flow import models
    from support.processes import Client, Mosquitto

    model = models.tiny(folder / "tiny.onnx")
    broker = Mosquitto(folder / "broker").start()
    try:
        command = [
            python, __file__, "--child", "--model", str(model), "--device", "walk", "--mqtt", broker.url,
            "--state-dir", str(folder / "state"), "--stats-interval", "0",
        ]  # fmt: skip
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            client = Client(broker.port, "edge/walk/#")
            client.wait_for_text("edge/walk/tiny/status", b"online")
            sent = 0

            def rows(count: int) -> None:
                nonlocal sent
                for _ in range(count):
                    client.publish("edge/walk/tiny/input", [0.5] * 64)
                    sent += 1
                    client.wait_for("result", sent)
                    time.sleep(0.3)  # the confirmation has to come back too

            def say(word: str) -> str:
                process.stdin.write(word + "\n")
                process.stdin.flush()
                return process.stdout.readline()

            rows(WARM)
            for _ in range(ROWS):
                say("functions")
                rows(1)
            for _ in range(ROWS):
                say("shapes")
                rows(1)
            say("off")
            report: dict[str, Any] = json.loads(say("report"))
            client.close()
            process.wait(30)
            return report
    finally:
        broker.end()


def main() -> None:
    """Prints the table; with `--list` also what was counted."""
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="the Python of the build that is meant")
    parser.add_argument("--list", action="store_true", help="names what was counted")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = measure(options.python, Path(folder))
    if options.list:
        print(json.dumps(report, indent=1))
    functions, locks = report["functions"], report["locks"]
    taken = {lock for found in locks.values() for lock in found}
    ours = {*functions.get("infer", ()), *functions.get("mqtt", ())}
    for name, count, target in (
        ("functions, infer thread", len(functions.get("infer", ())), 90),
        ("functions, network thread", len(functions.get("mqtt", ())), 45),
        ("functions, both together", len(ours), 135),
        (
            "functions, other threads",
            sum(len(f) for t, f in functions.items() if t not in ("infer", "mqtt", "MainThread")),
            0,
        ),
        ("locks", len(taken), 5),
        ("shapes", len(report["shapes"]), 10),
        ("threads that run an outbox", len(report["owners"]), 1),
    ):
        print(f"{name:28} {count:4}  (target {target})")


if __name__ == "__main__":
    main()
