"""Known vectors and their names: whom or what a vector of a second model is nearest to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edge.data import array_file
from edge.data.result import Classification
from edge.data.tensor import Array
from edge.errors import ConfigError

MAKE = "make it with numpy.savez(FILE, names=[...], vectors=[[...], ...])"


class Gallery:
    """By the cosine of the angle between two vectors: 1 is the same direction."""

    def __init__(self, names: Array, vectors: Array, least: float) -> None:
        """`names`: texts [n], a name may come again; `vectors`: float [n, d]; `least`: the cosine from which a vector
        has a name. Raises ValueError."""
        if names.ndim != 1 or names.dtype.kind != "U":
            raise ValueError(f"`names` is {names.dtype} {list(names.shape)}, texts [n] belong there")
        if vectors.ndim != 2 or vectors.dtype.kind not in "fiu" or not vectors.size:
            raise ValueError(f"`vectors` is {vectors.dtype} {list(vectors.shape)}, numbers [n, d] belong there")
        if len(names) != len(vectors):
            raise ValueError(f"{len(names)} names for {len(vectors)} vectors")
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
        if not np.isfinite(lengths).all() or not lengths.all():
            raise ValueError(f"vector {int(np.argmin(np.isfinite(lengths) & (lengths > 0)))} is all 0 or not finite")
        self._vectors = vectors / lengths
        self._known = list(dict.fromkeys(names.tolist()))
        self._index = [self._known.index(name) for name in names.tolist()]
        self._least = least

    @property
    def size(self) -> int:
        """How many vectors are known."""
        return len(self._vectors)

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return int(self._vectors.shape[1])

    def named(self, vector: Array) -> list[Classification]:
        """The nearest name and its cosine; none where no vector is near enough. `vector`: float [d]."""
        length = float(np.linalg.norm(vector))
        if not length or not np.isfinite(length):
            return []
        cosines = self._vectors @ (vector.ravel() / length)
        best = int(cosines.argmax())
        index = self._index[best]
        score = round(float(cosines[best]), 6)
        return [Classification(index, self._known[index], score)] if score >= self._least else []


def read(path: Path, least: float) -> Gallery:
    """From an .npz with `names` and `vectors`. Raises ConfigError."""
    try:
        # numpy leaves a file of its own open where it is no archive
        with array_file.reading(), path.open("rb") as file:
            loaded: Any = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                raise ValueError("one array, and no archive of several")
            absent = [name for name in ("names", "vectors") if name not in loaded.files]
            if absent:
                raise ValueError(f"no `{absent[0]}` in it")
            names, vectors = loaded["names"], loaded["vectors"]
        return Gallery(names, vectors, least)
    except OSError as exc:
        raise ConfigError(f"--gallery {path}: {exc.strerror or 'it cannot be read'}; {MAKE}") from exc
    except ValueError as exc:
        raise ConfigError(f"--gallery {path}: {exc}; {MAKE}") from exc
