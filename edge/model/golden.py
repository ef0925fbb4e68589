"""Golden samples: made where the model was converted, replayed where it runs."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence

import numpy as np

from edge.data.tensor import STRING, Array, Tensors
from edge.errors import ModelError, SampleError
from edge.model.manifest import Golden, GoldenTensor, Manifest
from edge.plugins.protocols import Engine, ResettableEngine

MAX_TENSOR_BYTES = 64 * 2**20


def pack(array: Array) -> GoldenTensor:
    """An array as it stands in a manifest."""
    if array.dtype.kind in "OUS":
        texts = [str(v) for v in array.ravel()]
        return GoldenTensor(dtype=STRING, shape=array.shape, data=texts)
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    packed = base64.b64encode(zlib.compress(little.tobytes(), 9)).decode()
    return GoldenTensor(dtype=array.dtype.name, shape=array.shape, data=packed)


def unpack(tensor: GoldenTensor) -> Array:
    """The array again. Raises ValueError where the text does not hold what it says."""
    if isinstance(tensor.data, list):
        return np.array(tensor.data, dtype=object).reshape(tensor.shape)
    dtype = np.dtype(tensor.dtype).newbyteorder("<")
    size = int(np.prod(tensor.shape, dtype=np.int64)) * dtype.itemsize
    if not 0 <= size <= MAX_TENSOR_BYTES:
        raise ValueError(f"a golden tensor of shape {tensor.shape} is too large")
    inflate = zlib.decompressobj()
    try:
        raw = inflate.decompress(base64.b64decode(tensor.data, validate=True), size + 1)
    except zlib.error as exc:
        raise ValueError(str(exc)) from exc
    if len(raw) != size:
        raise ValueError(f"a golden tensor of shape {tensor.shape} holds {len(raw)} bytes, not {size}")
    return np.frombuffer(raw, dtype=dtype).reshape(tensor.shape)


def make(inputs: Tensors, outputs: Tensors) -> Golden:
    """One golden sample."""
    return Golden(
        inputs={name: pack(np.asarray(a)) for name, a in inputs.items()},
        outputs={name: pack(np.asarray(a)) for name, a in outputs.items()},
    )


def difference(expected: Array, actual: Array) -> float:
    """Largest |actual - expected| / max(1, |expected|); infinite where shapes or texts differ."""
    if expected.shape != actual.shape:
        return float("inf")
    if expected.dtype.kind in "OUS":
        return 0.0 if expected.astype(str).tolist() == actual.astype(str).tolist() else float("inf")
    if expected.size == 0:
        return 0.0
    a, b = expected.astype(np.float64), actual.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(a - b) / np.maximum(1.0, np.abs(a)))
    worst = float(np.max(apart))
    return worst if worst == worst else float("inf")


def replay(engine: Engine, manifest: Manifest, *, file: str) -> float:
    """Runs every golden sample and returns the largest difference, 0.0 where there is no sample.

    Raises ModelError where it is past the manifest's tolerance.
    """
    worst = 0.0
    for number, golden in enumerate(manifest.golden, start=1):
        try:
            outputs = engine.infer({n: unpack(t) for n, t in golden.inputs.items()})
            expected = {n: unpack(t) for n, t in golden.outputs.items()}
        except (SampleError, ValueError, TypeError) as exc:
            raise ModelError(f"{file}: golden sample {number} does not run: {exc}; convert the model again") from exc
        for name, values in expected.items():
            if name not in outputs:
                raise ModelError(f"{file}: golden sample {number} names an output {name!r} that the model has not")
            worst = max(worst, _within(difference(values, np.asarray(outputs[name])), manifest, name, number, file))
    forget(engine)
    return worst


def forget(engine: Engine) -> None:
    """Lets a model that remembers by itself begin anew: what it was tried with is no sample of the stream."""
    if isinstance(engine, ResettableEngine):
        engine.reset()


def _within(apart: float, manifest: Manifest, output: str, number: int, file: str) -> float:
    if apart > manifest.golden_tolerance:
        raise ModelError(
            f"{file}: golden sample {number}, output {output!r}: this device is off by {apart:.3g}, "
            f"the tolerance is {manifest.golden_tolerance:.3g}; the file or the engine is not the one that was "
            "checked: convert again, try another --engine, or pass --no-golden to run all the same"
        )
    return apart


def choose(rows: Sequence[int], count: int) -> list[int]:
    """Which of the rows become golden samples: spread evenly."""
    if len(rows) <= count:
        return list(rows)
    step = len(rows) / count
    return [rows[int(i * step)] for i in range(count)]
