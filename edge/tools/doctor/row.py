"""What the doctor says of one part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edge.errors import FatalError


@dataclass(frozen=True, slots=True)
class Row:
    """`verdict`: "ok", "warn", "fail" or "skip" (there was nothing to look at); `code`: the exit code of a failure.

    `fix` is what to do about it; `facts` are the numbers behind the text, for `--json`; `run`: which of several it is
    of.
    """

    part: str
    verdict: str
    text: str
    fix: str = ""
    code: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)
    run: str = ""


def ok(part: str, text: str, **facts: Any) -> Row:
    return Row(part, "ok", text, facts=facts)


def warn(part: str, text: str, fix: str, **facts: Any) -> Row:
    return Row(part, "warn", text, fix, facts=facts)


def fail(part: str, text: str, fix: str, code: int, **facts: Any) -> Row:
    return Row(part, "fail", text, fix, code, facts)


def skip(part: str, text: str) -> Row:
    return Row(part, "skip", text)


def failed(part: str, exc: FatalError, fix: str) -> Row:
    """The row of an error: our messages end in the way out, after the last semicolon; else `fix` is it."""
    text, _, way_out = str(exc).rpartition("; ")
    return fail(part, text, way_out, exc.exit_code) if text else fail(part, way_out, fix, exc.exit_code)
