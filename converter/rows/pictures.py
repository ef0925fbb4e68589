"""A sample of pictures: read from a folder, and made into tensors by the code that will do it on the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from converter.errors import SampleFileError
from converter.rows.rows import UNNAMED, Rows
from edge.data.sample import EncodedImage, Sample
from edge.data.tensor import Array, TensorSpec
from edge.drift.look import look
from edge.errors import SampleError
from edge.model.golden import choose
from edge.model.manifest import Input, Manifest
from edge.plugins import registry
from edge.plugins.protocols import LookingPreprocessor
from edge.preprocess import PreprocessorInfo
from edge.progress import track

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
# Enough for parity and calibration; more only costs memory: 512 pictures of 224 x 224 are 300 MB.
LIMIT = 512


def read_folder(folder: Path) -> Rows:
    """The pictures in a folder, undecoded, at most `LIMIT`, evenly chosen.

    Pictures in folders of their own are of the class that the folder is named after: that is what is expected of
    them. Raises SampleFileError where there is no picture.
    """
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not files:
        raise SampleFileError(f"--sample {folder}: a folder without pictures ({', '.join(SUFFIXES)}) in it")
    files = [files[i] for i in choose(range(len(files)), LIMIT)]
    try:
        read = [EncodedImage(p.read_bytes()) for p in files]
    except OSError as exc:
        raise SampleFileError(f"--sample {folder}: {exc.filename}: {exc.strerror}") from exc
    sorted_by_class = all(p.parent.parent == folder for p in files)
    parents = [p.parent.name for p in files]
    return Rows(
        {UNNAMED: _objects(read)},
        expected=np.array(parents, dtype=object) if sorted_by_class else None,
        classes=tuple(sorted(set(parents))) if sorted_by_class else (),
    )


def _objects(values: Sequence[Any]) -> Array:
    objects = np.empty(len(values), dtype=object)
    objects[:] = values
    return objects


def prepared(rows: Rows, inputs: Sequence[Input], specs: Sequence[TensorSpec]) -> Rows:
    """The rows with pictures made into the tensors that the network takes; other rows as they are.

    Pictures are files, or arrays of pixels (uint8, height x width, or with 1, 3 or 4 channels last) where the
    network takes floats. Raises SampleFileError for one that cannot be used.
    """
    if rows.table or len(rows.arrays) != 1:
        return rows
    (name, array), *_ = rows.arrays.items()
    wanted = next((i for i in inputs if i.kind == "image"), None)
    if array.dtype == object and len(array) and isinstance(array[0], EncodedImage) and wanted is None:
        raise SampleFileError("the sample is pictures, but the model's input is not shaped like one")
    if wanted is None or not _are_pictures(array, wanted):
        return rows
    spec = next(s for s in specs if s.name == wanted.name)
    tensors, looks = _tensors(array, wanted, spec)
    return replace(rows, arrays={name: tensors}, looks=looks)


def _are_pictures(array: Array, wanted: Input) -> bool:
    if array.dtype == object:
        return True
    if array.dtype != np.uint8:
        return False
    shaped_like_input = array.ndim == 4 and all(
        not isinstance(w, int) or w == got for w, got in zip(wanted.shape[1:], array.shape[1:], strict=True)
    )
    if wanted.dtype == "uint8" and shaped_like_input:
        return False
    return array.ndim == 3 or (array.ndim == 4 and array.shape[3] in (1, 3, 4))


def _tensors(pictures: Array, wanted: Input, spec: TensorSpec) -> tuple[Array, Array | None]:
    """And what is told of each picture, where all of them could be looked at."""
    if wanted.size is None:
        raise SampleFileError("the model takes pictures of any size; say which: --input-size 224x224, for instance")
    # One picture at a time: the preprocessor refuses a batch that the file fixes at more.
    single = msgspec.structs.replace(spec, shape=(None, *(spec.shape or ())[1:]))
    make = registry.declared(PreprocessorInfo, "image").create(Manifest(name="sample", inputs=(wanted,)), (single,))
    if isinstance(make, LookingPreprocessor):
        make.look = look
    tensors: list[Array] = []
    looks: list[Array] = []
    for number, picture in enumerate(track(pictures, "reading pictures"), start=1):
        try:
            ready = make(Sample(picture, "sample", 0, 0))
        except SampleError as exc:
            raise SampleFileError(f"picture {number} of the sample: {exc}") from exc
        assert ready is not None, "a picture is a whole sample"
        tensors.append(np.array(ready.tensors[spec.name]))  # a copy: the preprocessor uses its memory again
        if ready.look is not None:
            looks.append(ready.look)
    return np.concatenate(tensors), np.stack(looks) if len(looks) == len(tensors) else None
