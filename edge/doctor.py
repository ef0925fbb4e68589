"""`edge-run --check`: looks at every part, prints a table, ends with the first failing part's exit code."""

from __future__ import annotations

import logging
import os
import platform
import resource
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from edge import assembly, service
from edge.config import Settings
from edge.errors import ConfigError, EndOfStream, FatalError, SampleError, SpoolError, UnavailableError
from edge.model import golden
from edge.sources.synthetic import SyntheticSource
from edge.telemetry import board
from edge.telemetry.clock import SystemClock, clock_synced
from edge.transports.connection import MqttOptions
from edge.transports.mqtt import Listener, MqttTransport

WHEELS = ("onnxruntime", "numpy", "paho-mqtt", "msgspec", "ai-edge-litert", "opencv-python-headless", "fastapi")
LATENCY_RUNS = 30
BROKER_WAIT_S = 8.0


@dataclass(frozen=True, slots=True)
class Row:
    """`verdict`: "ok", "warn" or "fail"; `code` is the exit code of a failure."""

    part: str
    verdict: str
    text: str
    code: int = 0


def examine(settings: Settings) -> int:
    """Prints the table and returns the exit code."""
    logging.getLogger("edge").setLevel(logging.CRITICAL)  # the table says it
    code = 0
    for row in _rows(settings):
        sys.stdout.write(f"{row.verdict:5} {row.part:10} {row.text}\n")
        sys.stdout.flush()
        code = code or row.code
    return code


def _rows(settings: Settings) -> Iterator[Row]:
    yield _python()
    yield _wheels()
    yield from _board()
    loaded = None
    try:
        loaded = service.open_model(settings)
        yield Row("model", "ok", _model_text(loaded))
    except FatalError as exc:
        yield Row("model", "fail", str(exc), exc.exit_code)
    if loaded is not None:
        yield from _runs(settings, loaded)
        yield _source(settings, loaded)
    yield _broker(settings)
    yield _state(settings)
    yield _clock()


def _python() -> Row:
    text = f"{platform.python_version()}, {platform.machine()}, {board.pointer_bits()}-bit"
    if board.pointer_bits() != 64:
        return Row("python", "warn", f"{text}: onnxruntime has no 32-bit wheels; use the 64-bit Raspberry Pi OS")
    return Row("python", "ok", text)


def _wheels() -> Row:
    found = []
    for name in WHEELS:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return Row("packages", "ok", ", ".join(found))


def _board() -> Iterator[Row]:
    celsius, bits = board.temperature_celsius(), board.throttled()
    warm = "" if celsius is None else f", {celsius:.0f} C"
    if celsius is not None and celsius >= 80:
        yield Row("board", "warn", f"{board.HERE.model()}{warm}: it slows down at 85 C; cool it")
    else:
        yield Row("board", "ok", board.HERE.model() + warm)
    if bits:
        fix = "use the board's own power supply" if bits & 0x10001 else "cool it"
        yield Row("power", "warn", f"{', '.join(board.problems(bits))}: {fix}")


def _model_text(loaded: assembly.Loaded) -> str:
    def brief(specs: Any) -> str:
        return ", ".join(f"{s.name} {s.dtype}{list(s.shape) if s.shape is not None else ''}" for s in specs)

    size = loaded.path.stat().st_size / 1e6
    guessed = f"; guessed: {' '.join(loaded.guesses)}" if loaded.guesses else ""
    return (
        f"{loaded.manifest.name}, {loaded.manifest.task}, {size:.2f} MB, {loaded.engine.name} {loaded.engine.version}; "
        f"in: {brief(loaded.engine.inputs)}; out: {brief(loaded.engine.outputs)}{guessed}"
    )


def _runs(settings: Settings, loaded: assembly.Loaded) -> Iterator[Row]:
    try:
        worst = golden.replay(loaded.engine, loaded.manifest, file=loaded.path.name)
    except FatalError as exc:
        yield Row("golden", "fail", str(exc), exc.exit_code)
        return
    count = len(loaded.manifest.golden)
    yield Row("golden", "ok", f"{count} samples, off by {worst:.2g}" if count else "the file holds no golden samples")
    try:
        yield Row("latency", "ok", _latency(settings, loaded))
    except (FatalError, SampleError) as exc:
        yield Row("latency", "warn", f"not measured: {exc}")


def _latency(settings: Settings, loaded: assembly.Loaded) -> str:
    clock = SystemClock()
    pipeline = assembly.make_pipeline(loaded, settings.device)
    sample = SyntheticSource(None, assembly.source_context(loaded, clock, settings)).read(0)
    if sample is None:
        raise SampleError("no synthetic sample")
    tensors = [p.ready.tensors for p in pipeline.prepare(sample) if p.ready is not None]
    if not tensors:
        raise SampleError("a synthetic sample does not fit the model")
    spent = []
    for _ in range(LATENCY_RUNS):
        started = time.perf_counter()
        pipeline.infer(tensors[0])
        spent.append((time.perf_counter() - started) * 1e3)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    times = f"{statistics.median(spent):.3f} ms median, {max(spent):.3f} ms worst of {LATENCY_RUNS}"
    return f"{times}; {memory:.0f} MB used"


def _source(settings: Settings, loaded: assembly.Loaded) -> Row:
    uri = settings.source
    if uri is None or uri == "-" or uri.startswith("mqtt:"):
        return Row("source", "ok", uri or "the model's input topic")
    try:
        source = assembly.make_source(uri, assembly.source_context(loaded, SystemClock(), settings))
        try:
            source.open()
            sample = source.read(2.0)
        finally:
            source.close()
    except EndOfStream:
        return Row("source", "warn", f"{uri}: it opens and is empty")
    except FatalError as exc:
        return Row("source", "fail", str(exc), exc.exit_code)
    except (UnavailableError, SampleError) as exc:
        return Row("source", "warn", str(exc))
    return Row("source", "ok" if sample else "warn", f"{uri}: {'a sample came' if sample else 'no sample within 2 s'}")


class _Waits(Listener):
    def __init__(self) -> None:
        self.answered = threading.Event()

    def up(self, *, resumed: bool) -> None:
        self.answered.set()


def _broker(settings: Settings) -> Row:
    if settings.mqtt == "none" or settings.mqtt.startswith("embedded"):
        return Row("broker", "ok", settings.mqtt)
    try:
        options = MqttOptions(
            url=service.broker_url(settings),
            client_id=f"edge-run-check-{os.getpid()}",
            ca=settings.mqtt_ca,
            cert=settings.mqtt_cert,
            key=settings.mqtt_key,
        )
        reason = _reach(options)
    except ConfigError as exc:
        return Row("broker", "fail", str(exc), exc.exit_code)
    if reason is None:
        return Row("broker", "ok", f"{options.url} answers")
    return Row("broker", "warn", f"{reason}; results will wait in the spool")


def _reach(options: MqttOptions) -> str | None:
    """None where the broker answers, else why not."""
    listener = _Waits()
    reasons: list[str] = []
    transport = MqttTransport(options, unavailable=reasons.append)
    transport.listen(listener)
    transport.start()
    reached = listener.answered.wait(BROKER_WAIT_S)
    transport.stop()
    if reached:
        return None
    return reasons[-1] if reasons else f"{options.url}: no answer in {BROKER_WAIT_S:.0f} s"


def _state(settings: Settings) -> Row:
    folder = Path(settings.state_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"edge-run")
            os.fsync(file.fileno())
    except (FileExistsError, NotADirectoryError):
        return Row("state", "fail", f"{folder} is not a folder; say --state-dir", SpoolError.exit_code)
    except OSError as exc:
        text = f"{folder}: {exc.strerror}; results will wait in memory only; say --state-dir"
        return Row("state", "fail", text, SpoolError.exit_code)
    free = shutil.disk_usage(folder).free
    if free < settings.spool_max:
        text = f"{folder}: {free / 1e6:.0f} MB free, the spool may take {settings.spool_max / 1e6:.0f} MB; --spool-max"
        return Row("state", "warn", text)
    return Row("state", "ok", f"{folder}, {free / 1e9:.1f} GB free")


def _clock() -> Row:
    if clock_synced():
        return Row("clock", "ok", "synchronised")
    return Row("clock", "warn", "not synchronised: results say so (clock_synced); sudo timedatectl set-ntp true")
