from __future__ import annotations

import os

import pytest

from edge.data import codec
from edge.errors import ConfigError, EndOfStream
from edge.sources.lines import LineSource
from edge.testing.fakes import FakeClock


def open_source(path) -> LineSource:
    source = LineSource(path, "rows", FakeClock())
    source.open()
    return source


def test_a_pipe_without_a_writer_holds_up_neither_open_nor_read(tmp_path):
    path = tmp_path / "rows.jsonl"
    os.mkfifo(path)
    source = open_source(path)
    assert source.read(0.01) is None
    writer = os.open(path, os.O_WRONLY)
    os.write(writer, b"[1]\n[2]")
    assert source.read(1).payload == b"[1]"
    os.close(writer)
    assert source.read(1).payload == b"[2]"
    with pytest.raises(EndOfStream):
        source.read(1)
    source.close()


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="a folder"):
        open_source(tmp_path)


def test_a_byte_order_mark_does_not_cost_the_first_line():
    assert codec.decode(b"\xef\xbb\xbf[1, 2]") == [1, 2]
