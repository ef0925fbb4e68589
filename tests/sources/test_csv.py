"""Rows of a .csv file as people have them."""

from __future__ import annotations

import os

import pytest

from edge.errors import ConfigError, EndOfStream, SampleError
from edge.plugins.contexts import SourceContext
from edge.sources.csv import CsvSource
from edge.testing.fakes import FakeClock

CONTEXT = SourceContext(FakeClock(), features=("width", "kind", "height"), feature_kinds=("number", "text", "number"))


@pytest.fixture
def rows(tmp_path):
    """What a file's rows become: payloads, and the reason in place of a row that is skipped."""

    def read(content: bytes | str, **options):
        path = tmp_path / "rows.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        source = CsvSource(path, CONTEXT, **options)
        found = []
        try:
            source.open()
            while True:
                try:
                    found.append(source.read(0).payload)
                except SampleError as exc:
                    found.append(str(exc))
        except EndOfStream:
            return found
        finally:
            source.close()

    return read


def test_a_header_in_any_order_names_the_cells(rows):
    assert rows("height,width,kind\n2,1,a\n") == [{"height": 2.0, "width": 1.0, "kind": "a"}]


def test_without_a_header_cells_come_in_the_models_order(rows):
    assert rows("1,a,2\n") == [[1.0, "a", 2.0]]


def test_a_spreadsheet_of_half_of_europe_is_read(rows):
    sheet = '\ufeffwidth;kind;height\r\n5,1;"a;b, c";0,5\r\n\r\n;;7\r\n'
    assert rows(sheet) == [
        {"width": 5.1, "kind": "a;b, c", "height": 0.5},
        {"width": None, "kind": None, "height": 7.0},
    ]


def test_a_decimal_comma_is_one_where_there_is_no_header_either(rows):
    assert rows("5,1;a,b,c;0,5\n4,9;a,b,c;1,5\n") == [[5.1, "a,b,c", 0.5], [4.9, "a,b,c", 1.5]]


def test_a_row_that_is_not_utf8_is_skipped_and_the_next_one_read(rows):
    skipped, read = rows(b"width,kind,height\n1,caf\xe9,2\n1,a,2\n")
    assert "line 2: not UTF-8" in skipped
    assert read["kind"] == "a"


def test_a_cell_beyond_the_limit_is_skipped_also_as_the_first_line(rows):
    skipped, read = rows("x" * 200_000 + "\n1,a,2\n")
    assert "line 1: field larger" in skipped
    assert read == [1.0, "a", 2.0]


def test_a_line_that_never_ends_is_not_held_in_memory(rows):
    skipped, read = rows("width,kind,height\n" + "1,a,2," * 500 + "\n1,a,2\n", max_line=1000)
    assert "line 2: longer than" in skipped
    assert read == {"width": 1.0, "kind": "a", "height": 2.0}


def test_a_column_that_stands_twice_is_refused(rows):
    with pytest.raises(ConfigError, match="'width' twice"):
        rows("width,width,kind\n1,2,a\n")


def test_a_pipe_is_refused_instead_of_waiting_for_its_writer(tmp_path):
    os.mkfifo(tmp_path / "rows.csv")
    with pytest.raises(ConfigError, match="--source -"):
        CsvSource(tmp_path / "rows.csv", CONTEXT).open()


def test_true_is_one_and_an_empty_cell_is_missing(rows):
    assert rows("width,height,kind\n41,True,Bern\n,false,\n") == [
        {"width": 41.0, "height": 1.0, "kind": "Bern"},
        {"width": None, "height": 0.0, "kind": None},
    ]


@pytest.mark.parametrize(
    "text", ["9007199254740993", "-9223372036854775808", "18446744073709551615", "9007199254740993.0"]
)
@pytest.mark.parametrize("row", ["{}, cube, 1\n", "{}; cube; 1\n", "{}, cube,\n"])
def test_whole_numbers_are_read_as_they_are_written(rows, text, row):
    (found,) = rows(row.format(text))
    value = found[0]
    assert (value, type(value)) == (int(text.removesuffix(".0")), int)


def test_an_identifier_with_an_underscore_is_no_number(rows):
    assert rows("width,kind,height\n1_000,cube,2\n") == [{"width": "1_000", "kind": "cube", "height": 2.0}]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_header_in_another_encoding_is_refused_before_the_cells_are_taken_in_the_models_order(rows, encoding):
    with pytest.raises(ConfigError, match="its first line, which names the columns, is not UTF-8; save the file as"):
        rows("Höhe,width,kind\n2,1,a\n".encode(encoding))


def test_a_first_row_that_is_no_header_is_skipped_alone_where_it_is_not_utf_8(rows):
    assert rows("1,ä,2\n3,b,4\n".encode("latin-1")) == [
        "rows.csv, line 1: not UTF-8; save the file as UTF-8",
        [3.0, "b", 4.0],
    ]


@pytest.mark.parametrize(
    ("sheet", "refused"),
    [
        ("width;height;kind\n1.234;2,5;a\n", "'1.234' is 1.234 or 1234"),
        ("width;height;kind\n2.5;1,234;a\n", "'1,234' is 1.234 or 1234"),
        ("1.234;a;2,5\n", "'1.234' is 1.234 or 1234"),
    ],
)
def test_a_number_that_may_be_a_thousand_or_one_is_refused_with_both_readings(rows, sheet, refused):
    assert refused in rows(sheet)[0]


@pytest.mark.parametrize(
    ("sheet", "width"),
    [
        ("width;height;kind\n1.234;2.5;a\n", 1.234),
        ("width;height;kind\n1,234;2,5;a\n", 1.234),
        ("width;height;kind\n0,234;2.5;a\n", 0.234),
        ("width;height;kind;day\n1,234;2,5;a;1.5\n", 1.234),
        ("width;height;kind\n1,234;2,5;1.5\n", 1.234),
        ("width;height;kind;firmware\n1,5;2,5;a;1.100\n", 1.5),
    ],
)
def test_a_number_of_one_reading_is_taken_whatever_stands_in_other_columns(rows, sheet, width):
    assert rows(sheet)[0]["width"] == width
