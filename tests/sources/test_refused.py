"""A source that is said wrongly, or whose file is none, is refused in a line with the way out."""

from __future__ import annotations

import pytest

from edge.errors import ConfigError, SampleError
from edge.plugins.contexts import SourceContext
from edge.sources import csv, lines, modbus
from edge.sources.arrays import ArraySource
from edge.sources.video import camera, rtsp
from edge.testing.fakes import FakeClock

CONTEXT = SourceContext(FakeClock(), features=("a", "b"), feature_kinds=("number", "number"))


@pytest.mark.parametrize(
    ("rest", "says"),
    [
        ("//plc", "no register; say \\?FEATURE=holding:ADDRESS"),
        ("//plc?a=holding:1&a=holding:2&b=coil:1", "there are two registers for a; leave one out"),
        ("//plc?a=holdng:1&b=coil:1", "'holdng' is none of .*did you mean holding"),
        ("//plc?a=holding:70000&b=coil:1", "'70000' is no address from 0 to 65535"),
        ("//plc?a=coil:1/int16&b=coil:1", "too much; say coil:3"),
        ("//plc?a=holding:1/int16/1/2&b=coil:1", "too much; say KIND:ADDRESS/TYPE/FACTOR"),
        ("//plc?a=holding:1/int61&b=coil:1", "'int61' is none of .*did you mean int64"),
        ("//plc?a=holding:1/int16/x&b=coil:1", "'x' is no factor"),
        ("//plc?a=holding:1/int16/0&b=coil:1", "'0' is no factor"),
        ("//plc?a=holding:1/int16/inf&b=coil:1", "'inf' is no factor"),
        ("//plc?a=holding:65535/float32&b=coil:1", "its 2 registers end behind 65535; say a lower address"),
        ("//plc?a=holding:1&b=coil:1#interval=0", "interval and timeout are above 0 and at most"),
        ("//plc?a=holding:1&b=coil:1#unit=256", "unit is from 0 to 255"),
        ("//plc?a=holding:1", "b"),
    ],
)
def test_registers_that_are_said_wrongly_are_refused(rest, says):
    with pytest.raises(ConfigError, match=says):
        modbus.create(rest, CONTEXT)


@pytest.mark.parametrize(
    ("rest", "says"),
    [
        ("0?zoom=2", "unknown option 'zoom'; known: "),
        ("0?width=wide", "width, height and fps are whole numbers"),
        ("0?fourcc=MJPEG", "fourcc has four letters, as in MJPG"),
        ("front", "'front' is no number and no device; say camera:0"),
    ],
)
def test_a_camera_that_is_said_wrongly_is_refused(rest, says):
    with pytest.raises(ConfigError, match=says):
        camera.create(rest, CONTEXT)


@pytest.mark.parametrize("rest", ["//", "//host:port/s", "//host:0/s"])
def test_an_address_of_a_stream_that_is_none_is_refused_without_its_password(rest):
    with pytest.raises(ConfigError, match="not an address like rtsp://user:password@host:554/stream"):
        rtsp.create("rtsp", rest, CONTEXT)


@pytest.mark.parametrize("made", [csv.CsvSource, ArraySource])
def test_a_folder_is_no_file_of_rows(made, tmp_path):
    with pytest.raises(ConfigError, match="not a file; for a pipe say --source - and send JSON lines"):
        made(tmp_path, CONTEXT).open()


def test_a_folder_is_no_file_of_lines(tmp_path):
    with pytest.raises(ConfigError, match="a folder; end its name with / to read the files in it"):
        lines.LineSource(tmp_path, str(tmp_path), FakeClock()).open()


def test_a_header_that_names_a_column_twice_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("a,b,a\n1,2,3\n")
    source = csv.CsvSource(tmp_path / "a.csv", CONTEXT)
    with pytest.raises(ConfigError, match="the header has 'a' twice; name each column once"):
        source.open()
    source.close()


def test_a_row_longer_than_its_header_is_skipped_and_told_with_its_line(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n1,2,3\n4,5\n")
    source = csv.CsvSource(tmp_path / "a.csv", CONTEXT)
    source.open()
    with pytest.raises(SampleError, match=r"a\.csv, line 2: 3 cells, the header has 2"):
        source.read(0)
    assert source.read(0).payload == {"a": 4, "b": 5}
    source.close()
