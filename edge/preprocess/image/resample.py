"""Pictures resized as Pillow and torchvision resize them: by a kernel that is as wide as the picture shrinks.

Both sides are taken one after the other, each as a product of small matrices: a block of lines that come out needs only
the lines of the picture that lie around it. The weights are those of Pillow's `Resample.c` (`precompute_coeffs`):
the kernel at (input - centre) / max(1, factor), what lies outside the picture left out, their sum 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from edge.data.tensor import Array

_BLOCK, _FEWEST = 16, 4
"""Lines of the picture that one product covers, about, and the fewest that come out of it: more waste zeros, fewer
waste calls. 1920x1080 to 224x224 takes half the time that it took where 16 came out of each."""
Span = tuple[float, float]
"""The part of a side that is resized, from and to, in pixels of the picture."""


class Kernel(NamedTuple):
    """`support`: how far it reaches to each side, in pixels of the smaller picture."""

    support: float
    weights: Callable[[Array], Array]


def _triangle(x: Array) -> Array:
    return np.maximum(0.0, 1.0 - np.abs(x))


def _cubic(x: Array) -> Array:
    """Keys' with a = -0.5, as Pillow and torchvision with `antialias` have it (OpenCV: -0.75)."""
    x = np.abs(x)
    near, far = (1.5 * x - 2.5) * x * x + 1.0, ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _hamming(x: Array) -> Array:
    return np.where(np.abs(x) < 1, np.sinc(x) * (0.54 + 0.46 * np.cos(np.pi * x)), 0.0)


def _lanczos(x: Array) -> Array:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)


KERNELS: Mapping[str, Kernel] = {
    "nearest": Kernel(0.0, np.ones_like),
    "box": Kernel(0.5, lambda x: np.where((x > -0.5) & (x <= 0.5), 1.0, 0.0)),
    "bilinear": Kernel(1.0, _triangle),
    "hamming": Kernel(1.0, _hamming),
    "bicubic": Kernel(2.0, _cubic),
    "lanczos": Kernel(3.0, _lanczos),
}


class _Block(NamedTuple):
    """`weights` [lines out, lines in] of the lines `first` to `last` (without it) of the picture."""

    first: int
    last: int
    weights: Array


class Resampler:
    """Resizes parts of pictures of one size to one size."""

    def __init__(self, source: tuple[int, int], size: tuple[int, int], across: Span, down: Span, kernel: str) -> None:
        """`source`, `size`: width, height. `across`, `down`: the part; what lies around it counts for its border."""
        how = KERNELS[kernel]
        self._columns = [
            # The three colours of a pixel lie side by side.
            b._replace(weights=np.kron(b.weights.T, np.eye(3, dtype=np.float32)))
            for b in _blocks(source[0], size[0], across, how)
        ]
        self._rows = _blocks(source[1], size[1], down, how)
        self._narrow = np.zeros((size[1], source[0] * 3), np.float32)
        self._small = np.zeros((size[1], size[0] * 3), np.float32)

    def __call__(self, pixels: Array, target: Array) -> None:
        """`pixels`: height x width x 3, uint8, to `target`: the same, of the size."""
        at = 0
        for block in self._rows:
            lines = pixels[block.first : block.last].reshape(block.last - block.first, -1).astype(np.float32)
            np.matmul(block.weights, lines, out=self._narrow[at : at + len(block.weights)])
            at += len(block.weights)
        at = 0
        for block in self._columns:
            count = block.weights.shape[1]
            self._small[:, at : at + count] = self._narrow[:, 3 * block.first : 3 * block.last] @ block.weights
            at += count
        np.rint(self._small, out=self._small)
        np.clip(self._small, 0, 255, out=self._small)
        target[...] = self._small.reshape(target.shape)


def _blocks(length: int, count: int, span: Span, kernel: Kernel) -> list[_Block]:
    factor = (span[1] - span[0]) / count
    wide = max(1.0, factor)
    centres = span[0] + (np.arange(count) + 0.5) * factor
    half = 0.5 if kernel.support else 0.0  # the nearest pixel is the one that the centre lies in
    first = np.clip((centres - kernel.support * wide + half).astype(int), 0, length - 1)
    last = np.clip((centres + kernel.support * wide + half).astype(int), first + 1, length)
    blocks = []
    step = max(_FEWEST, round(_BLOCK / wide))
    for start in range(0, count, step):
        end = min(start + step, count)
        low, high = int(first[start:end].min()), int(last[start:end].max())
        places = np.arange(low, high)
        weights = kernel.weights((places + 0.5 - centres[start:end, None]) / wide)
        inside = (places >= first[start:end, None]) & (places < last[start:end, None])
        weights = np.where(inside, weights, 0.0)
        blocks.append(_Block(low, high, (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)))
    return blocks
