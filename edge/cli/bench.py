"""The command `edge-bench`."""

# Not `from __future__ import annotations`: `options.of` reads the annotations.
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

from msgspec import Struct
from msgspec.structs import replace

from edge import __version__
from edge.app import profile
from edge.app.profile import Goal
from edge.cli import ending
from edge.errors import ConfigError, FatalError, ModelError
from edge.progress import steps
from edge.settings import arguments, parsers
from edge.settings.arguments import Program
from edge.settings.layers import default_state_dir
from edge.settings.options import UNSET, Flag
from edge.settings.parsers import THREADS_MOST, one_of, up_to
from edge.telemetry import board
from edge.tools.bench import figures, rounds, saved, table
from edge.tools.bench.figures import COSTS, Case, Row, Subject
from edge.tools.doctor.table import Style

BUSY = 0.5
"""Load for each core above which other work blurs the figures."""
SECONDS = parsers.between(0, 3600, "seconds above 0, at most 3600, belong there", above=True)


def _threads(text: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(up_to(THREADS_MOST)(part) for part in text.split(",")))


class Arguments(Struct, frozen=True, kw_only=True):
    """What `edge-bench` may be told. How a field is declared: `edge.settings.options`."""

    models: Annotated[
        tuple[Path, ...], Flag(".onnx or .tflite; several are compared", Path, "MODEL", positional=True, many=True)
    ]
    threads: Annotated[
        tuple[int, ...] | None, Flag("thread counts to try [1, 2, 4 up to the cores]", _threads, "N,N")
    ] = None
    providers: Annotated[
        tuple[str, ...], Flag("repeatable [all that the engine has here]", metavar="NAME", name="provider", many=True)
    ] = ()
    seconds: Annotated[float, Flag("for each combination", SECONDS, "S")] = 3.0
    rounds: Annotated[int, Flag("turns that they are shared out to", up_to(1000), "N")] = 3
    tune: Annotated[
        Goal | None,
        Flag("keep the best for edge-run, threads and provider: " + ", ".join(COSTS), one_of(COSTS)),
    ] = None
    anyway: Annotated[bool, Flag("keep also what a busy machine measured")] = False
    state_dir: Annotated[Path, Flag("where it is kept: edge-run's [the usual one]", parsers.path, "DIR")] = UNSET
    save: Annotated[Path | None, Flag("FILE.html: a page with charts; FILE.png; FILE.json", parsers.path, "FILE")] = (
        None
    )


PROGRAM = Program(
    "edge-bench",
    "How fast a model runs on this board: latency, throughput, CPU, memory and load time by threads, provider and, "
    "with several files, precision.",
    __version__,
)


def main() -> None:
    """Exit codes: 0 done, 1 bug, 2 usage, 3 model, 4 state folder; 130 after Ctrl-C."""
    ending.main(lambda: run(sys.argv[1:]), "edge-bench: interrupted")


def run(argv: Sequence[str]) -> int:
    """`edge-bench` with these arguments; returns the exit code."""
    try:
        _bench(_parse(argv))
    except FatalError as exc:
        return ending.failed("edge-bench", exc, exc.exit_code)
    return 0


def _parse(argv: Sequence[str]) -> Arguments:
    args = arguments.read(Arguments, PROGRAM, argv)
    if args.save is not None:
        saved.check(args.save)
    folder = args.state_dir
    if folder == UNSET:
        folder = Path(os.environ.get("EDGE_STATE_DIR") or default_state_dir(os.environ))
    return replace(args, state_dir=folder, models=tuple(dict.fromkeys(args.models)))


def usual_threads(cores: int) -> list[int]:
    """1, 2, 4 and so on, and all cores: 6 to [1, 2, 4, 6]."""
    return sorted({n for n in (1 << i for i in range(9)) if n < cores} | {min(cores, THREADS_MOST)})


def _bench(args: Arguments) -> None:
    busy = os.getloadavg()[0] / board.cores()
    if args.tune:
        profile.require_folder(args.state_dir)
        _refuse_busy(busy, args)
    first = args.providers[0] if args.providers else "cpu"
    subjects = [rounds.examine(model, first) for model in args.models]
    cases = [
        Case(str(model), provider, threads)
        for model, subject in zip(args.models, subjects, strict=True)
        for provider in args.providers or subject.providers
        for threads in args.threads or usual_threads(board.cores())
    ]
    with steps(len(cases) * args.rounds) as step:
        rows, broken = rounds.measure(cases, seconds=args.seconds, rounds=args.rounds, step=step)
    for case, reason in broken.items():
        if args.providers or case.provider == "cpu":
            raise ModelError(f"{case.provider}, threads {case.threads}: {reason}")
    about = [_machine(args), *_explained(cases), *_notes(busy), *_left_out(broken)]
    _show(subjects, rows, about)
    if args.tune is not None:
        about += _tune(args, args.tune, subjects, rows)
    if args.save is not None:
        saved.write(args.save, subjects, rows, about)


def _refuse_busy(busy: float, args: Arguments) -> None:
    """What is kept is used at every start: it must not come from a minute in which others had the cores."""
    if busy > BUSY and not args.anyway:
        raise ConfigError(
            f"--tune {args.tune}: other work keeps {min(busy, 1):.0%} of the cores busy, which may make the wrong "
            "choice the fastest; stop it (also a running edge-run) and wait a minute, or say --anyway"
        )


def _explained(cases: Sequence[Case]) -> Iterator[str]:
    """What a provider is whose name does not say it."""
    if any(case.provider == "builtin" for case in cases):
        yield "cpu: LiteRT with XNNPACK, its fast kernels; builtin: without them, for models that XNNPACK runs wrongly"


def _tune(args: Arguments, goal: Goal, subjects: Sequence[Subject], rows: Sequence[Row]) -> list[str]:
    """Keeps the best of each model and says so. Raises SpoolError."""
    lines = []
    for model, subject in zip(args.models, subjects, strict=True):
        row = figures.best([row for row in rows if row.case.path == str(model)], goal)
        path = profile.write(args.state_dir, figures.profile(subject, row, goal))
        case = row.case
        lines.append(f"tuned for {goal}: {case.model}, {case.provider}, threads {case.threads}: kept in {path}")
    sys.stdout.write("\n" + "\n".join(lines) + "\n")
    return lines


def _machine(args: Arguments) -> str:
    return (
        f"{profile.processor()}; medians of {args.rounds} round{'s' * (args.rounds > 1)}, "
        f"{args.seconds / args.rounds:.3g} s each in a process of its own"
    )


def _notes(busy: float) -> Iterator[str]:
    """What makes the figures worse than they are."""
    if busy > BUSY:
        yield f"note: other work kept {min(busy, 1):.0%} of the cores busy before it began: measure again when idle"
    bits = board.throttled()
    if bits:
        yield f"note: {', '.join(board.problems(bits))}: see edge-run --check"


def _left_out(broken: Mapping[Case, str]) -> Iterator[str]:
    for provider, reason in {case.provider: reason for case, reason in broken.items()}.items():
        yield f"note: {provider} is left out: {reason}"


def _show(subjects: Sequence[Subject], rows: Sequence[Row], about: Sequence[str]) -> None:
    out = sys.stdout
    style = Style.of(out, os.environ)
    head, *body = table.lines(rows)
    text = [*table.subjects(subjects), *about, "", style.paint(head, "1"), *body]
    if style.width:
        text += ["", *table.chart(rows, style)]
    out.write("\n".join(text) + "\n")
