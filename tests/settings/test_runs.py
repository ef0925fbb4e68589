"""`[[run]]` tables: settings of each run, and what they may not say together."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.errors import ConfigError
from edge.settings import layers, runs

TWO = '[[run]]\nmodel = "a.onnx"\n{}\n[[run]]\nmodel = "b.onnx"\n{}\n'


@pytest.fixture
def read(tmp_path):
    def of(text: str, *flags: str, environ: dict[str, str] | None = None):
        file = tmp_path / "runs.toml"
        file.write_text(text)
        return layers.read(["--config", str(file), *flags], environ or {}, "0")

    return of


def test_a_run_has_what_stands_above_it_unless_it_says_otherwise(read):
    said = read('device = "pi"\nthreshold = 0.4\n' + TWO.format("threshold = 0.2", 'name = "two"'))
    assert [one.model.file for one in said.each] == [Path("a.onnx"), Path("b.onnx")]
    assert [one.manifest.threshold for one in said.each] == [0.2, 0.4]
    assert [one.topics.name for one in said.each] == [None, "two"]
    assert {one.topics.device for one in (said, *said.each)} == {"pi"}
    assert len({one.delivery.state_dir for one in (said, *said.each)}) == 1


def test_a_flag_and_a_variable_go_before_the_file_in_each_run(read):
    said = read(TWO.format("top-k = 2", ""), "--top-k", "3", environ={"EDGE_THRESHOLD": "0.7"})
    assert [(one.manifest.top_k, one.manifest.threshold) for one in said.each] == [(3, 0.7)] * 2


@pytest.mark.parametrize(
    ("head", "second", "says"),
    [
        ("", "", "one connection for all runs"),
        (
            'mqtt-connections = "each"',
            "",
            "3 connections: one for all runs, one for the inputs of a, one for the inputs of b",
        ),
        (
            'mqtt-connections = "each"',
            'source = "camera:0"',
            "2 connections: one for all runs, one for the inputs of a",
        ),
        ("", 'format = "sparkplug"', "2 connections: one for all runs, one for Sparkplug"),
        ('mqtt = "none"\nhttp = "8080"', "", ""),
    ],
)
def test_how_many_connections_there_are_is_told(read, head, second, says):
    assert runs.connections(read(f"{head}\n{TWO.format('', second)}")) == says


def test_zones_and_joins_are_a_run_s_own(read):
    one = "track = true\n[run.zones.door]\npolygon = [[0, 0], [1, 0], [1, 1]]"
    other = '[run.join.features]\nx = "a/x"'
    first, second = read(TWO.format(one, other)).each
    assert [name for name, _ in first.tracking.zones] == ["door"]
    assert [feature.topic for feature in second.join.features] == ["a/x"]
    assert not second.tracking.zones
    assert not first.join.features


def test_without_tables_the_settings_are_those_of_the_only_run(read):
    said = read('model = "a.onnx"')
    assert said.each == (said,)


@pytest.mark.parametrize(
    ("text", "flags", "says"),
    [
        (TWO.format('mqtt = "none"', ""), (), "run 1: 'mqtt' is of the whole process.*above the first"),
        (TWO.format("", 'state-dir = "x"'), (), "run 2: 'state-dir' is of the whole process"),
        (TWO.format("", "treshold = 1"), (), "run 2: unknown key 'treshold'; did you mean threshold"),
        (TWO.format("", 'threshold = "x"'), (), "run 2: threshold x"),
        (TWO.format("", "motion-keepalive = 3"), (), "run 2: --motion-keepalive"),
        (TWO.format('name = "x"', 'name = "x"'), (), "runs 1 and 2 are both called x; give each a name"),
        ('[[run]]\nmodel = "a.onnx"\n' * 2, (), "both run .*a.onnx; give each a name"),
        (TWO.format('source = "-"', 'source = "-"'), (), "both read the source -"),
        (TWO.format('sink = "file:o"', 'sink = "file:o"'), (), "both write into .*/o; give each"),
        (TWO.format('sink = "file:o"', 'sink = "file:./o"'), (), "both write into .*/o; give each"),
        (TWO.format('save-frames = "o"', 'save-frames = "x/../o"'), (), "both write into .*/o; give each"),
        ('capture = "random:1"\ncapture-dir = "o"\n' + TWO.format("", ""), (), "both write into .*/o; give each"),
        (TWO.format('format = "sparkplug"', 'format = "sparkplug"'), (), "both say format sparkplug"),
        ('updates = "file:/r"\n' + TWO.format("", ""), (), "--updates file:/r with .*a process of its own"),
        (TWO.format("", ""), ("--describe",), "--describe with"),
        (TWO.format("", ""), ("c.onnx",), "--model c.onnx with .*in the file"),
        ("[[run]]\n", (), r'run 1: no model: say model = "model.onnx" below its \[\[run\]\]'),
        ("run = 3\n", (), r"headed \[\[run\]\]"),
        ('[[runs]]\nmodel = "a.onnx"\n', (), "unknown key 'runs'; did you mean run"),
        ("run = []\n", (), r"headed \[\[run\]\]"),
        ('[[run]]\nmodel = "a.onnx"\n' * 65, (), "65 runs; a process has 64"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused_with_the_way_out(read, text, flags, says):
    with pytest.raises(ConfigError, match=says):
        read(text, *flags)


def test_a_variable_cannot_say_the_source_of_all_runs(read):
    with pytest.raises(ConfigError, match="EDGE_SOURCE x with"):
        read(TWO.format("", ""), environ={"EDGE_SOURCE": "x"})
