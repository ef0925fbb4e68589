"""Who the device is for the broker: the same for ever, and nobody else."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest
from support.powercut import PowerCut, build_shim, read_log

from edge.storage import instance


@pytest.fixture
def board(monkeypatch):
    """Says what serial number the board has."""

    def is_(serial: str) -> None:
        monkeypatch.setattr(instance, "board_serial", lambda: serial)

    return is_


@pytest.mark.parametrize("serial", ["", "10000000abcdef"])
def test_the_id_stays_from_life_to_life(tmp_path, board, serial):
    board(serial)
    first = instance.instance_id(tmp_path / "state")
    assert len(first) == 8
    assert instance.instance_id(tmp_path / "state") == first


def test_a_card_that_was_copied_into_a_second_board_gets_another(tmp_path, board):
    board("1")
    first = instance.instance_id(tmp_path)
    board("2")
    assert instance.instance_id(tmp_path) != first


def test_two_folders_on_one_board_are_two_clients(tmp_path, board):
    board("1")
    assert instance.instance_id(tmp_path / "a") != instance.instance_id(tmp_path / "b")


def test_a_damaged_file_changes_nothing_where_the_board_has_a_serial_number(tmp_path, board):
    board("1")
    first = instance.instance_id(tmp_path)
    (tmp_path / "instance.json").write_bytes(b"")
    assert instance.instance_id(tmp_path) == first


def test_a_folder_that_cannot_be_written_changes_nothing_there_either(tmp_path, board):
    board("1")
    first = instance.instance_id(tmp_path)
    (tmp_path / "instance.json").unlink()
    (tmp_path / "instance.tmp").mkdir()
    assert instance.instance_id(tmp_path) == first


def test_it_survives_a_power_cut_as_soon_as_it_is_known(tmp_path):
    root, log = tmp_path / "disk", tmp_path / "log"
    root.mkdir()
    code = (
        "import sys, pathlib, edge.storage.instance as s; s.SERIALS = ();"
        "print(s.instance_id(pathlib.Path(sys.argv[1])))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(root / "state")],
        env={
            **os.environ,
            "LD_PRELOAD": str(build_shim(tmp_path)),
            "DISKSHIM_ROOT": str(root),
            "DISKSHIM_LOG": str(log),
        },
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    changes = read_log(log)
    for seed in range(20):
        PowerCut(changes, root).leave(len(changes), tmp_path / "left", random.Random(seed))
        assert told in (tmp_path / "left" / "state" / "instance.json").read_text()
