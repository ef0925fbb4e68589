"""What a mean and a std mean: pixel values, or shares of 255."""

from __future__ import annotations

import pytest

from edge.data.normalization import understand
from edge.errors import ConfigError

SHARES = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PIXELS = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def test_imagenets_numbers_are_the_same_as_shares_and_as_pixel_values():
    shares, pixels = understand(*SHARES), understand(*PIXELS)
    assert shares.mean == pytest.approx(pixels.mean)
    assert shares.std == pytest.approx(pixels.std)
    assert (shares.measure, pixels.measure) == ("shares of 255", "pixel values")


@pytest.mark.parametrize(
    ("mean", "std", "in_pixels", "measure"),
    [
        ((0.5,), (0.5,), ((127.5,), (127.5,)), "shares of 255"),
        ((127.5,), (127.5,), ((127.5,), (127.5,)), "pixel values"),
        ((0.0,), (255.0,), ((0.0,), (255.0,)), "pixel values"),
        ((), (255.0,), ((), (255.0,)), "pixel values"),
        ((104.0, 117.0, 123.0), (1.0,), ((104.0, 117.0, 123.0), (1.0,)), "pixel values"),
        ((0.5, 0.5, 0.5), (1.0, 1.0, 1.0), ((127.5,) * 3, (255.0,) * 3), "shares of 255"),
        ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), ((0.0,) * 3, (1.0,) * 3), "pixels as they are"),
        ((-0.5,), (), ((-127.5,), ()), "shares of 255"),
    ],
)
def test_each_usual_pair_is_read_as_it_is_meant(mean, std, in_pixels, measure):
    understood = understand(mean, std)
    assert (understood.mean, understood.std) == in_pixels
    assert understood.measure == measure


@pytest.mark.parametrize(
    ("mean", "std", "says"),
    [
        (SHARES[0], PIXELS[1], "0.485 is a share .* and 58.395 a pixel value"),
        (PIXELS[0], SHARES[1], "0.229 is a share .* and 123.675 a pixel value"),
        ((0.485, 116.28, 103.53), (), "say all of them in the same measure"),
        ((0.0,), (0.0,), "--std, each number of it has to be above 0"),
        ((0.5, 0.5), (), "give one number for all channels, or 3"),
    ],
)
def test_what_fits_neither_measure_is_refused_with_the_numbers(mean, std, says):
    with pytest.raises(ConfigError, match=says):
        understand(mean, std)


def test_what_was_understood_is_a_line_that_people_can_check():
    assert str(understand((0.5,), (0.5,))) == (
        "--mean and --std were understood as shares of 255: in pixel values mean 127.5, std 127.5"
    )


def test_pixels_as_they_are_are_told_with_the_way_to_shares():
    told = str(understand((0.0,), (1.0,)))
    assert told.endswith("as they are: in pixel values mean 0, std 1; for 0 to 1 say --std 255")
