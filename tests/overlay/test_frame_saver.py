from __future__ import annotations

import cv2
import numpy as np
import pytest
from msgspec import UNSET
from msgspec.structs import replace

from edge.data.result import (
    Classification,
    Detection,
    ModelRef,
    Nested,
    Regression,
    Result,
    Segmentation,
    Skipped,
    Text,
    Timing,
)
from edge.data.sample import EncodedImage, Image, Sample
from edge.errors import ConfigError
from edge.overlay import annotate
from edge.overlay.frame_saver import FrameSaver
from edge.tracking.places import Place
from edge.tracking.stage import Places

PIXELS = np.zeros((60, 80, 3), np.uint8)
DETECTION = Detection(1, "cat", 0.9, (10.0, 20.0, 50.0, 40.0), keypoints=[(30.0, 30.0, 0.9)])


def result(seq: int = 1, *predictions) -> Result:
    when, model, timing = "2026-01-02T03:04:05.000006Z", ModelRef("m", "1", ""), Timing(0, 0, 0)
    return Result(1, f"d/m/b/{seq}", when, True, "d", model, "s", seq, "detect", list(predictions), timing, UNSET)


def sample(payload) -> Sample:
    return Sample(payload, "s", 0, 0)


def saver(folder, max_bytes=1_000_000, annotate=False) -> FrameSaver:
    made = FrameSaver(folder, max_bytes, annotate=annotate)
    made.open()
    return made


def test_a_picture_is_kept_as_it_came_under_its_time_and_number(tmp_path):
    data = cv2.imencode(".png", PIXELS)[1].tobytes()
    for payload in (data, EncodedImage(data)):
        saver(tmp_path)(sample(payload), [result(7)])
        (path,) = tmp_path.iterdir()
        assert path.name == "frame-2026-01-02T03-04-05.000006Z-7.png"
        assert path.read_bytes() == data


def test_pixels_are_kept_as_a_jpeg_with_their_colours(tmp_path):
    red = PIXELS.copy()
    red[..., 0] = 255
    saver(tmp_path)(sample(Image(red)), [result()])
    (path,) = tmp_path.glob("*.jpg")
    blue, green, red_again = cv2.imread(str(path)).reshape(-1, 3).mean(axis=0)
    assert red_again > 240
    assert max(blue, green) < 15


@pytest.mark.parametrize("prediction", [DETECTION, Classification(0, "katze äöü", 0.5), Text("AB 12", 0.9)])
def test_what_was_found_is_drawn_on_a_copy(tmp_path, prediction):
    saver(tmp_path, annotate=True)(sample(Image(PIXELS)), [result(1, prediction)])
    (path,) = tmp_path.glob("*.jpg")
    assert cv2.imread(str(path)).max() > 100
    assert PIXELS.max() == 0


@pytest.mark.parametrize(
    "then",
    [
        Nested("plate", "text", [Text("ABC", 0.9)]),
        Nested("age", "regress", [Regression("age", 31.0)]),
        Nested("wheel", "detect", [Detection(2, "", 0.8, (15.0, 25.0, 25.0, 35.0))]),
    ],
)
def test_what_a_second_model_says_of_an_object_is_drawn_too(then):
    alone, both = (annotate.on(PIXELS, result(1, one)) for one in (DETECTION, replace(DETECTION, then=then)))
    assert (alone != both).any()


def test_the_areas_of_a_segmentation_are_written_on_it(tmp_path):
    white = np.full((120, 160, 3), 255, np.uint8)
    saver(tmp_path, annotate=True)(sample(Image(white)), [result(1, Segmentation(["cat", "dog"], [0.7, 0.3]))])
    (path,) = tmp_path.glob("*.jpg")
    assert cv2.imread(str(path))[:20, :40].min() < 60


def test_the_folder_is_bounded_and_the_oldest_go_first(tmp_path):
    data = cv2.imencode(".png", np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))[1].tobytes()
    made = saver(tmp_path, max_bytes=3 * len(data))
    for seq in range(5):
        made(sample(data), [result(seq)])
    assert sorted(p.stem.rpartition("-")[2] for p in tmp_path.iterdir()) == ["2", "3", "4"]
    again = saver(tmp_path, max_bytes=3 * len(data))
    again(sample(data), [result(5)])
    assert sum(p.stat().st_size for p in tmp_path.iterdir()) <= 3 * len(data)


@pytest.mark.parametrize("payload", [[1, 2], {"a": 1}, b"[1]", np.zeros(4), EncodedImage(b"\xff\xd8\xff broken")])
def test_what_is_no_picture_is_passed_over(tmp_path, payload):
    saver(tmp_path, annotate=True)(sample(payload), [result()])
    assert list(tmp_path.iterdir()) == []


def test_a_sample_that_was_skipped_is_not_kept(tmp_path):
    skipped = Skipped(1, "i", "t", "d", "m", "s", 1, "why")
    saver(tmp_path)(sample(Image(PIXELS)), [skipped])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_none_is_told_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="--save-frames"):
        saver(tmp_path / "file")


def test_a_folder_that_vanishes_costs_no_result(tmp_path):
    folder = tmp_path / "frames"
    made = saver(folder)
    folder.rmdir()
    made(sample(Image(PIXELS)), [result()])
    assert made.failed == 1


def test_zones_and_lines_are_drawn_below_the_objects():
    grey = np.full((300, 400, 3), 128, np.uint8)
    zone = Place("door", ((0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75)))
    line = Place("gate", ((100.0, 270.0), (300.0, 270.0)))
    drawn = annotate.on(grey, result(), Places((zone,), (line,))).astype(int)
    for y, x in ((225, 200), (150, 100), (150, 300), (270, 150), (280, 200)):  # edges, the line, its arrow
        assert abs(drawn[y, x] - 128).min() > 60, (y, x)
    assert (drawn[150, 200] == 128).all()
    over = annotate.on(
        grey, result(1, DETECTION), Places((replace(zone, points=((10.0, 40.0), (50.0, 40.0), (30.0, 60.0))),))
    )
    assert tuple(over[40, 20]) == annotate.COLOURS[1]
