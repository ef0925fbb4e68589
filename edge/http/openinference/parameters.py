"""Parameters of requests and outputs, whose types the protocol says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge.http.http_types import Refusal


def flag(parameters: Mapping[str, Any] | None, name: str, place: str, *, default: bool) -> bool:
    """A parameter that is true or false; null as absent. Raises Refusal."""
    value = parameters.get(name) if parameters else None
    if value is None:
        return default
    if not isinstance(value, bool):
        raise Refusal(400, f"{place}: parameter {name} is true or false, not {str(value)[:30]!r}")
    return value


def classes_of(parameters: Mapping[str, Any] | None, output: str) -> int:
    """How many classes are asked for; 0: the values themselves. Raises Refusal."""
    value = parameters.get("classification") if parameters else None
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise Refusal(
            400, f"output {output!r}: parameter classification is a number of classes, not {str(value)[:30]!r}"
        )
    return value
