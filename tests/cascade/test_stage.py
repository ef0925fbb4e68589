"""Objects cut out of their picture and shown to a second model."""

from __future__ import annotations

import base64

import cv2
import numpy as np
import pytest
from msgspec import UNSET
from support import onnxmodels

from edge.app import assembly, loading
from edge.cascade.gallery import Gallery
from edge.cascade.stage import Cascade, Objects
from edge.data.result import Detection, ModelRef, Result, Timing
from edge.data.sample import EncodedImage, Frame, Image, Sample
from edge.pipeline.stages import Stages
from edge.plugins.protocols import EngineOptions
from edge.settings import layers

RED, GREEN = (10.0, 20.0, 60.0, 70.0), (100.0, 20.0, 140.0, 90.0)
ALL = Objects()
COLOURS = ("--task", "classify", "--labels", "red,green,blue", "--activation", "softmax", "--top-k", "1")


@pytest.fixture
def photo():
    """A red thing and a green one, apart."""
    pixels = np.zeros((120, 160, 3), np.uint8)
    for channel, box in enumerate((RED, GREEN)):
        left, top, right, bottom = map(int, box)
        pixels[top:bottom, left:right, channel] = 255
    return pixels


@pytest.fixture
def second(tmp_path):
    """Makes the stage with a model of that name: it names the brightest channel, or gives all three."""

    def make(*flags: str, objects: Objects = ALL, gallery: Gallery | None = None, model=onnxmodels.brightness):
        path = model(tmp_path / "second.onnx")
        settings = layers.read(
            ["--model", str(path), "--resize", "stretch", "--mean", "0", "--std", "255", *flags], {}, "0"
        )
        return Cascade(assembly.make_pipeline(loading.open_model(settings, EngineOptions()), "d"), objects, gallery)

    return make


def found(*boxes, scores=(0.9, 0.8)) -> Result:
    objects = [Detection(0, "thing", score, box) for score, box in zip(scores, boxes, strict=False)]
    return Result(1, "d/m/0/1", "", True, "d", ModelRef("m", "1", "00"), "s", 1, "detect", objects, Timing(1, 2, 3))


def told(cascade, payload, result) -> list:
    """Of each object the best label, None where it was not looked at."""
    predictions = cascade(Sample(payload, "s", 0, 0), result, None).predictions
    return [p.then.predictions[0].label if p.then else None for p in predictions]


def as_png(pixels) -> bytes:
    return cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()


@pytest.mark.parametrize("form", [Image, lambda p: EncodedImage(as_png(p)), as_png, lambda p: p,
                                  lambda p: base64.b64encode(as_png(p)).decode(), lambda p: p.tolist()])  # fmt: skip
def test_each_object_is_looked_at_in_whatever_form_the_picture_comes(second, photo, form):
    assert told(second(*COLOURS), form(photo), found(RED, GREEN)) == ["red", "green"]


def test_what_it_says_stands_in_the_object_with_the_name_of_the_model(second, photo):
    (thing,) = second(*COLOURS)(Sample(Image(photo), "s", 0, 0), found(RED), None).predictions
    assert (thing.label, thing.box) == ("thing", RED)
    assert (thing.then.model, thing.then.task, thing.then.reason) == ("second", "classify", UNSET)
    assert thing.then.predictions[0].index == 0


def test_the_time_of_both_models_counts(second, photo):
    result = second(*COLOURS)(Sample(Image(photo), "s", 0, 0), found(RED), None)
    assert result.timing_ms.infer > 2
    assert result.timing_ms.preprocess > 1


@pytest.mark.parametrize(
    ("objects", "seen"),
    [
        (Objects(labels=frozenset({"thing"})), ["red", "green"]),
        (Objects(labels=frozenset({"other"})), [None, None]),
        (Objects(least=50), ["red", None]),
        (Objects(most=1), ["red", None]),
    ],
)
def test_only_objects_that_are_meant_are_looked_at(second, photo, objects, seen):
    assert told(second(*COLOURS, objects=objects), Image(photo), found(RED, GREEN)) == seen


def test_of_too_many_the_surest_are_looked_at(second, photo):
    cascade = second(*COLOURS, objects=Objects(most=1))
    assert told(cascade, Image(photo), found(RED, GREEN, scores=(0.5, 0.9))) == [None, "green"]


def test_a_margin_shows_more_than_the_box(second, photo):
    inside = (20.0, 30.0, 50.0, 60.0)
    scores = [
        second(*COLOURS, objects=Objects(margin=m))(Sample(Image(photo), "s", 0, 0), found(inside), None)
        .predictions[0].then.predictions[0].score
        for m in (0.0, 3.0)
    ]  # fmt: skip
    assert scores[0] > scores[1]  # black is around the red


def test_a_box_that_the_frame_cuts_off_or_that_lies_beside_it_is_no_error(second, photo):
    assert (
        len(told(second(*COLOURS), Image(photo), found((-30.0, -5.0, 40.0, 50.0), (155.0, 100.0, 300.0, 300.0)))) == 2
    )
    beside = second(*COLOURS)(Sample(Image(photo), "s", 0, 0), found((200.0, 200.0, 300.0, 300.0)), None)
    assert beside.predictions[0].then.predictions


def test_an_object_of_which_the_frame_shows_too_little_is_passed_over(second, photo):
    boxes = ((150.0, 20.0, 250.0, 90.0), (200.0, 20.0, 300.0, 90.0))
    sample = Sample(Image(photo), "s", 0, 0)
    for least, looked_at in ((16.0, 0), (10.0, 1), (0.0, 1)):
        predictions = second(*COLOURS, objects=Objects(least=least))(sample, found(*boxes), Frame(160, 120)).predictions
        assert sum(p.then is not UNSET for p in predictions) == looked_at


def test_boxes_within_an_object_are_told_in_pixels_of_the_frame(second, photo):
    cascade = second("--threshold", "0.5", model=lambda path: onnxmodels.one_box(path, 64))
    (thing,) = cascade(Sample(Image(photo), "s", 0, 0), found(RED), None).predictions
    left, top, right, bottom = RED
    quarter = ((right - left) / 4, (bottom - top) / 4)
    inner = (left + quarter[0], top + quarter[1], right - quarter[0], bottom - quarter[1])
    assert thing.then.predictions[0].box == pytest.approx(inner, abs=0.5)


@pytest.mark.parametrize("payload", [np.zeros((1, 32, 32, 3), np.float32), b"\xff\xd8\xff\xe0 no picture"])
def test_what_cannot_be_cut_has_its_reason_and_keeps_its_boxes(second, payload):
    (thing,) = second(*COLOURS)(Sample(payload, "s", 0, 0), found(RED), None).predictions
    assert thing.box == RED
    assert thing.then.predictions == []
    assert thing.then.reason


@pytest.mark.parametrize(("keeps", "width", "form"), [(True, 160, Image), (False, 160, EncodedImage),
                                                    (True, 16_000, EncodedImage)])  # fmt: skip
def test_a_picture_that_the_first_model_was_shown_is_not_decoded_again_where_it_is_small(tmp_path, keeps, width, form):
    seen = []

    def follow(sample, result, frame):
        seen.append(sample.payload)
        return result

    settings = layers.read(["--model", str(onnxmodels.one_box(tmp_path / "first.onnx"))], {}, "0")
    loaded = loading.open_model(settings, EngineOptions())
    options = assembly.PipelineOptions(stages=Stages((follow,)), keeps_pictures=keeps)
    pixels = np.full((200, width, 3), (255, 0, 9), np.uint8)
    assembly.make_pipeline(loaded, "d", options).process(Sample(as_png(pixels), "s", 0, 0))
    (payload,) = seen
    assert type(payload) is form
    assert form is EncodedImage or np.array_equal(payload.pixels, pixels)


def test_a_picture_without_objects_costs_nothing(second):
    result = found()
    assert second(*COLOURS)(Sample(b"not even looked at", "s", 0, 0), result, None) is result


def test_a_gallery_names_what_a_vector_is_nearest_to(second, photo):
    names = np.array(["apple", "leaf", "apple"])
    gallery = Gallery(names, np.array([[1.0, 0, 0], [0, 2.0, 0], [0.9, 0.1, 0]]), 0.9)
    cascade = second("--task", "raw", gallery=gallery)
    assert told(cascade, Image(photo), found(RED, GREEN)) == ["apple", "leaf"]
    (thing,) = cascade(Sample(Image(photo), "s", 0, 0), found(GREEN), None).predictions
    assert (thing.then.task, thing.then.predictions[0].index) == ("classify", 1)
    assert thing.then.predictions[0].score == pytest.approx(1.0, abs=1e-4)


def test_a_vector_of_another_width_than_the_gallery_has_its_reason(second, photo):
    gallery = Gallery(np.array(["sea"]), np.array([[0.0, 1.0]]), 0.5)
    (thing,) = second("--task", "raw", gallery=gallery)(Sample(Image(photo), "s", 0, 0), found(RED), None).predictions
    assert thing.then.reason == "a vector of 3 numbers, and those of the gallery have 2"


def test_what_no_vector_is_near_has_no_name(second, photo):
    gallery = Gallery(np.array(["sea"]), np.array([[0.0, 0, 1.0]]), 0.5)
    (thing,) = second("--task", "raw", gallery=gallery)(Sample(Image(photo), "s", 0, 0), found(RED), None).predictions
    assert thing.then.predictions == []
    assert thing.then.reason is UNSET
