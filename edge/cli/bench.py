"""The command `edge-bench`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

from edge import __version__
from edge.app import profile
from edge.errors import ConfigError, FatalError, ModelError
from edge.settings.arguments import nearest
from edge.settings.layers import default_state_dir
from edge.settings.parsers import THREADS_MOST, real, up_to
from edge.telemetry import board
from edge.tools.bench import progress, rounds, saved, table, tune
from edge.tools.bench.figures import Case, Row, Subject
from edge.tools.doctor.table import Style

Value = TypeVar("Value")

SECONDS, ROUNDS = 3.0, 3
BUSY = 0.5
"""Load for each core above which other work blurs the figures."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see edge-bench --help")


def main() -> None:
    """Exit codes: 0 done, 1 bug, 2 usage, 3 model, 4 state folder; 130 after Ctrl-C."""
    # As an exception: the child process is ended on its way up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.stderr.write("edge-bench: interrupted\n")
        code = 130
    except BrokenPipeError:  # a reader that leaves early (`| head`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


def run(argv: Sequence[str]) -> int:
    """`edge-bench` with these arguments; returns the exit code."""
    try:
        _bench(_parse(argv))
    except FatalError as exc:
        sys.stderr.write(f"edge-bench: error: {exc}".replace("\n", " ") + "\n")
        return exc.exit_code
    return 0


def _parser() -> _Parser:
    p = _Parser(
        prog="edge-bench",
        allow_abbrev=False,
        description="How fast a model runs on this board: latency, throughput, CPU, memory and load time by threads, "
        "provider and, with several files, precision.",
    )
    p.add_argument("models", metavar="MODEL", nargs="+", type=Path, help=".onnx or .tflite; several are compared")
    p.add_argument("--threads", metavar="N,N", help="thread counts to try [1, 2, 4 up to the cores]")
    p.add_argument("--provider", metavar="NAME", action="append", help="repeatable [all that the engine has here]")
    p.add_argument("--seconds", metavar="S", default=str(SECONDS), help=f"for each combination [{SECONDS:g}]")
    p.add_argument("--rounds", metavar="N", default=str(ROUNDS), help=f"turns that they are shared out to [{ROUNDS}]")
    p.add_argument("--tune", choices=tuple(tune.COSTS), help="keep the best for edge-run: threads and provider")
    p.add_argument("--state-dir", metavar="DIR", type=Path, help="where it is kept: edge-run's [the usual one]")
    p.add_argument("--save", metavar="FILE", type=Path, help="FILE.html: a page with charts; FILE.png; FILE.json")
    p.add_argument("--version", action="version", version=f"edge-bench {__version__}")
    return p


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = _parser()
    args, unknown = parser.parse_known_args(list(argv))
    if unknown:
        flags = [f for action in parser._actions for f in action.option_strings]
        word = unknown[0].partition("=")[0]
        raise ConfigError(f"unknown argument {word}{nearest(word, flags)} (edge-bench --help lists them)")
    args.seconds = _value("--seconds", args.seconds, _seconds)
    args.rounds = _value("--rounds", args.rounds, up_to(1000))
    args.threads = _value("--threads", args.threads, _threads) if args.threads else usual_threads(board.cores())
    if args.save is not None:
        saved.check(args.save)
    args.state_dir = args.state_dir or Path(os.environ.get("EDGE_STATE_DIR") or default_state_dir(os.environ))
    args.models = list(dict.fromkeys(args.models))
    return args


def _value(flag: str, text: str, parse: Callable[[str], Value]) -> Value:
    try:
        return parse(text)
    except ValueError as exc:
        raise ConfigError(f"{flag} {text}: {exc}") from exc


def _seconds(text: str) -> float:
    number = real(text)
    if not 0 < number <= 3600:
        raise ValueError("seconds above 0, at most 3600, belong there")
    return number


def _threads(text: str) -> list[int]:
    return list(dict.fromkeys(up_to(THREADS_MOST)(part) for part in text.split(",")))


def usual_threads(cores: int) -> list[int]:
    """1, 2, 4 and so on, and all cores: 6 to [1, 2, 4, 6]."""
    return sorted({n for n in (1 << i for i in range(9)) if n < cores} | {min(cores, THREADS_MOST)})


def _bench(args: argparse.Namespace) -> None:
    if args.tune:
        profile.require_folder(args.state_dir)
    first = args.provider[0] if args.provider else "cpu"
    subjects = [rounds.examine(model, first) for model in args.models]
    cases = [
        Case(str(model), provider, threads)
        for model, subject in zip(args.models, subjects, strict=True)
        for provider in args.provider or subject.providers
        for threads in args.threads
    ]
    busy = os.getloadavg()[0] / board.cores()
    with progress.steps(len(cases) * args.rounds) as step:
        rows, broken = rounds.measure(cases, seconds=args.seconds, rounds=args.rounds, step=step)
    for case, reason in broken.items():
        if args.provider or case.provider == "cpu":
            raise ModelError(f"{case.provider}, threads {case.threads}: {reason}")
    about = [_machine(args), *_notes(busy), *_left_out(broken)]
    _show(subjects, rows, about)
    if args.tune:
        about += _tune(args, subjects, rows)
    if args.save is not None:
        saved.write(args.save, subjects, rows, about)


def _tune(args: argparse.Namespace, subjects: Sequence[Subject], rows: Sequence[Row]) -> list[str]:
    """Keeps the best of each model and says so. Raises SpoolError."""
    told = []
    for model, subject in zip(args.models, subjects, strict=True):
        row = tune.best([row for row in rows if row.case.path == str(model)], args.tune)
        path = profile.write(args.state_dir, tune.profile(subject, row, args.tune))
        case = row.case
        told.append(f"tuned for {args.tune}: {case.model}, {case.provider}, threads {case.threads}: kept in {path}")
    sys.stdout.write("\n" + "\n".join(told) + "\n")
    return told


def _machine(args: argparse.Namespace) -> str:
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
