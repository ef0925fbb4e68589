"""What a life tells the next one: a damaged file is as none, and a disk that takes nothing is told."""

from __future__ import annotations

import logging

import pytest

from edge.model import identity
from edge.mqtt.asked_before import AskedBefore, file_of
from edge.storage import instance, state_file
from edge.updates.store import UpdateStore

log = logging.getLogger("edge.storage")

BIT_ROT = b'{"digits": "a\xff"}'
"""One bit of a card has changed: no UTF-8 any more."""


@pytest.mark.parametrize("damaged", [b"", b"{", b"[1]", b'{"a": 1}', BIT_ROT, b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_file_is_as_none(tmp_path, damaged):
    (tmp_path / "known.json").write_bytes(damaged)
    assert state_file.read(tmp_path / "known.json", dict[str, str]) is None


def test_what_is_written_is_read_again_and_the_folder_is_made(tmp_path):
    path = tmp_path / "state" / "known.json"
    assert state_file.read(path, dict[str, str]) is None
    assert state_file.write(path, {"a": "b"}, log, "not known")
    assert state_file.read(path, dict[str, str]) == {"a": "b"}


def test_a_disk_that_does_not_take_it_is_told(tmp_path, caplog):
    (tmp_path / "state").write_text("a file where the folder belongs")
    assert not state_file.write(tmp_path / "state" / "known.json", {}, log, "what is known is not remembered")
    assert "what is known is not remembered" in caplog.text


def test_bytes_that_are_no_text_end_no_start(tmp_path):
    (tmp_path / "instance.json").write_bytes(b'{"id": "\xff", "board": ""}')
    assert len(instance.instance_id(tmp_path)) == 8
    file_of(tmp_path, "subscribed", "mqtt://host", "me").write_bytes(b'["a\xff"]')
    assert AskedBefore(tmp_path, "mqtt://host", "me").stale([]) == []


def test_a_state_of_updates_that_is_no_text_is_set_aside(tmp_path):
    store = UpdateStore(tmp_path / "updates", identity.sha256)
    store.open()
    store.close()
    (tmp_path / "updates" / "update.json").write_bytes(b'{"phase": "idle", "reason": "\xff"}')
    assert store.read().phase == "idle"
    assert (tmp_path / "updates" / "update.damaged").exists()
