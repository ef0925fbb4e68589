"""Arrays as they are: for models whose inputs are neither a table nor a picture.

One input takes an array (JSON or .npy), with or without its batch dimension, or flat when every dimension
is fixed. Several inputs take an object: input name to array.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edge.data.array_rows import ArrayRows
from edge.data.sample import EncodedImage, Image, ModelInput, Payload, Sample, Sound
from edge.data.tensor import Array, TensorSpec, fits, numpy_dtype, to_integers
from edge.describe.signature import picture_flags
from edge.errors import SampleError
from edge.model.constants import constants
from edge.model.manifest import Manifest
from edge.plugins.rows import RowRules
from edge.preprocess import PreprocessorInfo

RESERVED = "id"


class TensorPreprocessor:
    """Casts to the model's dtype and checks the shape. `constants` are fed with every sample."""

    by_row = False

    def __init__(
        self,
        specs: Sequence[TensorSpec],
        constants: Mapping[str, Array] | None = None,
        keys: Mapping[str, str] | None = None,
    ) -> None:
        self._keys = dict(keys or {})  # by tensor name
        self._constants = dict(constants or {})
        self._specs = tuple(s for s in specs if s.name not in self._constants)
        self.rules = RowRules()

    def split(self, payload: Payload) -> Sequence[Payload]:
        if isinstance(payload, (EncodedImage, Image)):
            flags = picture_flags(self._specs[0]) if len(self._specs) == 1 else ""
            hint = f"; where that is a picture: {flags}" if flags else ""
            raise SampleError(f"a picture, but the model takes {self._wanted()}{hint}")
        if isinstance(payload, Sound):
            raise SampleError(
                f"sound, but the model takes {self._wanted()}; --frontend and --window say how it is made of sound"
            )
        if isinstance(payload, Mapping) or len(self._specs) != 1:
            return [payload]
        spec = self._specs[0]
        if spec.shape is None or not spec.free_batch:
            return [payload]
        array = _array(payload, spec)
        return ArrayRows(array) if array.ndim == len(spec.shape) and len(array) > 1 else [array]

    def __call__(self, sample: Sample) -> ModelInput:
        payload = sample.payload
        if not isinstance(payload, Mapping):
            if len(self._specs) != 1:
                raise SampleError(f"one array, but the model takes an object of {self._wanted()}")
            payload = {self._specs[0].name: payload}
        names = {key: name for name, key in self._keys.items()}
        payload = {names.get(k, k): v for k, v in payload.items()}
        known = {s.name for s in self._specs}
        unknown = [k for k in payload if k not in known and k != RESERVED]
        if self.rules.ignore_unknown:
            for key in unknown:
                self.rules.left_out(str(key))
            unknown = []
        absent = [s.name for s in self._specs if s.name not in payload]
        if unknown or absent:
            what = (
                f"unknown input {unknown[0]!r}"
                if unknown
                else f"missing input {self._keys.get(absent[0], absent[0])!r}"
            )
            raise SampleError(f"{what}; the model takes {self._wanted()}")
        tensors = {s.name: _fit(_array(payload[s.name], s), s) for s in self._specs}
        return ModelInput({**tensors, **self._constants})

    def _wanted(self) -> str:
        return ", ".join(f"{self._keys.get(s.name, s.name)!r} {s.dtype} {_shape(s)}" for s in self._specs)


def _shape(spec: TensorSpec) -> str:
    if spec.shape is None:
        return ""
    return "[" + ", ".join(str(d) if d is not None else "?" for d in spec.shape) + "]"


def _array(value: Any, spec: TensorSpec) -> Array:
    dtype = numpy_dtype(spec.dtype)
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError) as exc:
        raise SampleError(f"input {spec.name!r}: rows of different lengths; it takes {_shape(spec)}") from exc
    if dtype.kind == "O":
        return array.astype(object)
    if array.dtype.kind not in "fiubO" or (array.dtype.kind == "O" and dtype.kind not in "iu"):
        raise SampleError(f"input {spec.name!r}: {_kind(array)} values; it takes {spec.dtype}")
    # A quantised input takes real values too; the pipeline scales them.
    if spec.quantization is not None and array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise SampleError(f"input {spec.name!r}: it holds NaN or infinite values")
        return array.astype(np.float32, copy=False)
    cast = to_integers(value, dtype) if dtype.kind in "iu" else _as_real(array, dtype)
    if cast is None:
        raise SampleError(
            f"input {spec.name!r}: values that {spec.dtype} cannot hold (NaN, too large, not whole, or a number with "
            "a point beyond 2^53, which may have been rounded)"
        )
    return cast


def _as_real(array: Array, dtype: np.dtype[Any]) -> Array | None:
    with np.errstate(over="ignore", invalid="ignore"):
        cast: Array = array.astype(dtype, copy=False)
    held = np.isfinite(cast).all() if dtype.kind == "f" else (cast == array).all()
    return cast if held else None


def _kind(array: Array) -> str:
    return "mixed" if array.dtype.kind == "O" else str(array.dtype)


def _fit(array: Array, spec: TensorSpec) -> Array:
    """The array in the input's rank: a batch dimension is put in front where it is missing."""
    shape = spec.shape
    if shape is None or fits(array.shape, shape):
        return np.ascontiguousarray(array)
    if shape and fits((1, *array.shape), shape):
        return np.ascontiguousarray(array[None])
    fixed = spec.fixed()
    if array.ndim <= 1 and array.size == np.prod(fixed, dtype=np.int64) and all(isinstance(d, int) for d in shape[1:]):
        return np.ascontiguousarray(array).reshape(fixed)
    raise SampleError(f"input {spec.name!r}: shape {list(array.shape)}; it takes {_shape(spec)}")


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> TensorPreprocessor:
    """For any model. Inputs of kind "constant" are fed with their value; those with `state_from` are left out."""
    fed = {i.name for i in manifest.inputs if i.state_from}
    keys = {i.name: i.key for i in manifest.inputs if i.key}
    return TensorPreprocessor([s for s in specs if s.name not in fed], constants(manifest, specs), keys)


PREPROCESSOR = PreprocessorInfo(edge_api=1, create=create, takes=("rows", "readings"))
