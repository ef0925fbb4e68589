"""Sound to tensors: windows cut from a stream, with context kept between them, as a wave or as features.

What is taken: a `Sound`; a vector of samples at the model's rate (int16, or float from -1 to 1), which goes on
where the last one ended; an array shaped like the model's input, which is passed on as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge.data.sample import EncodedImage, Image, ModelInput, Payload, Sample, Sound
from edge.data.tensor import Array, TensorSpec, numpy_dtype, to_integers
from edge.describe.audio import axis
from edge.errors import ModelError, SampleError
from edge.model.constants import constants
from edge.model.manifest import Input, Manifest, Window
from edge.preprocess import PreprocessorInfo
from edge.preprocess.audio.frontend import Frontend, make_frontend
from edge.preprocess.audio.stream import Stream


@dataclass(frozen=True, slots=True)
class _Cut:
    """A window of the stream: context and samples, float32 from -1 to 1."""

    samples: Array


@dataclass(frozen=True, slots=True)
class _Ready:
    """A tensor as it is."""

    tensor: Array


class AudioPreprocessor:
    """Keeps the end of the stream between two calls: one for each stream."""

    def __init__(self, part: Input, window: Window, spec: TensorSpec, constants: Mapping[str, Array]) -> None:
        self._spec, self._constants = spec, dict(constants)
        self._stream = Stream(part.sample_rate, window)
        self._length = window.size + window.context
        self._frontend: Frontend | None = make_frontend(part, spec, window.size) if part.frontend else None
        shape = list(spec.fixed())
        if self._frontend is None:
            shape[axis(spec.shape or (None,))] = self._length
        self._shape = tuple(shape)

    def split(self, payload: Payload) -> Sequence[Payload]:
        """The windows that are full now; none where more sound has to come. Raises SampleError."""
        if isinstance(payload, Sound):
            return [_Cut(w) for w in self._stream.push(payload)]
        array = self._as_array(payload)
        if array.ndim == len(self._shape) and array.shape == self._shape:
            return [_Ready(array)]
        if array.shape == self._shape[1:] and self._frontend is not None:
            return [_Ready(array[None])]
        vector = array[0] if array.ndim == 2 and array.shape[0] == 1 else array
        if vector.ndim != 1:
            raise SampleError(
                f"an array {list(array.shape)} where sound belongs: a vector of samples at {self._stream.rate} Hz, "
                f"or a tensor {list(self._shape)}"
            )
        return [_Cut(w) for w in self._stream.push(Sound(vector, self._stream.rate))]

    def __call__(self, sample: Sample) -> ModelInput | None:
        part = sample.payload
        if isinstance(part, _Ready):
            return ModelInput({self._spec.name: self._cast(part.tensor), **self._constants})
        if not isinstance(part, _Cut):
            raise SampleError(f"a {type(part).__name__} where sound belongs")
        values = part.samples if self._frontend is None else self._frontend(part.samples)
        if values is None:
            return None
        return ModelInput({self._spec.name: self._cast(values.reshape(self._shape)), **self._constants})

    def _cast(self, values: Array) -> Array:
        dtype = numpy_dtype(self._spec.dtype)
        if values.dtype == dtype or (self._spec.quantization is not None and values.dtype.kind == "f"):
            return np.ascontiguousarray(values)
        native = to_integers(values, dtype) if dtype.kind in "iu" else values
        if native is None:
            raise SampleError(f"values that {self._spec.dtype} cannot hold in the input {self._spec.name!r}")
        return np.ascontiguousarray(native, dtype=dtype)

    def _as_array(self, payload: Payload) -> Array:
        if isinstance(payload, (Image, EncodedImage)):
            raise SampleError("a picture, but the model takes sound")
        if isinstance(payload, dict):
            rest = [v for k, v in payload.items() if k != "id"]
            if len(rest) != 1:
                raise SampleError(f"an object with {sorted(payload)} where one array of samples belongs")
            payload = rest[0]
        try:
            array = np.asarray(payload)
        except ValueError:
            raise SampleError("a list whose rows differ in length where sound belongs") from None
        if array.dtype.kind not in "iuf" or not array.size:
            raise SampleError(f"{array.dtype} values where sound belongs: send numbers")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise SampleError("sound that holds NaN or infinite values")
        return array


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> AudioPreprocessor:
    """For a model with one input of sound. Raises ModelError where the manifest cannot fit it, ConfigError where
    the library of its front end is not installed."""
    parts = [i for i in manifest.inputs if i.kind == "audio"]
    by_name = {s.name: s for s in specs}
    if len(parts) != 1 or parts[0].name not in by_name:
        raise ModelError(
            f"{manifest.name}: {len(parts)} inputs of sound in the manifest, one of {list(by_name)} is needed"
        )
    part = parts[0]
    if part.window is None or part.window.size < 1 or part.window.hop < 1 or part.sample_rate < 1:
        raise ModelError(f"{manifest.name}: an input of sound needs sample_rate and a window with size and hop")
    return AudioPreprocessor(part, part.window, by_name[part.name], constants(manifest, specs))


PREPROCESSOR = PreprocessorInfo(edge_api=1, create=create, takes=("sound", "rows"))
