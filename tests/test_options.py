"""Values that would end in a library's error, or in a machine that no longer answers."""

from __future__ import annotations

import pytest

from edge import assembly, config
from edge.errors import ConfigError


@pytest.mark.parametrize(
    ("flag", "value", "says"),
    [
        ("--keepalive", "65536", "at most 65535"),
        ("--threads", "100000", "at most 256"),
        ("--replay-rate", "-1", "a number of at least 0"),
        ("--mqtt-client-id", "x" * 70_000, "at most 200 printable characters"),
        ("--device", "a\0b", "at most 200 printable characters"),
        ("--prefix", "x" * 201, "at most 200 printable characters"),
    ],
)
def test_a_value_out_of_bounds_is_told_in_a_line(flag, value, says):
    with pytest.raises(ConfigError, match=says):
        config.read(["--model", "m.onnx", flag, value], {}, "0")


def test_an_unknown_sink_is_told_with_those_there_are():
    with pytest.raises(ConfigError, match="there is no sink 'mail'; say console, file:PATH"):
        assembly.make_sink("mail:me")
