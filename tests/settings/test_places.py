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
