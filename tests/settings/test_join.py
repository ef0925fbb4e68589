"""Topics that are joined: flags, and the table of the file that says the same."""

from __future__ import annotations

import pytest

from edge.errors import ConfigError
from edge.settings import layers

FLAGS = ("--join", "t=plant/+/t", "--join", "h=plant/+/env $.data.humidity", "--join-max-age", "30")
TABLE = """
[join]
max-age = 30
[join.features]
t = "plant/+/t"
h = {topic = "plant/+/env", path = "$.data.humidity"}
"""


def read(*flags: str):
    return layers.read(["m.onnx", *flags], {}, "0").join


def test_the_table_says_what_the_flags_say(tmp_path):
    path = tmp_path / "edge.toml"
    path.write_text(TABLE)
    assert read("--config", str(path)) == read(*FLAGS)
    assert [(f.name, f.topic, f.path and f.path.text) for f in read(*FLAGS).features] == [
        ("t", "plant/+/t", None), ("h", "plant/+/env", "$.data.humidity")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[join]\nmax-age = 3", "no features"),
        ("[join]\nmaxage = 3\n[join.features]\nt = 't'", "did you mean max-age"),
        ("[join.features]\nt = 3", "join.features.t: 3"),
        ("[join.features]\nt = {topic = 'a', path = 'data.x'}", "say"),
        ("[join.features]\nt = {topic = 'a', pth = '$.x'}", "say"),
        ("[join.features]\nt = 'a/#'", "one with \\+"),
        ("join-max-age = 3\n[join]\nmax-age = 3", "stands in the file, too"),
    ],
)
def test_a_table_that_says_something_else_is_refused(tmp_path, text, reason):
    path = tmp_path / "edge.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=reason):
        read("--config", str(path))


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--join", "t"), "a feature, = and a topic"),
        (("--join", "t=a", "--join", "t=b"), "two of this name"),
        (("--join", "t=a", "--source", "mqtt:b"), "leave one of the two out"),
        (("--join", "t=a", "--mqtt", "none"), "name one with --mqtt"),
        (("--join", "t=a", "--input-path", "$.a"), "a path of its own"),
        (("--join", "temp=a", "--join-trigger", "temq"), "did you mean temp"),
        (("--join", "t=a", "--join-trigger", "t", "--join-interval", "1"), "leave one of the two out"),
        (("--join", "t=+/a", "--join", "h=+/+/b"), "different numbers"),
        (("--join", "t=+/a", "--join", "h=b", "--join-trigger", "h"), "has no \\+"),
        (("--join-interval", "1"), "name them by --join"),
    ],
)
def test_what_does_not_go_together_is_refused(flags, reason):
    with pytest.raises(ConfigError, match=reason):
        read(*flags)
