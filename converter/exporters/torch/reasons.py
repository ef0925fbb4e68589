"""Why a module cannot be called or exported, in PyTorch's own words, and the way out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from converter.exporters.torch import arguments
from edge.errors import one_line

_LENGTH = 240
_WAYS_OUT = (
    (
        r"data-dependent|GuardOnDataDependent|Dynamic control flow",
        "its code branches on values of its input, or counts by them: write it with torch.where or torch.cond",
    ),
    (
        "more than 1 value per channel when training",
        "a normalisation that has no running statistics, or is never in eval mode, needs other rows beside one: train "
        "it with track_running_stats=True",
    ),
    (
        "same dtype|expected scalar type|expected m1 and m2",
        "half precision becomes float32 for a device: leave .half(), .bfloat16() and autocast out of forward",
    ),
    ("fractional_max_pool", "it draws its windows by chance, at inference too: take MaxPool or AdaptiveMaxPool"),
    (
        "deepcopy protocol",
        "a weight of it is computed anew at each call (torch.nn.utils.weight_norm): make it a plain one with "
        "torch.nn.utils.remove_weight_norm(layer), which changes no answer",
    ),
    (
        "dispatch_on_subclass",
        "a torch.autograd.Function is no operator; in the place of CrossMapLRN2d train with LocalResponseNorm",
    ),
    ("No ONNX function found|not supported by ONNX|UnsupportedOperator", "do that step outside of the model"),
)
BATCH_STATISTICS = (
    "a normalisation in it goes on learning after eval() ({names} change): let it follow model.eval(), or set its "
    "training to False there"
)
PROJECTED = (
    "an LSTM with proj_size has no counterpart in ONNX; train it without, with a Linear behind it, or convert it to "
    "TFLite: -o OUT.tflite"
)
NO_ROWS = (
    "; rows come first in what a model takes and gives: batch_first=True for recurrent layers, and no row left out "
    "(x[mask])"
)
HALF = "its weights are {kinds}; the file computes in float32, so it differs from them by their own rounding"


def why(exc: BaseException) -> str:
    """The cause at the root, in a line, with the way out: the exporters wrap it in pages of advice."""
    while exc.__cause__ is not None and exc.__cause__ is not exc:
        exc = exc.__cause__
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return _with_way_out(lines[0][:_LENGTH] if lines else type(exc).__name__)


def of_call(model: Any, exc: BaseException, given: Sequence[str]) -> str:
    """Why the module does not take the sample's tensors `given`, with the way out."""
    said = one_line(exc)[:_LENGTH]
    known = _with_way_out(said)
    if known != said:
        return known
    return f"{said}; it was given {', '.join(given)}, and {_signature(model)}"


def _with_way_out(said: str) -> str:
    found = next((way for pattern, way in _WAYS_OUT if re.search(pattern, said)), "")
    return f"{said.rstrip(' .')}; {found}" if found else said


def _signature(model: Any) -> str:
    takes = ", ".join(arguments.parameters(model))
    return (
        f"forward takes {takes}: several tensors are a .npz with an array for each by name; a dict, a tuple or keyword "
        "arguments need a module around it whose forward takes each tensor by position"
    )
