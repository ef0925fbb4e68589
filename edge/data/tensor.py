"""Tensors: numpy arrays and the specification that an engine gives of its inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def fits(shape: Sequence[int], wanted: Sequence[int | str | None]) -> bool:
    """True where an array of this shape may go where `wanted` is taken: a free dimension takes any length but none."""
    return len(shape) == len(wanted) and all(
        s == w if isinstance(w, int) else s > 0 for s, w in zip(shape, wanted, strict=True)
    )


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The numpy dtype of a TensorSpec's `dtype`."""
    return np.dtype(object if name == STRING else name)


EXACT = 2**53
"""Beyond this a float64 no longer holds every whole number."""


def to_integers(values: Any, dtype: np.dtype[Any]) -> Array | None:
    """The same numbers as whole numbers of `dtype`, each exact; None where one is none, or does not fit.

    `values`: an array, or (nested) lists of numbers. In lists a float beyond 2**53 is refused: it may have been
    rounded from the number that was meant. In an array it stands for itself.
    """
    try:
        array = np.asarray(values)
    except (ValueError, OverflowError):
        return None
    if array.dtype.kind == "f" and not isinstance(values, np.ndarray) and _is_large(array):
        array = np.array(values, dtype=object)  # numpy made floats of whole numbers to hold them all
    if array.dtype.kind == "O":
        return _one_by_one(array, dtype)
    if array.dtype.kind not in "fiub":
        return None
    if array.size and array.dtype.kind != "b" and not _fits(array, dtype):
        return None
    return array.astype(dtype)


def _is_large(array: Array) -> bool:
    return bool((np.abs(array) >= EXACT).any())


def _fits(array: Array, dtype: np.dtype[Any]) -> bool:
    limits = np.iinfo(dtype)
    if array.dtype.kind == "f":
        wide = array.astype(np.float64) if array.dtype.itemsize < 8 else array
        # The limits themselves need not be floats; one more than the upper one always is.
        return bool((np.isfinite(wide) & (wide == np.floor(wide))).all()) and bool(
            (wide.min() >= float(limits.min)) and (wide.max() < float(limits.max // 2 + 1) * 2)
        )
    return int(array.min()) >= limits.min and int(array.max()) <= limits.max


def _one_by_one(array: Array, dtype: np.dtype[Any]) -> Array | None:
    limits = np.iinfo(dtype)
    lowest, highest = int(limits.min), int(limits.max)
    values = array.ravel().tolist()
    whole = [v for v in map(to_integer, values) if v is not None and lowest <= v <= highest]
    return np.array(whole, dtype=dtype).reshape(array.shape) if len(whole) == len(values) else None


def to_integer(value: Any) -> int | None:
    """A whole number as it was meant; None for anything else, also for a float that may have been rounded."""
    if isinstance(value, (int, np.integer, np.bool_)):
        return int(value)
    if not isinstance(value, (float, np.floating)):
        return None
    number = float(value)
    # A number of numpy's was not read from text: it stands for itself.
    certain = isinstance(value, np.floating) or abs(number) < EXACT
    return int(number) if certain and number.is_integer() else None


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
