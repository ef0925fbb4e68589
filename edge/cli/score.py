"""The command `edge-score`."""

# Not `from __future__ import annotations`: `options.of` reads the annotations.
import gc
import os
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Struct

from edge import __version__
from edge.cli import ending, plugins
from edge.errors import ConfigError, FatalError, Needing, SourceError, SpoolError, printable
from edge.settings import arguments, options, parsers
from edge.settings.arguments import Program
from edge.settings.options import Flag, Room
from edge.settings.parsers import THREADS_MOST, one_of, up_to
from edge.settings.settings import DeviceManifestSettings, InputSettings, ModelSettings, Settings

if TYPE_CHECKING:
    import pyarrow

    from edge.app.loading import Loaded
    from edge.score.kernel import Kernel
    from edge.score.local import Job, Worker
    from edge.score.plan import Part
    from edge.score.read import Reader
    from edge.score.run import Record, Run

BATCH_MOST = 65_536
WORKERS_MOST = 256


def _place(text: str) -> str:
    """A place to run at. Raises ValueError."""
    if text != "local" and text.partition(":")[0] not in ("ray", "spark"):
        raise ValueError("local, ray or spark belongs there, the latter two with :ADDRESS or without")
    return text


class Arguments(Struct, frozen=True, kw_only=True):
    """What `edge-score` may be told. How a field is declared: `edge.settings.options`."""

    model: Annotated[
        Path, Flag("the .onnx or .tflite file that the device runs", parsers.path, "MODEL", positional=True)
    ]
    archive: Annotated[
        tuple[str, ...],
        Flag(
            ".parquet, .csv, .jsonl, pictures, .wav, .npy; a folder with what lies below it; a glob",
            metavar="IN",
            positional=True,
            many=True,
        ),
    ]
    out: Annotated[
        Path, Flag("FILE.parquet, .csv, .jsonl, or a folder of parts", parsers.path, "OUT", name="output", short="-o")
    ]
    columns: Annotated[
        tuple[str, ...],
        Flag("columns of the input to keep, with commas between; NAME=NEW names one anew", str, "NAME,NAME", many=True),
    ] = ()
    compare: Annotated[bool, Flag("what a new model answers otherwise: --compare OLD NEW IN (--compare --help)")] = (
        False
    )
    format: Annotated[
        Literal["parquet", "csv", "jsonl"] | None,
        Flag("of a folder's parts: parquet, csv, jsonl [parquet]", one_of(("parquet", "csv", "jsonl"))),
    ] = None
    resume: Annotated[bool, Flag("go on with the run that was stopped; parts that are done stay")] = False
    engine: Annotated[
        str,
        Flag("where it runs: local, ray or spark; ray:ADDRESS, ray://HOST:PORT, spark://HOST:PORT, spark:MASTER",
             parse=_place, metavar="WHERE"),
    ] = "local"  # fmt: skip
    workers: Annotated[
        int | None, Flag("processes [one for each core, of the cluster as well]", up_to(WORKERS_MOST), "N")
    ] = None
    batch: Annotated[
        int, Flag("rows of a table in one inference; 1: each alone", up_to(BATCH_MOST), "N")
    ] = 1024  # fmt: skip
    threads: Annotated[
        int, Flag("threads for one inference; more than 1 may change last bits", up_to(THREADS_MOST), "N")
    ] = 1  # fmt: skip
    provider: Annotated[str, Flag("execution provider, or the path of a TFLite delegate", metavar="NAME")] = "cpu"
    no_golden: Annotated[bool, Flag("do not replay the golden samples at start")] = False
    manifest: Annotated[DeviceManifestSettings, Room("what the model says, overridden")] = DeviceManifestSettings()


class CompareArguments(Struct, frozen=True, kw_only=True):
    """What `edge-score --compare` may be told."""

    compare: Annotated[bool, Flag("what a new model answers otherwise")]
    old: Annotated[Path, Flag("the .onnx or .tflite file that runs now", parsers.path, "OLD", positional=True)]
    new: Annotated[Path, Flag("the one that may take its place", parsers.path, "NEW", positional=True)]
    archive: Annotated[
        tuple[str, ...], Flag("as without --compare", metavar="IN", positional=True, many=True)
    ]  # fmt: skip
    expect: Annotated[str, Flag("the column of the true answers; rows without one are left out", metavar="COLUMN")] = ""
    by: Annotated[
        tuple[str, ...], Flag("a column to look at by its values", metavar="COLUMN", name="slice", many=True)
    ] = ()
    report: Annotated[
        Path | None, Flag("all of it, each row that changed too", parsers.path, "FILE.json|FILE.html")
    ] = None
    batch: Annotated[int, Flag("rows of a table in one inference", up_to(BATCH_MOST), "N")] = 1024
    threads: Annotated[int, Flag("threads for one inference", up_to(THREADS_MOST), "N")] = 1
    provider: Annotated[str, Flag("execution provider, or the path of a TFLite delegate", metavar="NAME")] = "cpu"


COMPARE = Program(
    "edge-score --compare",
    "What a new model answers otherwise over an archive: agreement, wins and losses by class and slice.",
    __version__,
    plugins=plugins,
)
PROGRAM = Program(
    "edge-score",
    "What a model says of an archive: by the file and the steps that the device runs, in the order of the rows.",
    __version__,
    plugins=plugins,
)


def main() -> None:
    """Exit codes: 0 done, 1 bug, 2 usage, 3 model, 4 output, 5 input; 130 after Ctrl-C."""
    ending.main(lambda: run(sys.argv[1:]), "edge-score: interrupted; --resume goes on with it")


def run(argv: Sequence[str]) -> int:
    """`edge-score` with these arguments; returns the exit code."""
    gc.disable()  # what is imported stays: to look for garbage among it costs a twentieth of the start
    # Before numpy is imported, here and in the processes that are started: nothing multiplies matrices in it.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    # Arrow's own pools keep what they had once: 50 MB more for each two processes, and no faster.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    try:
        if "--compare" in argv:
            work = partial(_compare, arguments.read(CompareArguments, COMPARE, argv))
        else:
            work = partial(_score, arguments.read(Arguments, PROGRAM, argv))
        with Needing("edge-score", "pyarrow", "score"):
            import pyarrow  # noqa: F401 - only whether it is there
        work()
    except FatalError as exc:
        return ending.failed("edge-score", exc, exc.exit_code)
    finally:
        gc.enable()
    return 0


def _loaded() -> None:
    """All is imported and loaded; from now on much data goes through. Garbage is looked for in what comes."""
    from edge.telemetry import memory

    memory.keep_freed()
    gc.freeze()
    gc.enable()


def settings_of(args: Arguments) -> Settings:
    """The same as `edge-run` has them."""
    return Settings(
        model=ModelSettings(args.model, "auto", args.threads, args.provider, args.no_golden),
        manifest=args.manifest,
        input=_input(args.archive[0]),
    )


def _input(archive: str) -> InputSettings:
    """What the samples surely are is told by the source that would read them; of Parquet there is none, and to look for
    a stranger's among all that is installed takes 0.05 s."""
    from edge.score import plan

    return InputSettings(source=None if plan.SUFFIXES.get(Path(archive).suffix.lower()) == "parquet" else archive)


def kept(args: Arguments) -> dict[str, str]:
    """Name in the archive to name in the results."""
    pairs = [word.strip().partition("=") for words in args.columns for word in words.split(",")]
    return {old: new or old for old, _, new in pairs}


def _score(args: Arguments) -> None:
    from edge.app.loading import open_model, replay
    from edge.plugins.protocols import EngineOptions
    from edge.score import local, plan, report, run
    from edge.score.kernel import Kernel
    from edge.score.read import Reader
    from edge.score.summary import Drift

    if args.engine != "local":
        from edge.score import clusters

        clusters.require(args.engine)
    settings = settings_of(args)
    loaded = open_model(settings, EngineOptions(args.threads, args.provider))
    replay(loaded, settings)
    for remark in (*(f"guessed: {g}" for g in loaded.guesses), *loaded.warnings):
        sys.stderr.write(printable(f"edge-score: {remark}") + "\n")
    kernel = Kernel(loaded, batch=args.batch)
    parts = plan.parts(args.archive, in_order=kernel.in_order)
    names = _kept(args, parts)
    reader = Reader(loaded, settings, names, batch=args.batch)
    fields = _fields(reader, kernel, parts)
    target = run.Run(args.out, args.format)
    record = _record(args, loaded, parts, target.form)
    todo = {n: parts[n] for n in _begun(args, target, record)}
    if not todo and target.out.is_file():
        _tell_done(target.finished(), args.batch)
        return
    rows = sum(p.rows for p in parts)
    job = local.Job(settings, loaded.sha256, args.out, target.form, names, fields, args.batch, rows)
    worker = local.Worker(job, kernel, reader)
    _loaded()
    started = time.monotonic()
    try:
        _make(args, job, worker, todo)
        summary = target.summary(len(parts))
        drift = Drift(loaded.manifest).indices(summary)
        target.finish(msgspec.structs.replace(record, state="done", summary=summary, drift=drift), worker.schema)
    finally:
        target.close()
    seconds = time.monotonic() - started if len(todo) == len(parts) else None
    sys.stdout.write(report.text(summary, drift, seconds, batch=args.batch) + f"in {args.out}\n")


def _begun(args: Arguments, target: "Run", record: "Record") -> list[int]:
    """The parts to be made. That a folder is new is told, since it may be a slip."""
    new = not args.out.parent.exists()
    todo = target.begin(record, resume=args.resume)
    if new:
        sys.stderr.write(f"edge-score: -o {args.out}: {args.out.parent} was not there, and was made\n")
    return todo


def _compare(args: CompareArguments) -> None:
    from edge.app.loading import Loaded, open_model, replay
    from edge.compare import written
    from edge.compare.report import text
    from edge.plugins.protocols import EngineOptions
    from edge.score import compare, plan, report
    from edge.storage import atomic

    if args.report is not None:
        written.require_place(args.report)
    options_ = EngineOptions(args.threads, args.provider)

    def opened(file: Path) -> tuple[Loaded, Settings]:
        own = ModelSettings(file, "auto", args.threads, args.provider)
        settings = Settings(model=own, input=_input(args.archive[0]))
        loaded = open_model(settings, options_)
        replay(loaded, settings)
        return loaded, settings

    asked = compare.Asked(args.expect, args.by, args.batch)
    parts = plan.parts(args.archive, in_order=False)
    models = (opened(args.old), opened(args.new))
    _loaded()
    with report.progress(sum(p.rows for p in parts), counted=all(p.counted for p in parts)) as tell:
        found, left_out = compare.compare(models, asked, parts, tell)
    left = f"left out          {left_out} rows without an answer in {args.expect}\n" if left_out else ""
    sys.stdout.write(f"{text(found)}\n{left}")
    if args.report is not None:
        try:
            atomic.write(args.report, written.content(found, args.report))
        except OSError as exc:
            raise SpoolError(f"--report {args.report}: {exc.strerror}; choose another place") from exc


def _fields(reader: "Reader", kernel: "Kernel", parts: Sequence["Part"]) -> tuple["pyarrow.Field", ...]:
    """The columns that are kept, when those of every table are looked at. Raises SourceError, ConfigError."""
    from edge.score import schema

    sound = [part for part in parts if not part.damaged]
    for part in {part.paths[0]: part for part in sound if part.kind == "parquet"}.values():
        reader.check(part)
    fields = tuple(reader.kept_fields(sound[0]))
    schema.require_apart([f.name for f in fields], kernel.columns)
    return fields


def _record(args: Arguments, loaded: "Loaded", parts: Sequence["Part"], form: str) -> "Record":
    """Of a run that begins."""
    from edge.score import run

    said = {option.name: options.get(args.manifest, option) for option in options.of(DeviceManifestSettings)}
    own = {"columns": args.columns, "batch": args.batch, "threads": args.threads, "provider": args.provider}
    engine = f"{loaded.engine.name} {loaded.engine.version}"
    ref, all_said = loaded.ref, run.options_of({**said, **own, "format": form})
    made = run.Made(ref.name, ref.version, ref.sha256, engine, all_said)
    keys = tuple(part.key for part in parts)
    return run.Record(state="running", made=made, edge_run=__version__, archive=args.archive, keys=keys)


def _make(args: Arguments, job: "Job", worker: "Worker", todo: Mapping[int, "Part"]) -> None:
    """The parts that are still to be made. Raises SourceError where some could not be read."""
    from edge.score import local, report
    from edge.telemetry import board

    total, counted = sum(p.rows for p in todo.values()), all(p.counted for p in todo.values())
    with report.progress(total, counted=counted) as tell:
        if args.engine == "local":
            workers = max(1, min(args.workers or board.cores(), len(todo)))
            if workers == 1:
                failed = local.run(worker, todo, tell)
            else:
                from edge.score import processes

                failed = processes.run(job, todo, workers, tell)
        else:
            from edge.score import clusters

            failed = clusters.run(args.engine, job, worker.loaded, todo, args.workers, tell)
    if failed:
        more = f" (and {len(failed) - 1} more parts)" if len(failed) > 1 else ""
        done = "; the other parts are done" if len(failed) < len(todo) else ""
        raise SourceError(f"{failed[0]}{more}{done}")


def _kept(args: Arguments, parts: Sequence["Part"]) -> dict[str, str]:
    """Raises ConfigError where there are no columns to keep."""
    names = kept(args)
    if parts[0].kind == "files" and names:
        raise ConfigError(
            f"--columns {args.columns[0]}: files have no columns; leave it out (the path is kept as file)"
        )
    return names


def _tell_done(record: "Record | None", batch: int) -> None:
    from edge.score import report

    if record is not None and record.summary is not None:
        sys.stdout.write("it was done already\n" + report.text(record.summary, record.drift, None, batch=batch))
