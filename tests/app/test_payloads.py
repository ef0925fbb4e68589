"""`edge.load(...).predict` takes what Python programs hold."""

from __future__ import annotations

import json
import sys
import types

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from support import onnxmodels

import edge
from edge.app import payloads
from edge.errors import SampleError


@pytest.fixture(scope="module")
def model(flowers):
    made = edge.load(flowers.path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def frame(flowers) -> pd.DataFrame:
    return pd.DataFrame(flowers.rows[:60:20])


def labels(results) -> list[str]:
    return [result.predictions[0].label for result in results]


def test_a_frame_gives_a_list_of_one_row_also(model, frame, flowers):
    assert labels(model.predict(frame)) == flowers.answers[:60:20]
    assert labels(model.predict(frame[:1])) == flowers.answers[:1]


def test_columns_of_a_frame_may_stand_in_any_order_and_may_have_no_names(model, frame, flowers):
    assert labels(model.predict(frame[frame.columns[::-1]])) == flowers.answers[:60:20]
    assert labels(model.predict(pd.DataFrame(frame.to_numpy()))) == flowers.answers[:60:20]


def test_a_row_of_a_frame_gives_a_result(model, frame, flowers):
    assert model.predict(frame.iloc[0]).predictions[0].label == flowers.answers[0]


def test_a_batch_gives_a_list(model, frame, flowers):
    assert labels(model.predict(frame.to_numpy())) == flowers.answers[:60:20]
    assert labels(model.predict(frame.to_dict("records"))) == flowers.answers[:60:20]
    assert model.predict(frame.to_numpy()[0]).predictions[0].label == flowers.answers[0]


def test_what_is_missing_in_a_frame_is_missing_for_the_model(model, frame):
    holed = frame.astype(object)
    holed.iloc[1, 0] = None
    with pytest.raises(SampleError, match="missing"):
        model.predict(holed)


def test_a_path_is_what_is_in_the_file(model, flowers, tmp_path):
    (tmp_path / "row.json").write_text(json.dumps(flowers.rows[0]))
    for path in (tmp_path / "row.json", str(tmp_path / "row.json")):
        assert model.predict(path).predictions[0].label == flowers.answers[0]
    with pytest.raises(SampleError, match=r"absent.json: No such file"):
        model.predict(tmp_path / "absent.json")


def test_a_frame_of_polars_is_known_without_importing_it(monkeypatch):
    class DataFrame:
        columns = ("a",)

        def to_dicts(self):
            return [{"a": 1}]

    DataFrame.__module__ = "polars.dataframe.frame"
    monkeypatch.setitem(sys.modules, "polars", types.ModuleType("polars"))
    assert payloads.is_frame(DataFrame())
    assert payloads.understood(DataFrame()) == [{"a": 1}]


def test_a_picture_may_be_a_file_its_bytes_pixels_or_an_image_of_pillow(tmp_path):
    model = edge.load(onnxmodels.brightness(tmp_path / "picture.onnx"))
    pixels = np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "picture.png"), pixels[:, :, ::-1])
    data = (tmp_path / "picture.png").read_bytes()
    given = (tmp_path / "picture.png", data, pixels, Image.fromarray(pixels), Image.open(tmp_path / "picture.png"))
    first, *others = [model.predict(x).predictions for x in given]
    assert all(other == first for other in others)
    model.close()
