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


def test_a_table_at_once_says_what_its_rows_say_one_by_one(model, flowers):
    table = pd.DataFrame(flowers.rows)
    alone = [model.predict(row).predictions for row in flowers.rows]
    for given in (table, table[table.columns[::-1]], table.to_numpy()):
        results = model.predict_batch(given)
        assert [[p.label for p in r.predictions] for r in results] == [[p.label for p in found] for found in alone]
        scores = [[p.score for p in r.predictions] for r in results]
        np.testing.assert_allclose(scores, [[p.score for p in found] for found in alone], atol=2e-6)
        assert results.columns["label"].tolist() == labels(results)
        assert results.columns["score"].tolist() == [found[0] for found in scores]
        assert results[-1] == list(results)[-1]
        assert results[3:70:2] == list(results)[3:70:2]
        assert results == list(results)
        with pytest.raises(IndexError):
            results[len(alone)]


def test_results_of_a_table_have_numbers_of_their_own(model, frame):
    one, table, other = model.predict(frame.iloc[0]), model.predict_batch(frame), model.predict(frame.iloc[0])
    assert [one.seq, *(r.seq for r in table), other.seq] == [*range(one.seq, one.seq + len(frame) + 2)]
    assert all(r.id.endswith(f"/{r.seq}") for r in table)


@pytest.mark.parametrize("whole", [True, False], ids=["frame", "array"])
def test_a_table_with_a_row_that_the_model_refuses_is_refused_in_the_words_of_the_row(model, frame, whole):
    holed = frame.copy()
    holed.iloc[2, 1] = np.inf
    with pytest.raises(SampleError) as alone:
        model.predict(holed.iloc[2])
    with pytest.raises(SampleError) as together:
        model.predict_batch(holed if whole else holed.to_numpy())
    assert str(together.value) == str(alone.value)


def test_a_frame_with_another_column_is_refused_as_a_row_with_it_is(model, frame):
    with pytest.raises(SampleError, match="unknown feature 'more'"):
        model.predict_batch(frame.assign(more=1.0))


def test_where_no_class_reaches_the_threshold_the_columns_are_empty(flowers, frame):
    model = edge.load(flowers.path, overrides=edge.Overrides(threshold=1.0))
    results = model.predict_batch(pd.DataFrame(flowers.rows))
    nothing = [not result.predictions for result in results]
    assert any(nothing)
    assert [label is None for label in results.columns["label"]] == nothing
    assert np.isnan(results.columns["score"]).tolist() == nothing
    model.close()


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


def test_a_list_of_pictures_of_any_kind_and_size_is_a_batch(tmp_path):
    model = edge.load(onnxmodels.brightness(tmp_path / "picture.onnx"))
    files = [tmp_path / "small.png", tmp_path / "large.png"]
    for file, side, grey in zip(files, (8, 16), (10, 200), strict=True):
        cv2.imwrite(str(file), np.full((side, side, 3), grey, np.uint8))
    alone = [model.predict(file).predictions for file in files]
    assert alone[0] != alone[1]
    images = [Image.open(file) for file in files]
    for batch in (files, [f.read_bytes() for f in files], images, [np.asarray(image) for image in images]):
        assert [result.predictions for result in model.predict(batch)] == alone
    model.close()


def test_a_list_of_series_is_a_batch_of_rows(model, frame):
    one, two = model.predict([frame.iloc[0], frame.iloc[1]])
    assert [one.predictions, two.predictions] == [r.predictions for r in model.predict(frame.iloc[:2])]


def test_a_picture_may_be_a_file_its_bytes_pixels_or_an_image_of_pillow(tmp_path):
    model = edge.load(onnxmodels.brightness(tmp_path / "picture.onnx"))
    pixels = np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "picture.png"), pixels[:, :, ::-1])
    data = (tmp_path / "picture.png").read_bytes()
    given = (tmp_path / "picture.png", data, pixels, Image.fromarray(pixels), Image.open(tmp_path / "picture.png"))
    first, *others = [model.predict(x).predictions for x in given]
    assert all(other == first for other in others)
    model.close()
