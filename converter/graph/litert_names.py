"""The tensors of a .tflite file under the names that its signature gives them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from converter.quiet import quiet
from edge.errors import Needing


@dataclass(frozen=True, slots=True)
class Names:
    """Signature name to the tensor's name, as the engine has it; in the order of the signature.

    `tensors` are dtype (numpy's) and shape of the inputs, by the name in the engine.
    """

    inputs: dict[str, str]
    outputs: dict[str, str]
    tensors: dict[str, tuple[str, tuple[int | None, ...]]]
    signature: str = ""


def read(model: bytes) -> Names:
    """The names in a .tflite file. Raises ConfigError where LiteRT is not installed."""
    with Needing("the TFLite target", "ai-edge-litert", "convert-tflite"):
        from ai_edge_litert import interpreter
    with quiet():
        opened = interpreter.Interpreter(model_content=model)
    given, made = _by_index(opened.get_input_details()), _by_index(opened.get_output_details())
    tensors = {given[int(d["index"])]: (np.dtype(d["dtype"]).name, _shape(d)) for d in opened.get_input_details()}
    signatures = opened.get_signature_list()
    if not signatures:
        return Names({n: n for n in given.values()}, {n: n for n in made.values()}, tensors)
    signature = next(iter(signatures))
    runner = opened.get_signature_runner(signature)
    return Names(
        {n: given[int(d["index"])] for n, d in runner.get_input_details().items()},
        {n: made[int(d["index"])] for n, d in runner.get_output_details().items()},
        tensors,
        signature,
    )


def _shape(detail: dict[str, Any]) -> tuple[int | None, ...]:
    signature = detail.get("shape_signature")
    dims = detail["shape"] if signature is None or len(signature) != len(detail["shape"]) else signature
    return tuple(int(d) if d >= 0 else None for d in dims)


def _by_index(details: list[dict[str, Any]]) -> dict[int, str]:
    """As edge.engines.litert names them: a name that was there before gets a number."""
    seen: dict[str, int] = {}
    names: dict[int, str] = {}
    for at, detail in enumerate(details):
        name = detail["name"] or f"tensor_{at}"
        seen[name] = seen.get(name, 0) + 1
        names[int(detail["index"])] = name if seen[name] == 1 else f"{name}#{seen[name]}"
    return names
