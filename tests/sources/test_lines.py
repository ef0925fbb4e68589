from __future__ import annotations

import io
import os
import wave

import numpy as np
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


def a_sound() -> bytes:
    """10 is the byte of a newline."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, 16000, 0, "NONE", ""))
        sound.writeframes(np.full(400, 2570, "<i2").tobytes())
    return file.getvalue()


def an_array() -> bytes:
    file = io.BytesIO()
    np.save(file, np.full(20, 10, np.uint8))
    return file.getvalue()


@pytest.mark.parametrize("content", [a_sound(), an_array(), b"\x89PNG\r\n\x1a\n...\n..."], ids=["wav", "npy", "png"])
def test_a_file_of_bytes_is_one_input_though_it_holds_newlines(tmp_path, content):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"[1]\n" + content)
    source = open_source(path)
    assert [source.read(1).payload, source.read(1).payload] == [b"[1]", content]
    with pytest.raises(EndOfStream):
        source.read(1)
    source.close()


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="a folder"):
        open_source(tmp_path)


def test_a_byte_order_mark_does_not_cost_the_first_line():
    assert codec.decode(b"\xef\xbb\xbf[1, 2]") == [1, 2]
