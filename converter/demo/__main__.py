"""`edge-run demo`: trains, converts, runs `edge-run` on rows it has not seen, and shows what a subscriber receives.

Everything stays in a folder to go on with. Without a broker edge-run brings its own.
"""

# Not `from __future__ import annotations`: `options.of` reads the annotations.
import contextlib
import csv
import importlib.util
import json
import os
import random
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO, Annotated, Any
from urllib.parse import urlsplit

from msgspec import Struct

import edge
from converter.demo import examples
from edge.cli import ending
from edge.errors import ConfigError, FatalError, needs
from edge.settings import arguments, parsers
from edge.settings.arguments import Program
from edge.settings.options import Flag

TOPIC = "edge/demo/digits/result"
BINARIES = Path(sys.executable).parent
SIDE = 8
SCALE = 24
WAIT_S = 60.0
BEHIND_S = 5.0
"""How long the last results may take to a subscriber when edge-run has ended."""
SHOWN_MOST = 12
LIBRARIES = {"sklearn": "scikit-learn", "skops": "skops", "skl2onnx": "skl2onnx"}


class Arguments(Struct, frozen=True, kw_only=True):
    """What the demo may be told."""

    folder: Annotated[Path, Flag("where everything is kept", parsers.path, "DIR")] = Path("edge-demo")
    broker: Annotated[str, Flag("mqtt://host:port; else a broker inside edge-run", metavar="URL")] = ""


PROGRAM = Program(
    "edge-run demo", "Train, convert, run, subscribe: all of it once, in a folder that stays.", edge.__version__
)


class Files(Struct, frozen=True):
    """The demo's folder. `truth` is the digit of each held-back row, in their order."""

    folder: Path
    truth: tuple[str, ...]

    @property
    def rows(self) -> Path:
        """The rows as edge-run is fed with them: an object a line, with an id."""
        return self.folder / "rows.jsonl"


def main(argv: list[str]) -> int:
    """0 where every row came back; 2 for what cannot be."""
    try:
        return _demo(arguments.read(Arguments, PROGRAM, argv))
    except FatalError as exc:
        return ending.failed(PROGRAM.name, exc, exc.exit_code)


def _demo(args: Arguments) -> int:
    for module, library in LIBRARIES.items():
        if importlib.util.find_spec(module) is None:
            raise needs("the demo", library, "demo")
    if not args.broker and importlib.util.find_spec("amqtt") is None:
        raise needs("the demo without --broker", "amqtt", "demo")
    host, port = _address(args.broker)
    folder = _made(args.folder)
    _say("1. Training a model on scikit-learn's digits: python train_digits.py")
    files = _train(folder)
    _say("2. Converting it, with proof: edge-convert digits.skops -o digits.onnx --sample rows.csv --expect labels.csv")
    _convert(folder)
    _say(f"3. Running it on {len(files.truth)} digits it has not seen: edge-run digits.onnx --source - < rows.jsonl")
    code = _run(files, folder, args.broker, host, port)
    _say_next(args.folder)
    return code


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigError(f"--folder {folder}: {exc.strerror}; name another") from exc
    return folder.resolve()


def _say(text: str) -> None:
    sys.stdout.write(f"\n{text}\n")
    sys.stdout.flush()


def _train(folder: Path) -> Files:
    (folder / examples.SCRIPT).unlink(missing_ok=True)
    examples.write("sklearn", folder)
    with _child([sys.executable, examples.SCRIPT], cwd=folder, stdout=subprocess.DEVNULL) as training:
        code = training.wait()
    if code:
        raise ConfigError(f"{folder / examples.SCRIPT} ended with {code}; see above")
    with (folder / "rows.csv").open() as rows, (folder / "labels.csv").open() as labels:
        held = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(rows)]
        truth = tuple(row["target"] for row in csv.DictReader(labels))
    files = Files(folder, truth)
    files.rows.write_text("".join(json.dumps({"id": number, **row}) + "\n" for number, row in enumerate(held)))
    (folder / "digit.png").write_bytes(to_png(list(held[0].values())))
    return files


def _convert(folder: Path) -> None:
    command = [
        *(str(BINARIES / "edge-convert"), "digits.skops", "-o", "digits.onnx"),
        *("--sample", "rows.csv", "--expect", "labels.csv"),
    ]
    with _child(command, cwd=folder) as convert:
        code = convert.wait()
    if code:
        raise ConfigError(f"edge-convert ended with {code}; see above")


@contextlib.contextmanager
def _child(command: Sequence[str], **more: Any) -> Iterator[subprocess.Popen[str]]:
    """A process that ends where this one is told to: a signal that a service manager sends comes to this one alone.

    One that comes while it begins is held until there is something to end."""
    came: list[int] = []
    heard = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    heard = {number: handler for number, handler in heard.items() if callable(handler)}
    for number in heard:
        signal.signal(number, lambda number, _: came.append(number))
    with subprocess.Popen(command, text=True, **more) as process:
        try:
            for number, handler in heard.items():
                signal.signal(number, handler)
            for each in came:
                signal.raise_signal(each)
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                if process.stdin is not None:
                    with contextlib.suppress(BrokenPipeError):
                        process.stdin.close()


def _say_next(folder: Path) -> None:
    """What to type next, with the programs' path where the shell would not find them."""
    found = shutil.which("edge-run")
    on_path = found is not None and Path(found).parent.resolve() == BINARIES.resolve()
    run = "edge-run" if on_path else str(Path(os.path.relpath(BINARIES / "edge-run", folder)))
    page = "--http 8080 --mqtt none"
    _say(f"5. All of it is in {folder}{os.sep} (digit.png is a picture of row.json). Now you:")
    lines = [
        f"cd {folder}",
        f"{run} digits.onnx --source rows.csv --mqtt none",
        f"{run} digits.onnx {page}          # then look at http://127.0.0.1:8080/",
        "curl --json @row.json http://127.0.0.1:8080/predict          # beside it",
    ]
    sys.stdout.write("".join(f"   {line}\n" for line in lines))


def _run(files: Files, folder: Path, broker: str, host: str, port: int) -> int:
    command = [
        *(str(BINARIES / "edge-run"), "--model", str(folder / "digits.onnx"), "--source", "-", "--device", "demo"),
        *("--mqtt", broker or f"embedded:{port}", "--state-dir", str(folder / "state"), "--top-k", "1"),
    ]
    # Its lines for people would come between those of the subscriber.
    with _child(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as edge_run:
        if not _listens(host, port, edge_run):
            return edge_run.wait(WAIT_S)  # it has said why
        listen = [sys.executable, "-m", "converter.demo.subscriber", host, str(port), TOPIC]
        with _child(listen, stdout=subprocess.PIPE) as subscriber:
            over = threading.Event()
            threading.Thread(target=_end_behind, args=(edge_run, subscriber, over), daemon=True).start()
            try:
                received = _exchange(edge_run, subscriber, files)
            finally:
                over.set()
                subscriber.terminate()
        code = edge_run.wait(WAIT_S)
    return _summary(received, files) if code == 0 else code


def free_port() -> int:
    """A port for the broker, of those that no kernel gives to clients: whoever keeps trying one of theirs until it
    answers connects to itself now and then, and has taken it from the broker."""
    for port in random.sample(range(20_000, 30_000), 1000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ConfigError("no port from 20000 to 30000 is free for the broker; give one with --broker mqtt://host:port")


def _address(broker: str) -> tuple[str, int]:
    """Host and port. Raises ConfigError, before anything is trained, where nothing listens there."""
    if not broker:
        return "127.0.0.1", free_port()
    url = urlsplit(broker)
    if url.scheme != "mqtt" or not url.hostname or url.username:
        raise ConfigError(f"--broker {broker}: the demo takes mqtt://host:port, without a password")
    try:
        host, port = url.hostname, url.port or 1883
        socket.create_connection((host, port), 10.0).close()
    except (OSError, ValueError) as exc:
        raise ConfigError(f"--broker {broker}: {exc}; start it, or leave --broker out: edge-run brings one") from exc
    return host, port


def _listens(host: str, port: int, edge_run: subprocess.Popen[str]) -> bool:
    """Waits for edge-run's own broker, too; False where edge-run has ended."""
    until = time.monotonic() + WAIT_S
    while edge_run.poll() is None:
        try:
            socket.create_connection((host, port), 1.0).close()
        except OSError:
            if time.monotonic() > until:
                edge_run.terminate()
                raise ConfigError(f"no broker at {host}:{port} after {WAIT_S:.0f} s; try again") from None
            time.sleep(0.1)
        else:
            return True
    return False


def _end_behind(edge_run: subprocess.Popen[str], subscriber: subprocess.Popen[str], over: threading.Event) -> None:
    """Where edge-run's own broker has gone with it, the subscriber would go on trying to reach it."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        edge_run.wait(WAIT_S)
    if not over.wait(BEHIND_S):
        subscriber.terminate()


def _exchange(
    edge_run: subprocess.Popen[str], subscriber: subprocess.Popen[str], files: Files
) -> dict[str, dict[str, Any]]:
    """Feeds the rows once the subscriber listens; returns the results by id."""
    events = _events(subscriber)
    assert edge_run.stdin is not None, "the demo feeds it"
    if next(events, None) is None:  # not subscribed: edge-run has ended, and said why
        edge_run.stdin.close()
        return {}
    _say(f"   A subscriber in another process receives on {TOPIC}:")
    feeder = threading.Thread(target=_feed, args=(edge_run.stdin, files.rows.read_text()))
    feeder.start()
    received: dict[str, dict[str, Any]] = {}
    for event in events:
        result = event["payload"]
        if result["id"] not in received:
            received[result["id"]] = event
            _show(event, files.truth[result["input_id"]], len(received))
        if len(received) == len(files.truth):
            break
    feeder.join()
    return received


def _events(subscriber: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    for line in subscriber.stdout or ():
        yield json.loads(line)


def _feed(taken: IO[str], rows: str) -> None:
    # Broken where edge-run has ended meanwhile; a ValueError where the demo has, and closed it.
    with contextlib.suppress(BrokenPipeError, ValueError), taken:
        taken.write(rows)


def _show(event: dict[str, Any], truth: str, number: int) -> None:
    if number > SHOWN_MOST:
        sys.stdout.write("   ...\n" if number == SHOWN_MOST + 1 else "")
        return
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


def _summary(received: dict[str, dict[str, Any]], files: Files) -> int:
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


def to_png(row: Sequence[float]) -> bytes:
    """Ink from 0 to 16 to a grey PNG, dark on light, large enough to be looked at."""
    lines = []
    for top in range(0, SIDE * SIDE, SIDE):
        pixels = bytes(255 - min(255, round(value * 16)) for value in row[top : top + SIDE] for _ in range(SCALE))
        lines += [b"\0" + pixels] * SCALE
    side = SIDE * SCALE
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(b"".join(lines), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


if __name__ == "__main__":
    ending.main(lambda: main(sys.argv[1:]), f"{PROGRAM.name}: interrupted; --folder keeps what was made")
