from __future__ import annotations

from pathlib import Path

import pytest

from edge.data.message import Message
from edge.errors import SpoolError, UnavailableError
from edge.plugins.contexts import SinkContext
from edge.plugins.protocols import Entry
from edge.sinks.file import FileSink, create


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


def test_a_path_that_cannot_be_meant_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(SpoolError, match=f"there is no folder {tmp_path}/resluts; make it, or check the path"):
        create(f"{tmp_path}/resluts/out.jsonl", SinkContext())
    with pytest.raises(SpoolError, match=f"that is a folder; say file:{tmp_path}/results.jsonl"):
        create(str(tmp_path), SinkContext())


def test_asked_by_check_it_makes_no_file(tmp_path):
    sink = FileSink(tmp_path / "out.jsonl")
    assert sink.reach().text.endswith("out.jsonl, is made with the first result")
    assert not list(tmp_path.iterdir())
    (tmp_path / "out.jsonl").touch()
    assert sink.reach().text.endswith("out.jsonl, goes on behind what is there")


def test_a_file_that_this_user_may_not_write_is_a_doubt_for_it_may_be_mended(tmp_path, monkeypatch):
    (tmp_path / "out.jsonl").touch()
    monkeypatch.setattr("os.access", lambda path, mode: False)  # who runs the tests as root may write anything
    reached = FileSink(tmp_path / "out.jsonl").reach()
    assert (reached.doubt.partition(":")[0], reached.fix[:16]) == ("this user may not write there", "make it writable")
