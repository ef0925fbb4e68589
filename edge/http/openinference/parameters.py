"""Parameters of requests and outputs, whose types the protocol says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge.http import sequences
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


def refuse_shared_memory(parameters: Mapping[str, Any], place: str) -> None:
    """Raises Refusal where a client looks for a tensor in a memory that is not shared here."""
    if parameters.get("shared_memory_region") is not None:
        raise Refusal(400, f"{place}: there is no shared memory here: send and take tensors in the message itself")


def all_binary(parameters: Mapping[str, Any]) -> bool:
    """Whether a request wants all its outputs in binary. Raises Refusal, also for a sequence that is none: a model that
    keeps nothing passes a right one over."""
    sequences.of(parameters)
    return flag(parameters, "binary_data_output", "the request", default=False)


def check_output(parameters: Mapping[str, Any], output: str) -> None:
    """Raises Refusal where an output cannot be given as it is asked for."""
    flag(parameters, "binary_data", f"output {output!r}", default=False)
    classes_of(parameters, output)
    refuse_shared_memory(parameters, f"output {output!r}")


def binary_size(parameters: Mapping[str, Any], input_: str) -> object:
    """The `binary_data_size` of an input, as it stands there. Raises Refusal for a tensor that is elsewhere."""
    refuse_shared_memory(parameters, f"input {input_!r}")
    return parameters.get("binary_data_size")
