from __future__ import annotations

from pathlib import Path

import pytest

from edge.data.message import Message
from edge.errors import UnavailableError
from edge.plugins.protocols import Entry
from edge.sinks.file import FileSink


class Lane:
    """Hears what a sink tells."""

    def __init__(self):
        self.keys = []

    def confirmed(self, keys):
        self.keys += keys


def entry(text: bytes) -> Entry:
    return Entry(1, Message("result", text, 1))


def test_a_line_that_was_cut_off_is_closed_before_the_next_one(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_bytes(b'{"whole":1}\n{"cut')
    sink = FileSink(path)
    sink.open(Lane())
    sink.send(entry(b'{"n":1}'))
    sink.close()
    assert path.read_bytes().splitlines()[-1] == b'{"n":1}'


def test_a_device_that_is_full_is_away_and_not_a_bug():
    sink = FileSink(Path("/dev/full"))
    sink.open(Lane())
    with pytest.raises(UnavailableError, match="No space left"):
        sink.send(entry(b"{}"))
    sink.close()
