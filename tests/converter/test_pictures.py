"""A sample of pictures goes through the preparation that the device will use."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from converter.errors import SampleFileError
from converter.rows import files, pictures
from converter.rows.rows import Rows
from edge.data.tensor import TensorSpec
from edge.model.manifest import Input

PLANES = Input(name="x", kind="image", layout="NCHW", shape=(None, 3, 8, 8), size=(8, 8), mean=(10.0,), std=(2.0,))
SPEC = TensorSpec(name="x", dtype="float32", shape=(None, 3, 8, 8))


def save(path: Path, colour: tuple[int, int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((12, 16, 3), colour[::-1], np.uint8))


def test_a_folder_becomes_tensors_as_on_the_device(tmp_path: Path) -> None:
    save(tmp_path / "a.png", (30, 20, 10))
    save(tmp_path / "b.bmp", (0, 0, 0))

    made = pictures.prepared(files.read(tmp_path), [PLANES], [SPEC]).array

    assert made.shape == (2, 3, 8, 8)
    assert made.dtype == np.float32
    assert made[:, :, 0, 0].tolist() == [[10.0, 5.0, 0.0], [-5.0, -5.0, -5.0]]


def test_the_names_of_folders_are_what_is_expected_of_the_pictures_in_them(tmp_path: Path) -> None:
    for name in ("dog/1.png", "cat/1.png", "cat/2.jpg"):
        save(tmp_path / name, (1, 2, 3))

    made = files.read(tmp_path)

    assert made.expected is not None
    assert made.expected.tolist() == ["cat", "cat", "dog"]
    assert made.classes == ("cat", "dog")


def test_pixels_in_an_array_are_pictures_too() -> None:
    pixels = np.full((4, 20, 10, 3), 30, np.uint8)

    made = pictures.prepared(Rows({"": pixels}), [PLANES], [SPEC]).array

    assert made.shape == (4, 3, 8, 8)
    assert np.all(made == 10.0)


def test_floats_are_tensors_and_stay_as_they_are() -> None:
    tensors = np.random.default_rng(0).normal(size=(4, 3, 8, 8))

    assert pictures.prepared(Rows({"": tensors}), [PLANES], [SPEC]).array is tensors


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")

    with pytest.raises(SampleFileError, match="without pictures"):
        files.read(tmp_path)


def test_a_damaged_picture_is_named_by_its_place(tmp_path: Path) -> None:
    save(tmp_path / "a.png", (1, 1, 1))
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])

    with pytest.raises(SampleFileError, match="picture 2 of the sample"):
        pictures.prepared(files.read(tmp_path), [PLANES], [SPEC])


def test_pictures_for_a_table_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.png", (1, 1, 1))

    with pytest.raises(SampleFileError, match="not shaped like one"):
        pictures.prepared(files.read(tmp_path), [Input(name="x", kind="table")], [SPEC])
