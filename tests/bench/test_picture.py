"""The PNG of `edge-bench --save`, by its pixels."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageColor

from edge.tools.bench import picture


def widths(png, colour):
    """How far each bar of a colour reaches, from above to below, in pixels."""
    with Image.open(io.BytesIO(png)) as drawn:
        pixels = np.asarray(drawn.convert("RGB"))
    found = (pixels == ImageColor.getrgb(colour)).all(axis=2).sum(axis=1)
    return [int(found[at + 1]) for at in np.flatnonzero(np.diff((found > 0).astype(int)) == 1)]


def test_bars_are_as_long_as_their_values_and_their_tails_reach_on():
    bars = [("one", 1.0, 2.0, "1 ms"), ("four", 4.0, 4.0, "4 ms")]
    png = picture.draw("a title", ["what was measured"], [("latency", bars)])
    one, four = widths(png, picture.BAR)
    (tail,) = widths(png, picture.TAIL)
    assert abs(four - 4 * one) <= 4
    assert abs(tail - one) <= 2


def test_names_that_are_too_long_stay_off_the_bars_and_the_edge():
    name = "a_model_with_a_name_" * 12
    png = picture.draw(name, [name * 3], [("latency", [(name, 1.0, 1.0, "1 ms")])])
    assert len(widths(png, picture.BAR)) == 1
    with Image.open(io.BytesIO(png)) as drawn:
        margin = np.asarray(drawn.convert("RGB"))[:, -20:]
    assert (margin == ImageColor.getrgb(picture.PAPER)).all()


def test_nothing_but_zeros_is_drawn_too():
    assert widths(picture.draw("zero", [], [("latency", [("none", 0.0, 0.0, "0")])]), picture.BAR)
