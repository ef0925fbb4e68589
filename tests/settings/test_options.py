"""Values that would end in a library's error, or in a machine that no longer answers."""

from __future__ import annotations

import pytest

from edge.app import assembly
from edge.errors import ConfigError
from edge.settings import layers


@pytest.mark.parametrize(
    ("flag", "value", "says"),
    [
        ("--keepalive", "65536", "at most 65535"),
        ("--threads", "100000", "at most 256"),
        ("--batch", "0", "a number of at least 1"),
        ("--batch", "1001", "at most 1000"),
        ("--replay-rate", "-1", "a number of at least 0"),
        ("--mqtt-client-id", "x" * 70_000, "at most 200 printable characters"),
        ("--device", "a\0b", "at most 200 printable characters"),
        ("--prefix", "x" * 201, "at most 200 printable characters"),
    ],
)
def test_a_value_out_of_bounds_is_told_in_a_line(flag, value, says):
    with pytest.raises(ConfigError, match=says):
        layers.read(["--model", "m.onnx", flag, value], {}, "0")


def test_an_unknown_sink_is_told_with_those_there_are():
    with pytest.raises(ConfigError, match="there is no sink 'mail'; say console, file:PATH"):
        assembly.make_sink("mail:me")


def test_batches_for_home_assistant_are_refused_with_the_way_out():
    with pytest.raises(ConfigError, match=r"--batch 8 with --home-assistant.*leave one of the two out"):
        layers.read(["--model", "m.onnx", "--batch", "8", "--home-assistant"], {}, "0")
    assert layers.read(["--model", "m.onnx", "--home-assistant"], {"EDGE_BATCH": "1"}, "0").batch == 1
