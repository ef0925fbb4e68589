"""ATen operators that the dynamo exporter has no ONNX for, or wrong ONNX: `torch.onnx.export`'s translation table.

Each takes what the operator takes, and gives the same numbers; sizes of pictures are known when it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from converter.errors import UnsupportedError
from edge.errors import Needing

_LAST = np.iinfo(np.int64).max


def table() -> dict[Any, Callable[..., Any]]:
    """The translations by operator. Raises ConfigError where PyTorch or onnxscript is not installed."""
    with Needing("the PyTorch exporter", "onnxscript", "convert-torch"):
        import torch
        from onnxscript.function_libs.torch_lib.ops import nn
    aten = torch.ops.aten
    return {
        aten.rrelu_with_noise_functional.default: _rrelu,
        aten.adaptive_max_pool2d.default: lambda values, size: _adaptive_max_pool(values, size),
        aten.adaptive_max_pool3d.default: lambda values, size: _adaptive_max_pool(values, size),
        aten.avg_pool2d.default: _by_divisor(nn.aten_avg_pool2d),
        aten.avg_pool3d.default: _by_divisor(nn.aten_avg_pool3d),
        aten.median.dim: _median,
        getattr(aten, "_cdist_forward").default: _distances,  # noqa: B009 - what torch.cdist becomes in a graph
        torch.ops.prims.prod.default: _product,
    }


def _op() -> Any:
    from onnxscript import opset18

    return opset18


def _whole(*numbers: int) -> Any:
    return _op().Constant(value_ints=list(numbers))


def _rrelu(values: Any, noise: Any, lower: float = 1 / 8, upper: float = 1 / 3, *_: Any) -> tuple[Any, Any]:
    """In training the slope is drawn; at inference it is the middle of both (torch.nn.functional.rrelu)."""
    return _op().LeakyRelu(values, alpha=(lower + upper) / 2), noise


def _adaptive_max_pool(values: Any, size: Sequence[int]) -> tuple[Any, Any]:
    """Window i of n along an axis of length l is [floor(i l / n), ceil((i + 1) l / n)): axis after axis.

    The places of the maxima are not given; a file that needs them answers otherwise, and is not written.
    """
    op, result = _op(), values
    for axis, count in zip(range(-len(size), 0), size, strict=True):
        length = int(values.shape[axis])
        windows = [(i * length // count, -(-(i + 1) * length // count)) for i in range(count)]
        parts = [op.Slice(result, _whole(first), _whole(end), _whole(axis)) for first, end in windows]
        largest = [op.ReduceMax(part, _whole(axis), keepdims=1) for part in parts]
        result = op.Concat(*largest, axis=axis) if len(largest) > 1 else largest[0]
    return result, result


def _by_divisor(plain: Callable[..., Any]) -> Callable[..., Any]:
    """The mean over windows, as onnxscript has it, but for `divisor_override`, its last argument, which it ignores."""

    def average(values: Any, size: Sequence[int], *given: Any, **named: Any) -> Any:
        if len(given) < 5 or given[4] is None:
            return plain(values, size, *given[:4], **named)
        stride, padding, ceil_mode, _, divisor = given
        op, axes = _op(), len(size) if len(size) > 1 else len(values.shape) - 2
        sizes, around = (list(v) * axes if len(v) == 1 else list(v) for v in (size, padding))
        steps = list(stride) * axes if len(stride) == 1 else list(stride or sizes)
        behind = []
        for length, k, s, p in zip(values.shape[-axes:], sizes, steps, around, strict=True):
            over = int(length) + 2 * p - k
            count = -(-over // s) + 1 if ceil_mode else over // s + 1
            if ceil_mode and (count - 1) * s >= int(length) + p:
                count -= 1  # a window that would begin in the padding behind
            behind.append((count - 1) * s + k - int(length) - p)
        before = [0] * (len(values.shape) - axes)
        # What no window reaches is cut off, by a negative number.
        padded = op.Pad(values, _whole(*before, *around, *before, *behind))
        means = op.AveragePool(padded, kernel_shape=sizes, strides=steps)
        return op.Mul(means, op.CastLike(op.Constant(value_float=float(np.prod(sizes)) / divisor), means))

    return average


def _median(values: Any, dim: int = -1, keepdim: bool = False) -> tuple[Any, Any]:
    """The lower of the two in the middle, and its place."""
    op, lower = _op(), (int(values.shape[dim]) - 1) // 2
    ranked = op.TopK(values, _whole(lower + 1), axis=dim, largest=0, sorted=1)
    middle, place = (op.Slice(r, _whole(lower), _whole(_LAST), _whole(dim)) for r in ranked)
    return (middle, place) if keepdim else (op.Squeeze(middle, _whole(dim)), op.Squeeze(place, _whole(dim)))


def _distances(first: Any, second: Any, p: float, _: Any = None) -> Any:
    """Between each row of the first and each of the second, [..., rows, others], of the norm 1 or 2."""
    op = _op()
    if p not in (1.0, 2.0):
        raise UnsupportedError(f"torch.cdist with p={p:g} has no counterpart in ONNX; take p=1 or p=2")
    apart = op.Sub(op.Unsqueeze(first, _whole(-2)), op.Unsqueeze(second, _whole(-3)))
    reduce = op.ReduceL2 if p == 2.0 else op.ReduceL1
    return reduce(apart, _whole(-1), keepdims=0)


def _product(values: Any, dims: Sequence[int] | None = None, **_: Any) -> Any:
    op = _op()
    return op.ReduceProd(values, _whole(*dims), keepdims=0) if dims else op.ReduceProd(values, keepdims=0)
