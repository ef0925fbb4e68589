"""What is told of a picture by a few numbers, none of which says what is on it. Pure, and cheap enough for a device.

Sharpness is measured against contrast: the variance of the Laplacian over that of the picture itself. A darker or
hazier scene lowers both alike, a lens out of focus the former alone. It is measured at the picture's own resolution, in
bands of rows, since what is made smaller first is sharp again. The thumbnail is free of brightness and contrast: it
tells where the light and the dark are, and so whether the camera has moved.
"""

from __future__ import annotations

import numpy as np

from edge.data.tensor import Array

HEIGHT, WIDTH = 12, 16
"""Of the thumbnail."""
STATISTICS = ("sharpness", "brightness", "contrast")
"""The first numbers of a look: log2 of a ratio, 0 to 1, log2 of 0 to 1. The thumbnail follows, mean 0, length 1."""
SIZE = len(STATISTICS) + HEIGHT * WIDTH
_BAND, _PIXELS, _GRID = 16, 150_000, 8
_LEAST = 0.05
"""Added to variances, in squared steps of 255: what is black all over has neither sharpness nor contrast."""


def look(pixels: Array) -> Array:
    """float32 [SIZE], of a picture: uint8, height x width x 3."""
    green = pixels[:, :, 1]  # most of what the eye takes for brightness, without a sum of three
    bands = _bands(green)
    variance = float(np.mean([band.var(dtype=np.float32) for band in bands]))
    edges = float(np.mean([_laplacian(band).var(dtype=np.float32) for band in bands]))
    small = _thumbnail(green)
    contrast = float(small.std() ** 2) + variance
    numbers = (
        np.log2((edges + _LEAST) / (variance + _LEAST)),
        float(small.mean()) / 255,
        np.log2(np.sqrt(contrast + _LEAST) / 255),
    )
    flat = small.ravel() - small.mean()
    length = float(np.sqrt((flat**2).sum()))
    unit = flat / length if length > 1e-3 else np.zeros_like(flat)
    return np.concatenate([numbers, unit]).astype(np.float32)


def _bands(green: Array) -> list[Array]:
    """Of the whole height, as few rows as there have to be; int16."""
    height, width = green.shape
    count = max(1, min(height // _BAND, _PIXELS // (_BAND * width)))
    if count * _BAND >= height:
        return [green.astype(np.int16)]
    starts = np.linspace(0, height - _BAND, count).astype(int)
    return [green[start : start + _BAND].astype(np.int16) for start in starts]


def _laplacian(band: Array) -> Array:
    if min(band.shape) < 3:
        return np.zeros((1, 1), np.int16)
    inner = band[1:-1, 1:-1]
    found = inner * np.int16(-4)
    found += band[:-2, 1:-1]
    found += band[2:, 1:-1]
    found += band[1:-1, :-2]
    found += band[1:-1, 2:]
    return np.asarray(found)


def _thumbnail(green: Array) -> Array:
    """float64 [HEIGHT, WIDTH], 0 to 255: means of pixels on a grid."""
    height, width = green.shape
    grid = green[:: max(1, height // (HEIGHT * _GRID)), :: max(1, width // (WIDTH * _GRID))].astype(np.float64)
    rows, columns = (np.arange(n) * size // n for n, size in zip((HEIGHT, WIDTH), grid.shape, strict=True))
    sums = np.add.reduceat(np.add.reduceat(grid, rows, axis=0), columns, axis=1)
    down, across = (np.maximum(1, np.diff(np.append(at, n))) for at, n in zip((rows, columns), grid.shape, strict=True))
    return np.asarray(sums / np.outer(down, across))


def cosines(rows: int = 4, columns: int = 5) -> Array:
    """float64 [rows x columns - 1, HEIGHT x WIDTH]: the slowest waves of a thumbnail, each of length 1."""
    found = []
    for down in range(rows):
        for across in range(columns):
            wave = np.outer(
                np.cos(np.pi * down * (np.arange(HEIGHT) + 0.5) / HEIGHT),
                np.cos(np.pi * across * (np.arange(WIDTH) + 0.5) / WIDTH),
            ).ravel()
            found.append(wave / np.linalg.norm(wave))
    return np.asarray(found[1:])
