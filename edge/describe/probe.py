"""Runs of a model on made-up inputs: what its outputs look like says what they are."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np

from edge.data.tensor import Array, TensorSpec, dequantize, numpy_dtype
from edge.data.vocabulary import Color
from edge.describe import audio, signature
from edge.describe.audio import RATE, SPEECH_RATE
from edge.describe.overrides import Overrides
from edge.describe.signature import Layout, Roles, roles
from edge.errors import ModelError, SampleError
from edge.plugins.protocols import Engine

MOST_VALUES = 2**28
"""A billion bytes: what asks for more is damaged, or no model for a small board."""


class Prober:
    """Runs the engine on noise, and on a picture, at most once each."""

    def __init__(
        self, engine: Engine, roles: Roles, layout: Layout | None, size: tuple[int, int], *, grey: bool = False
    ) -> None:
        """`size`: width, height. `grey`: a picture has one channel where the file leaves it free, else three."""
        self._engine, self._roles, self._layout, self.size = engine, roles, layout, size
        self._channels = 1 if grey else 3
        self._noise: dict[str, Array] | None = None
        self._picture: dict[str, Array] | None = None

    def noise(self) -> dict[str, Array]:
        """Real outputs for noise, float32, without states; empty where the model refuses it. Raises ModelError."""
        if self._noise is None:
            self._noise = self._run(None)
        return self._noise

    def picture(self) -> dict[str, Array]:
        """The same for a picture: areas and edges, from 0 to 1."""
        if self._picture is None:
            width, height = self.size
            x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
            self._picture = self._run(0.5 * x + 0.3 * (y > 0.4) * (x > 0.3) * (x < 0.7) + 0.2 * np.sin(20 * y))
        return self._picture

    def _run(self, values: Array | None) -> dict[str, Array]:
        rng = np.random.default_rng(0)
        tensors: dict[str, Array] = {}
        for spec in self._engine.inputs:
            if spec.shape is None:
                return {}
            tensors[spec.name] = self._tensor(spec, rng, values)
        try:
            outputs = self._engine.infer(tensors)
        except (SampleError, MemoryError):
            return {}
        states = set(self._roles.states.values())
        specs = {s.name: s for s in self._engine.outputs}
        real = {
            n: dequantize(a, specs[n])
            for n, a in outputs.items()
            if n not in states and isinstance(a, np.ndarray) and a.dtype.kind in "iufb"
        }
        return {n: a.astype(np.float32) if a.dtype.kind == "f" else a for n, a in real.items()}

    def _tensor(self, spec: TensorSpec, rng: np.random.Generator, values: Array | None) -> Array:
        shape, dtype = self._shape(spec), numpy_dtype(spec.dtype)
        if math.prod(shape) > MOST_VALUES or any(d < 1 for d in shape):
            raise ModelError(
                f"the input {spec.name!r} has the impossible shape {list(shape)}; it is damaged: copy or "
                "convert it again"
            )
        if spec.name in self._roles.constants:
            return np.asarray(constant(spec, self.size), dtype=dtype).reshape(spec.fixed())
        if spec.name in self._roles.states:
            return np.zeros(shape, dtype)
        if values is not None and spec in self._roles.data and self._layout is not None and dtype.kind in "iuf":
            planes = values[None] if self._layout == "NCHW" else values[..., None]
            scale = 255 if dtype.kind in "iu" else 1
            low = -128 if dtype == np.int8 else 0
            return np.broadcast_to(planes * scale + low, shape).astype(dtype)
        if dtype.kind in "iu":
            top = 255 if dtype.itemsize > 1 else np.iinfo(dtype).max
            return rng.integers(max(np.iinfo(dtype).min, -128), top, shape, endpoint=True).astype(dtype)
        if dtype.kind == "f":
            return rng.normal(0.5, 0.5, shape).astype(dtype)
        return np.full(shape, "" if dtype.kind == "O" else 0, dtype)

    def _shape(self, spec: TensorSpec) -> tuple[int, ...]:
        fixed = list(spec.fixed())
        if spec not in self._roles.data:
            return tuple(fixed)
        if self._layout is not None:
            width, height = self.size
            free = spec.shape or ()
            if self._layout == "NCHW":
                fixed[-3:] = fixed[-3] if isinstance(free[-3], int) else self._channels, height, width
            else:
                fixed[-3:] = height, width, fixed[-1] if isinstance(free[-1], int) else self._channels
        elif self._roles.kind == "audio":
            heard = audio.hear(spec, self._roles.held)
            if not heard.frontend:
                fixed[audio.axis(spec.shape or ())] = heard.size + heard.context
        return tuple(fixed)


def with_layout(engine: Engine, overrides: Overrides) -> tuple[Overrides, str]:
    """The overrides with the layout in which a picture runs, where names and shape say none; and what the user should
    hear of it, or an empty text. Runs the engine on noise where a picture is meant: by the source or `--input-size`."""
    found = roles(engine.inputs, engine.outputs)
    spec = found.data[0] if len(found.data) == 1 else None
    candidates = signature.free_layouts(spec) if spec is not None else ()
    if spec is None or not candidates or overrides.layout is not None or overrides.sound:
        return overrides, ""
    flags = signature.picture_flags(spec, overrides.size)
    if not overrides.pictures and overrides.size is None:
        stated = f"the input {spec.name!r} may hold a picture, the file does not say; where it does: {flags}"
        return overrides, "" if overrides.task == "raw" else stated
    for color in ("RGB", "GRAY") if overrides.color is None else (overrides.color,):
        grey = color == "GRAY"
        runs = [
            how
            for how in candidates
            if Prober(engine, found, how, overrides.size or signature.size(spec, how), grey=grey).noise()
        ]
        if len(runs) == 1:
            stated = f"the file does not say how a picture lies in {spec.name!r}: only --layout {runs[0]} runs"
            gray: Color | None = "GRAY" if grey else overrides.color
            return msgspec.structs.replace(overrides, layout=runs[0], color=gray), stated
        if runs:
            break
    why = f"both layouts run; {flags} says which" if runs else f"none runs; where it takes another size: {flags}"
    return overrides, f"the file does not say how a picture lies in {spec.name!r}: {why}"


def constant(spec: TensorSpec, picture: tuple[int, int] | None, rate: int = SPEECH_RATE) -> Any:
    """The value of an input that never changes: the sample rate, or the size of the picture."""
    if RATE.match(spec.name):
        return rate if not spec.shape else [rate]
    width, height = picture or (1, 1)
    if spec.name.lower() == "scale_factor":
        values: list[float] = [1, 1]
    elif spec.name.lower() == "orig_target_sizes":
        values = [width, height]
    else:
        values = [height, width, 1]
    count = spec.fixed()[-1] if spec.shape else 1
    return np.resize(values[:count] or [1], spec.fixed()).tolist()
