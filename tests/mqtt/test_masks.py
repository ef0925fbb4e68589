from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from edge.data.result import ModelRef, Result, Timing
from edge.data.sample import ModelInput
from edge.errors import UnavailableError
from edge.mqtt import masks
from edge.mqtt.masks import MaskPublisher
from edge.mqtt.messages import Outgoing


class Broker:
    """Takes what is published while it is there."""

    def __init__(self) -> None:
        self.here = True
        self.got: list[Outgoing] = []

    def publish(self, message: Outgoing) -> None:
        if not self.here:
            raise UnavailableError("not connected")
        self.got.append(message)


def result(seq: int) -> Result:
    model = ModelRef("m", "1", "0")
    return Result(1, f"d/m/b/{seq}", "t", True, "d", model, "s", seq, "segment", [], Timing(0, 0, 0))


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


@pytest.fixture
def broker() -> Broker:
    return Broker()


def publisher(broker: Broker, classes: np.ndarray | None = None) -> MaskPublisher:
    mask = np.array([[0, 1], [2, 1]]) if classes is None else classes
    return MaskPublisher("edge/d/m/mask", lambda _outputs, _given: mask, broker.publish)


def watch(made: MaskPublisher, *seqs: int) -> None:
    for seq in seqs:
        made.watch(result(seq), {}, ModelInput({}))


def test_a_mask_is_a_png_whose_pixels_are_classes_and_names_its_result(broker):
    watch(publisher(broker), 7)
    (message,) = broker.got
    assert pixels(message.payload).tolist() == [[0, 1], [2, 1]]
    assert (message.topic, message.content_type) == ("edge/d/m/mask", "image/png")
    assert message.properties == {"schema": "1", "model": "m", "seq": "7", "id": "d/m/b/7"}


def test_more_than_256_classes_take_16_bits(broker):
    watch(publisher(broker, np.array([[0, 300]])), 1)
    assert pixels(broker.got[0].payload).tolist() == [[0, 300]]


def test_masks_wait_for_the_connection_and_come_in_order(broker):
    made = publisher(broker)
    broker.here = False
    watch(made, 1, 2)
    assert [m.properties["seq"] for m in made.waiting()] == ["1", "2"]
    broker.here = True
    made.flush()
    assert [m.properties["seq"] for m in broker.got] == ["1", "2"]
    assert made.waiting() == []


def test_of_the_masks_that_wait_the_newest_are_kept(broker, monkeypatch):
    monkeypatch.setattr(masks, "MAX_WAITING_BYTES", 200)
    made = publisher(broker)
    broker.here = False
    watch(made, *range(1, 30))
    waiting = made.waiting()
    assert 0 < sum(len(m.payload) for m in waiting) <= 200
    assert waiting[-1].properties["seq"] == "29"
