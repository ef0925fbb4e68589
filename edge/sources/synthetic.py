"""Made-up samples that fit the model: for trying out and for measuring. `synthetic:N` gives N, then ends."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge.data.sample import Sample
from edge.data.tensor import STRING, TensorSpec, numpy_dtype
from edge.errors import ConfigError, EndOfStream
from edge.plugins.contexts import SourceContext
from edge.plugins.declarations import SourceInfo


class SyntheticSource:
    """Values from 0 to 1 (whole numbers: 0 to 9; a byte: 0 to 255), from a fixed seed."""

    live = False

    def __init__(self, count: int | None, context: SourceContext, seed: int = 0) -> None:
        """`count` None: without end."""
        self._count = count
        self._context = context
        self._rng = np.random.default_rng(seed)
        self._given = 0

    def open(self) -> None:
        """Nothing to open."""

    def read(self, timeout_s: float) -> Sample | None:
        if self._count is not None and self._given >= self._count:
            raise EndOfStream("synthetic")
        self._given += 1
        specs = self._context.input_specs
        tensors = {s.name: self._values(s) for s in specs}
        payload: Any = next(iter(tensors.values())) if len(specs) == 1 else self._row(tensors)
        clock = self._context.clock
        return Sample(payload, "synthetic", clock.monotonic_ns(), clock.time_ns())

    def _row(self, tensors: dict[str, Any]) -> dict[str, Any]:
        if set(tensors) != set(self._context.features):
            return tensors
        return {n: a.ravel()[0].item() if a.dtype != object else "a" for n, a in tensors.items()}

    def _values(self, spec: TensorSpec) -> Any:
        shape = tuple(self._free(i, d) for i, d in enumerate(spec.shape or ()))
        if spec.dtype == STRING:
            return np.full(shape, "a", dtype=object)
        dtype = numpy_dtype(spec.dtype)
        if dtype.kind == "b":
            return self._rng.integers(0, 2, shape).astype(bool)
        if dtype.kind in "iu":
            top = 256 if dtype == np.uint8 else 127 if dtype == np.int8 else 10
            return self._rng.integers(0, top, shape).astype(dtype)
        return self._rng.random(shape, dtype=np.float32).astype(dtype)

    def _free(self, at: int, size: int | str | None) -> int:
        if isinstance(size, int):
            return size
        if at == 0:
            return 1
        return len(self._context.features) or 1

    def close(self) -> None:
        """Nothing to close."""


def create(rest: str, context: SourceContext) -> SyntheticSource:
    """`rest` is the count; empty: without end."""
    if rest and not rest.isdigit():
        raise ConfigError(f"--source synthetic:{rest}: {rest!r} is not a count; say synthetic:1000")
    return SyntheticSource(int(rest) if rest else None, context)


SOURCE = SourceInfo(edge_api=1, create=create, usage="synthetic:N", ongoing=True)
