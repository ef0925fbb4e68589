"""Windows over rows: sensor readings come one at a time, the model takes `size` of them, every `hop`.

Each row is checked and cast by the preprocessor of tables; here rows are gathered, scaled and laid into the
model's shape: [1, size, features] or flat [1, size * features]. An array that already is a whole window is
passed on as it is (scaled like the rows).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from edge.data.sample import EncodedImage, Image, ModelInput, Payload, Sample
from edge.data.tensor import Array, TensorSpec
from edge.errors import ModelError, SampleError
from edge.model import scaling
from edge.model.manifest import Feature, Input, Manifest, Window
from edge.plugins import registry
from edge.plugins.protocols import Preprocessor
from edge.plugins.rows import RowPreprocessor, RowRules
from edge.preprocess import PreprocessorInfo


@dataclass(frozen=True, slots=True)
class _Whole:
    """A window as it came, size x features."""

    rows: Array


class WindowPreprocessor:
    """Keeps the rows of the window that is not full yet: one for each stream."""

    def __init__(self, part: Input, window: Window, spec: TensorSpec, rows: Preprocessor) -> None:
        self._name, self._window, self._rows = part.name, window, rows
        self._shape = spec.fixed()
        self._width = int(np.prod(self._shape)) // window.size
        self._mean, self._std = scaling.of(part, self._width)
        self._held: deque[Array] = deque(maxlen=window.size)
        self._missing = window.size

    @property
    def rules(self) -> RowRules:
        """Those of its rows."""
        return self._rows.rules if isinstance(self._rows, RowPreprocessor) else RowRules()

    @rules.setter
    def rules(self, rules: RowRules) -> None:
        if isinstance(self._rows, RowPreprocessor):
            self._rows.rules = rules

    def split(self, payload: Payload) -> Sequence[Payload]:
        """A whole window stays one; else rows, as a table has them. Raises SampleError."""
        size = (self._window.size, self._width)
        if isinstance(payload, (list, np.ndarray)):
            array = _numbers(payload)
            if array is not None and size[0] > 1 and array.shape in {size, (1, *size), self._shape}:
                return [_Whole(array.reshape(size))]
            if array is not None and array.ndim == 3 and array.shape[1:] == size:
                return [_Whole(window) for window in array]
        if isinstance(payload, (Image, EncodedImage)):
            raise SampleError(
                f"a picture, but the model takes windows of {size[0]} rows of {size[1]} values; --layout NCHW, where "
                "it takes pictures"
            )
        return self._rows.split(payload)

    def __call__(self, sample: Sample) -> ModelInput | None:
        if isinstance(sample.payload, _Whole):
            return self._input(sample.payload.rows)
        rows = self._rows(sample)
        if rows is None:
            return None
        self._held.append(np.asarray(rows.tensors[self._name], dtype=np.float32).ravel())
        self._missing -= 1
        if self._missing > 0:
            return None
        self._missing = self._window.hop
        return self._input(np.stack(self._held))

    def _input(self, rows: Array) -> ModelInput:
        scaled = (rows.astype(np.float32) - self._mean) / self._std
        return ModelInput({self._name: np.ascontiguousarray(scaled.reshape(self._shape), dtype=np.float32)})


def _numbers(payload: Payload) -> Array | None:
    try:
        array = np.asarray(payload)
    except ValueError:
        return None
    if array.dtype.kind not in "iuf":
        return None
    if not np.isfinite(array).all():
        raise SampleError("a window that holds NaN or infinite values")
    return array


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> WindowPreprocessor:
    """For a model with one table whose manifest has a window. Raises ModelError where the sizes do not fit."""
    by_name = {s.name: s for s in specs}
    parts = [i for i in manifest.inputs if i.window is not None and i.name in by_name]
    if len(parts) != 1 or parts[0].window is None:
        raise ModelError(f"{manifest.name}: {len(parts)} inputs with a window in the manifest, one is needed")
    part, window, spec = parts[0], parts[0].window, by_name[parts[0].name]
    shape = spec.shape or ()
    if len(shape) == 3 and isinstance(shape[1], int) and shape[1] != window.size:
        raise ModelError(f"{manifest.name}: a window of {window.size} rows for a model that takes {shape[1]} at once")
    total = int(np.prod(spec.fixed()))
    if window.size < 1 or window.hop < 1 or total % window.size:
        raise ModelError(f"{manifest.name}: a window of {window.size} rows does not divide {list(spec.fixed())}")
    width = total // window.size
    row = msgspec.structs.replace(spec, shape=(1, width), dtype="float32", quantization=None)
    features = part.features or tuple(Feature(name="") for _ in range(width))
    table = msgspec.structs.replace(
        part, kind="table", features=features, shape=(1, width), window=None, mean=(), std=()
    )
    rows = registry.declared(PreprocessorInfo, "table").create(
        msgspec.structs.replace(manifest, inputs=(table,)), (row,)
    )
    return WindowPreprocessor(part, window, spec, rows)


PREPROCESSOR = PreprocessorInfo(edge_api=1, create=create, takes=("rows", "readings"))
