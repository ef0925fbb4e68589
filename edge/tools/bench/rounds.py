"""Asks child processes, combination by combination and round by round: A B C, A B C, ..."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from edge.errors import ConfigError, FatalError, ModelError
from edge.tools.bench.figures import Answer, Case, Request, Round, Row, Subject, median

PATIENCE_S = 120.0
"""What a child may take beside its measuring: to start, to load the model, to warm up."""


def ask(request: Request, patience_s: float = PATIENCE_S) -> Answer:
    """A child's answer. Raises ModelError where it says so, dies or does not end in time, and ConfigError."""
    name = request.case.model
    # -P: a file of the user's that is called numpy.py is not ours to import.
    command = [sys.executable, "-P", "-m", "edge.tools.bench.child", msgspec.json.encode(request).decode()]
    limit_s = patience_s + 2 * (request.seconds or 0)
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        raise ModelError(
            f"{name}: no answer within {limit_s:.0f} s; a smaller model, or edge-convert --quantize int8"
        ) from None
    if done.returncode < 0:
        end = signal.strsignal(-done.returncode) or f"signal {-done.returncode}"
        raise ModelError(
            f"{name}: it ends its engine ({end}); the file is damaged or asks for more memory than there is: "
            "copy or convert it again"
        )
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        # A bug of ours, in its own words.
        raise RuntimeError(done.stderr.decode(errors="replace") or f"{name}: the child process said nothing")
    answer = msgspec.json.decode(lines[-1], type=Answer)
    if answer.error:
        raise (ConfigError if answer.code == ConfigError.exit_code else ModelError)(answer.error)
    return answer


def examine(model: Path, provider: str) -> Subject:
    """What the model is, after one inference. Raises ModelError, ConfigError."""
    subject = ask(Request(Case(str(model), provider, 1))).subject
    assert subject is not None
    return subject


def measure(
    cases: Sequence[Case],
    *,
    seconds: float,
    rounds: int,
    step: Callable[[str], None],
    ask: Callable[[Request], Answer] = ask,
) -> tuple[list[Row], dict[Case, str]]:
    """Rows in the order of `cases`, and those that do not work, with the reason.

    `seconds` are for each combination, all its rounds together. `step` hears the name of what comes next.
    """
    results: dict[Case, list[Round]] = {case: [] for case in cases}
    broken: dict[Case, str] = {}
    for number in range(rounds):
        for case in cases:
            step(f"round {number + 1}: {case.model}, {case.provider}, threads {case.threads}")
            if case in broken:
                continue
            try:
                answer = ask(Request(case, seconds / rounds))
            except FatalError as exc:
                broken[case] = str(exc)
                continue
            assert answer.round is not None
            results[case].append(answer.round)
    return [median(case, results[case]) for case in cases if case not in broken], broken
