"""What stands in a point's names and tags is one word to whoever reads the line."""

from __future__ import annotations

import pytest

from edge.data import line_protocol


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cat, big", r"cat\,\ big"),
        ("a=b", r"a\=b"),
        ("two\nlines", r"two\ lines"),
        ("two\r\nlines", r"two\ \ lines"),
        ("ends with \\", r"ends\ with\ /"),
        ("größer", "größer"),
    ],
)
def test_no_sign_in_a_tag_ends_it(text, said):
    assert line_protocol.tag(text) == said


def test_a_measurement_may_hold_an_equals_sign():
    assert line_protocol.measurement("a=b c\nd") == r"a=b\ c\ d"
