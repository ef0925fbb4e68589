"""Zones and lines: flags, and tables of the file that say the same."""

from __future__ import annotations

import pytest

from edge.errors import ConfigError
from edge.settings import layers

DOOR = ("door", ((100.0, 100.0), (500.0, 120.0), (450.0, 500.0)))
GATE = ("gate", ((0.0, 0.5), (1.0, 0.5)))


def read(*flags: str):
    return layers.read(["m.onnx", *flags], {}, "0").tracking


@pytest.fixture
def file(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "edge.toml"
        path.write_text(text)
        return str(path)

    return write


def test_flags_say_zones_and_lines():
    said = read("--track", "--zone", "door=100,100,500,120,450,500", "--line", "gate=0,0.5,1,0.5")
    assert (said.lost_s, said.zones, said.lines) == (1.0, (DOOR,), (GATE,))


def test_tables_of_the_file_say_the_same(file):
    path = file(
        "track = 1.0\n[zones.door]\npolygon = [[100, 100], [500, 120], [450, 500]]\n"
        "[lines.gate]\npoints = [0, 0.5, 1, 0.5]\n"
    )
    assert read("--config", path) == read(
        "--track", "1", "--zone", "door=100,100,500,120,450,500", "--line", "gate=0,0.5,1,0.5"
    )


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("--zone", "door=100,100,500,120"),
        ("--zone", "door"),
        ("--zone", "=1,1,2,2,3,3"),
        ("--zone", "the door=1,1,2,2,3,3"),
        ("--zone", "door=1,1,2,2,3"),
        ("--zone", "door=1,1,2,2,3,x"),
        ("--zone", "door=-1,1,2,2,3,3"),
        ("--line", "gate=1,1,2,2,3,3"),
        ("--line", "gate=1,1,1,1"),
    ],
)
def test_what_is_no_place_is_refused_with_an_example(flag, text):
    with pytest.raises(ConfigError, match=r"(door|gate)="):
        read("--track", flag, text)


@pytest.mark.parametrize(
    "table",
    ["[zones.door]\n", "[zones.door]\npolygon = 3\n", "[zones]\ndoor = 3\n", "[zones.door]\npolygon = [[1,1],[2,2]]\n",
     "[zones.door]\npolygon = [[1,1],[2,2],[3,1]]\ncolour = 1\n"],
)  # fmt: skip
def test_a_table_that_is_no_place_is_refused(file, table):
    with pytest.raises(ConfigError, match="zones"):
        read("--config", file(table))


def test_a_flag_and_a_table_of_one_file_do_not_push_one_another_out(file):
    path = file('zone = ["a=1,1,2,2,3,1"]\n[zones.door]\npolygon = [[1,1],[2,2],[3,1]]\n')
    with pytest.raises(ConfigError, match="one of the two"):
        read("--config", path)


@pytest.mark.parametrize(
    ("flag", "text", "why"),
    [
        ("--zone", "door=0,0,9,9,9,0,0,9", "edges cross"),
        ("--zone", "door=1,1,2,2,3,3", "nothing is within"),
        ("--zone", "door=0,0,9,9,0,0", "three points"),
        ("--zone", "door=0,0.5,1.5,0.5,1.5,1", "0.5 is a share and 1.5 is in pixels"),
        ("--line", "gate=0,0.5,640,0.5", "0.5 is a share and 640 is in pixels"),
        ("--line", "gate=0,0,1e308,1e308", "in pixels or all from 0 to 1"),
    ],
)
def test_what_would_be_another_place_than_was_meant_is_refused(flag, text, why):
    with pytest.raises(ConfigError, match=why):
        read("--track", flag, text)


def test_a_polygon_may_end_where_it_began():
    assert read("--track", "--zone", "door=100,100,500,120,450,500,100,100").zones == (DOOR,)


def test_points_of_three_numbers_are_refused(file):
    with pytest.raises(ConfigError, match=r"\[\[x, y\], \[x, y\], \.\.\.\]"):
        read("--config", file("track = 1\n[zones.door]\npolygon = [[1, 1, 5], [9, 2, 2]]\n"))


def test_a_variable_holds_several_zones():
    said = layers.read(
        ["m.onnx", "--track"], {"EDGE_ZONE": "door=100,100,500,120,450,500;all=0,0,1,0,1,1"}, "0"
    ).tracking.zones
    assert said == (DOOR, ("all", ((0, 0), (1, 0), (1, 1))))


@pytest.mark.parametrize("seconds", ["0", "-1", "1e300", "86401", "soon"])
def test_how_long_an_object_is_remembered_is_bounded(seconds):
    with pytest.raises(ConfigError, match="--track"):
        read("--track", seconds)


@pytest.mark.parametrize(("key", "expected"), [("track", 1.0), ("drift", 3600.0)])
def test_true_is_the_flag_without_its_value(file, key, expected):
    def said(settings):
        return settings.tracking.lost_s if key == "track" else settings.drift.window

    assert said(layers.read(["m.onnx"], {f"EDGE_{key.upper()}": "true"}, "0")) == expected
    assert said(layers.read(["m.onnx", "--config", file(f"{key} = true\n")], {}, "0")) == expected


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (("--zone", "door=0,0,1,0,1,1"), "add --track"),
        (("--anchor", "center"), "add --track"),
        (("--track", "--line", "a=0,0,1,1", "--line", "a=0,0,1,0"), "two of this name"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_loaded(flags, why):
    with pytest.raises(ConfigError, match=why):
        read(*flags)
