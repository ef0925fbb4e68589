"""Parts to results on a cluster that exists: `--engine ray` and `--engine spark`.

The archive and the output lie on a disk that every machine sees under the same path, so a part is made there as it is
made here: read, scored by the same worker and written whole, by a name that it takes at the end. What travels is the
list of parts and the model, once to each machine (Ray's object store, Spark's broadcast) and held against its hash by
each process that loads it. A part that is made twice, because a machine was lost, is the same file twice.
"""

from __future__ import annotations

import importlib.util
import os
import re
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from edge import __version__
from edge.app.loading import Loaded
from edge.errors import ConfigError, EdgeError, FatalError, SourceError, SpoolError, first_line, needs
from edge.score import files, local
from edge.score.local import Job, Worker
from edge.score.plan import Part
from edge.score.run import Run
from edge.settings.settings import DeviceManifestSettings, ModelSettings

REACH_S = 5.0
TRIES = 3
"""How often a part is begun anew where its process or machine is lost."""

Outcome: TypeAlias = tuple[int, EdgeError | None]
"""Rows of a part that was tried, and why it is not there. As a value: a cluster wraps what is raised in words of its
own."""


class Shipment(msgspec.Struct, frozen=True):
    """A model on its way. `files`: by name; `version`, `engine`: what it was tried with; `folder`: where the command
    was given; `record`: the words that mark the output."""

    name: str
    files: dict[str, bytes]
    version: str
    engine: str
    folder: str
    record: bytes


def pack(loaded: Loaded, job: Job) -> Shipment:
    """Of a run that has begun. Raises ModelError for a file that is gone, SpoolError."""
    record = Run(job.out, job.form).folder / "_run.json"
    try:
        words = record.read_bytes()
    except OSError as exc:
        raise SpoolError(f"{record}: {exc.strerror}; choose another -o") from exc
    return Shipment(loaded.path.name, files.of(loaded), __version__, _engine(loaded), str(Path.cwd()), words)


def run(
    place: str, job: Job, loaded: Loaded, parts: Mapping[int, Part], workers: int | None, tell: Callable[[int], None]
) -> list[SourceError]:
    """Makes these parts; returns why some could not be read. `place`: ray or spark, with `:ADDRESS` or without;
    `tell`: how many more rows are done. Raises FatalError."""
    kind, address = of(place)
    failed: list[SourceError] = []
    work = _on_ray if kind == "ray" else _on_spark
    for rows, error in work(address, job, pack(loaded, job), parts, workers):
        if isinstance(error, SourceError):
            failed.append(error)
        elif error is not None:
            raise error
        tell(rows)
    return failed


def require(place: str) -> None:
    """Raises ConfigError where the library is not there, or nothing at the address: theirs wait for minutes."""
    kind, address = of(place)
    library = {"ray": "ray", "spark": "pyspark"}[kind]
    if importlib.util.find_spec(library) is None:
        raise needs(f"--engine {kind}", library, f"score-{kind}")
    wrong = _unreached(address)
    if wrong:
        raise ConfigError(f"--engine {place}: {wrong}")
    if place == "ray":
        noted, by = _noted()
        wrong = _unreached(noted)
        if wrong:
            raise ConfigError(
                f"--engine ray: {wrong}; {by} names that cluster: remove it where the cluster is gone, give the "
                "address (ray:HOST:PORT), or say ray:local for a Ray of this run's own"
            )


def _noted() -> tuple[str, str]:
    """The cluster that Ray would join unasked, and what names it; of one that was killed the note stays."""
    if given := os.environ.get("RAY_ADDRESS"):
        return given, "RAY_ADDRESS"
    note = Path(os.environ.get("RAY_TMPDIR", tempfile.gettempdir()), "ray", "ray_current_cluster")
    try:
        return note.read_text().strip(), str(note)
    except (OSError, ValueError):
        return "", ""


def _unreached(address: str) -> str:
    """Why nothing is at HOST:PORT; "" where something is, or the address is another word."""
    found = re.fullmatch(r"(?:\w+://)?([^/,\[\]]+):(\d+)/?", address)
    if found is None:
        return ""
    try:
        socket.create_connection((found[1], int(found[2])), REACH_S).close()
    except (OSError, OverflowError) as exc:
        return f"nothing answers at {found[1]}:{found[2]}: {first_line(exc)}"
    return ""


def of(place: str) -> tuple[str, str]:
    """Kind and address: of `spark://head:7077` and `ray://head:10001` the whole, else what is behind the colon."""
    kind, _, address = place.partition(":")
    return kind, place if address.startswith("//") else address


class Remote:
    """In a process of the cluster: loads the model for the first part, and keeps it."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._worker: Worker | None = None

    def make(self, number: int, part: Part, fetch: Callable[[], Shipment]) -> Outcome:
        """One part. `fetch` gives what the cluster has brought. What the archive, the model or the disk have against
        it is returned."""
        try:
            if self._worker is None:
                self._worker = self._open(fetch())
            self._worker.make(number, part, lambda _: None)
        except EdgeError as exc:
            return part.rows, exc
        return part.rows, None

    def _open(self, sent: Shipment) -> Worker:
        host = socket.gethostname()
        if sent.version != __version__:
            raise ConfigError(f"{host} has edge-run {__version__}, here it is {sent.version}; install the same there")
        _enter(sent, self._job, host)
        with tempfile.TemporaryDirectory(prefix="edge-score-") as folder:
            for name, content in sent.files.items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            model = self._job.settings.model
            settings = msgspec.structs.replace(
                self._job.settings,
                model=ModelSettings(Path(folder, sent.name), "auto", model.threads, model.provider, no_golden=True),
                manifest=DeviceManifestSettings(),  # the sidecar has them
            )
            worker = local.open_worker(msgspec.structs.replace(self._job, settings=settings))
        if (found := _engine(worker.loaded)) != sent.engine:
            raise ConfigError(f"{host} has {found}, here it is {sent.engine}; install the same there")
        return worker


def _enter(sent: Shipment, job: Job, host: str) -> None:
    """The folder of the command, from where its paths count. Raises SpoolError where the output is not seen."""
    folder = Run(job.out, job.form).folder
    try:
        os.chdir(sent.folder)
        seen = (folder / "_run.json").read_bytes() == sent.record
    except OSError:
        seen = False
    if not seen:
        raise SpoolError(
            f"{host} does not see {Path(sent.folder, folder)}: archive and output belong on a disk that every machine "
            "of the cluster sees under the same path"
        )


def _on_ray(
    address: str, job: Job, shipment: Shipment, parts: Mapping[int, Part], workers: int | None
) -> Iterator[Outcome]:
    import ray
    from ray.util import ActorPool

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        # Without an address: RAY_ADDRESS, a cluster of this machine's, else one for the time of the run.
        ray.init(address or None, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError) as exc:
        raise ConfigError(
            f"--engine ray {address}: no cluster is reached: {first_line(exc)}; one that wants a token (ray start has "
            "them on) is spoken to with RAY_AUTH_MODE=token in the environment"
        ) from exc
    try:
        threads = job.settings.model.threads or 1
        most = workers or int(ray.cluster_resources().get("CPU", 1)) // threads
        remote = ray.remote(num_cpus=threads, max_restarts=TRIES, max_task_retries=TRIES)(Remote)
        fetch = partial(ray.get, ray.put(shipment))
        pool = ActorPool([remote.remote(job) for _ in range(max(1, min(most, len(parts))))])
        for item in parts.items():
            pool.submit(lambda actor, value: actor.make.remote(*value, fetch), item)
        while pool.has_next():
            yield pool.get_next_unordered()
    except ray.exceptions.RayError as exc:
        raise FatalError(f"Ray gave up: {first_line(exc)}; --resume goes on") from exc
    finally:
        ray.shutdown()


def _on_spark(
    address: str, job: Job, shipment: Shipment, parts: Mapping[int, Part], workers: int | None
) -> Iterator[Outcome]:
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("edge-score").config("spark.ui.showConsoleProgress", sys.stderr.isatty())
    theirs = SparkSession.getActiveSession() is not None
    try:
        # Without an address: what spark-submit or Spark's own settings say, else all processors of this machine.
        context = (builder.master(address) if address else builder).getOrCreate().sparkContext
    except (PySparkException, Py4JError, OSError) as exc:
        raise ConfigError(f"--engine spark {address}: no Spark is reached: {first_line(exc)}") from exc
    try:
        sent = context.broadcast(shipment)
        slices = context.parallelize(list(parts.items()), min(len(parts), workers or len(parts)))
        yield from slices.mapPartitions(lambda some: _made(some, job, sent)).collect()
    except (PySparkException, Py4JError) as exc:
        raise FatalError(f"Spark gave up: {first_line(exc)}; --resume goes on") from exc
    finally:
        if not theirs:  # a notebook's, or a program's that goes on
            context.stop()


_remote: tuple[str, Remote] | None = None


def _made(some: Iterable[tuple[int, Part]], job: Job, sent: Any) -> Iterator[Outcome]:
    """In a process of Spark's, which is used for one task after the other: the model stays loaded."""
    global _remote
    key = f"{job.sha256} {job.out}"
    if _remote is None or _remote[0] != key:
        _remote = key, Remote(job)
    for number, part in some:
        yield _remote[1].make(number, part, lambda: sent.value)


def _engine(loaded: Loaded) -> str:
    return f"{loaded.engine.name} {loaded.engine.version}"
