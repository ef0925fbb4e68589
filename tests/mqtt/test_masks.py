from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from edge.data.result import ModelRef, Result, Timing
from edge.data.sample import ModelInput
from edge.mqtt.masks import MaskPublisher
from edge.mqtt.messages import Outgoing


def result(seq: int) -> Result:
    model = ModelRef("m", "1", "0")
    return Result(1, f"d/m/b/{seq}", "t", True, "d", model, "s", seq, "segment", [], Timing(0, 0, 0))


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


@pytest.fixture
def published() -> list[Outgoing]:
    return []


def publisher(published: list[Outgoing], classes: np.ndarray | None = None) -> MaskPublisher:
    mask = np.array([[0, 1], [2, 1]]) if classes is None else classes
    return MaskPublisher("edge/d/m/mask", lambda _outputs, _given: mask, published.append)


def watch(made: MaskPublisher, *seqs: int) -> None:
    for seq in seqs:
        made.watch(result(seq), {}, ModelInput({}))


def test_a_mask_is_a_png_whose_pixels_are_classes_and_names_its_result(published):
    watch(publisher(published), 7)
    (message,) = published
    assert pixels(message.payload).tolist() == [[0, 1], [2, 1]]
    assert (message.topic, message.content_type) == ("edge/d/m/mask", "image/png")
    assert message.properties == {"schema": "1", "model": "m", "seq": "7", "id": "d/m/b/7"}


def test_more_than_256_classes_take_16_bits(published):
    watch(publisher(published, np.array([[0, 300]])), 1)
    assert pixels(published[0].payload).tolist() == [[0, 300]]
