"""Tensors: numpy arrays and the specification that an engine gives of its inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Tensors: TypeAlias = Mapping[str, Array]

STRING = "string"
"""The dtype name of text tensors; in numpy they are arrays of `object` that hold `str`."""


class Quantization(msgspec.Struct, frozen=True):
    """Affine quantisation of a whole tensor: `real = (quantised - zero_point) * scale`."""

    scale: float
    zero_point: int


class TensorSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """Name, dtype and shape of one input or output.

    `dtype` is numpy's name ("float32", "uint8", ...) or "string". A free dimension of `shape` is the
    symbol the file gives it, or None. A scalar has the shape `()`. What an engine cannot tell (a
    sequence of maps, for instance) has the shape None.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None
    quantization: Quantization | None = None

    def fixed(self, *, free: int = 1) -> tuple[int, ...]:
        """The shape with every free dimension set to `free`."""
        return tuple(d if isinstance(d, int) else free for d in self.shape or ())

    @property
    def free_batch(self) -> bool:
        """True where the first dimension is free, so that several samples can run at once."""
        return bool(self.shape) and not isinstance(self.shape[0], int)  # type: ignore[index]


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The numpy dtype of a TensorSpec's `dtype`."""
    return np.dtype(object if name == STRING else name)


def quantize(values: Array, spec: TensorSpec) -> Array:
    """Real values to the integers of a quantised tensor, rounded to nearest and saturated."""
    if spec.quantization is None:
        return values
    dtype = np.dtype(spec.dtype)
    limits = np.iinfo(dtype)
    scaled = np.rint(values / spec.quantization.scale) + spec.quantization.zero_point
    return np.asarray(np.clip(scaled, limits.min, limits.max).astype(dtype))


def dequantize(values: Array, spec: TensorSpec) -> Array:
    """The float32 values that a quantised tensor stands for."""
    if spec.quantization is None:
        return values
    centred = values.astype(np.float32) - np.float32(spec.quantization.zero_point)
    return np.asarray(centred * np.float32(spec.quantization.scale))
