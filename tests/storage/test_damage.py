"""The spool on disk, given a file that is not what it wrote."""

from __future__ import annotations

import logging
import os
import sqlite3
from pathlib import Path

import pytest
from support.spoolfiles import crashed_copy

MB = 1_000_000


def garbage(path: Path) -> None:
    path.write_bytes(b"not a database" * 1000)


def cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def cut_within_a_page(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1000)


def overwrite_pages(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096 * 10)
        file.write(os.urandom(4096 * 3))


def swap_pages(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096 * 5 : 4096 * 6], data[4096 * 9 : 4096 * 10] = data[4096 * 9 : 4096 * 10], data[4096 * 5 : 4096 * 6]
    path.write_bytes(data)


def flip_a_bit_of_a_payload(path: Path) -> None:
    data = path.read_bytes()
    at = data.index(b'{"n":100,')
    path.write_bytes(data[: at + 5] + b"7" + data[at + 6 :])


def overwrite_the_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"\0" * 100)


def make_it_say_read_only(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(18)
        file.write(b"\x09")


def make_it_of_another_program(path: Path) -> None:
    path.unlink()
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE holiday (photo)")
    db.commit()
    db.close()


DAMAGES = [
    garbage,
    cut_in_half,
    cut_within_a_page,
    overwrite_pages,
    swap_pages,
    flip_a_bit_of_a_payload,
    overwrite_the_header,
    make_it_say_read_only,
    make_it_of_another_program,
]


@pytest.mark.usefixtures("size_of_file")
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_set_aside_loudly_and_work_goes_on(make, path, caplog, numbered, numbers, damage):
    spool = make()
    spool.open()
    spool.append(numbered(0, 3000))
    spool.close()
    damage(path)

    with caplog.at_level(logging.ERROR):
        spool = make()
        spool.open()
        saved = numbers(spool)
        spool.append(numbered(5000, 5003))
    assert spool.damaged == 1
    assert len([p for p in path.parent.iterdir() if "damaged" in p.name and p.stat().st_size]) >= 1
    assert "spool damaged, set aside" in caplog.text
    assert numbers(spool) == [*saved, 5000, 5001, 5002]
    assert saved == sorted(set(saved))
    assert set(saved) <= set(range(3000))


@pytest.mark.usefixtures("size_of_file")
@pytest.mark.parametrize(
    ("damage", "least"), [(overwrite_pages, 2500), (cut_in_half, 1200), (flip_a_bit_of_a_payload, 2999)]
)
def test_rows_that_can_be_read_are_saved_with_their_keys(make, path, numbered, damage, least):
    spool = make()
    spool.open()
    keys = spool.append(numbered(0, 3000))
    spool.close()
    damage(path)

    spool = make()
    spool.open()
    entries = spool.after(0, 3000)
    assert len(entries) >= least
    assert all(keys[e.message.seq] == e.key and e.replayed for e in entries)


def test_damage_while_at_work_is_noticed_and_what_is_lost_is_counted(make, path, clock, numbered, numbers):
    spool = make(max_bytes=20 * MB)
    spool.open()
    spool.append(numbered(0, 3000, size=2000))
    spool.close()
    spool.open()
    overwrite_pages(path)

    left = numbers(spool)
    assert spool.damaged == 1
    assert 2500 < len(left) < 3000
    assert spool.dropped_by["damaged"] == spool.dropped == 3000 - len(left)
    assert spool.append(numbered(3000, 3001)) == [3001]


def test_a_damaged_log_costs_its_own_messages_only(make, path, tmp_path, numbered, numbers):
    spool = make()
    spool.open()
    spool.append(numbered(0, 100))
    spool.close()
    spool.open()
    for n in range(100, 200):
        spool.append(numbered(n, n + 1))
    copy = tmp_path / "copy" / path.name
    crashed_copy(path, copy)
    wal = copy.with_name(copy.name + "-wal")
    data = bytearray(wal.read_bytes())
    data[len(data) // 2] ^= 0xFF
    wal.write_bytes(data)

    found = make(at=copy)
    found.open()
    left = numbers(found)
    assert left == list(range(len(left)))
    assert 100 < len(left) < 200


def test_only_the_newest_damaged_are_kept(make, path, clock, numbered):
    for _ in range(5):
        spool = make()
        spool.open()
        spool.append(numbered(0, 100))
        spool.close()
        clock.advance(1)
        garbage(path)
    make().open()
    assert len([p for p in path.parent.iterdir() if "damaged" in p.name]) == 3


def test_a_kill_while_the_damaged_file_is_set_aside_loses_nothing_more(make, path, numbered, numbers):
    spool = make()
    spool.open()
    spool.append(numbered(0, 3000))
    spool.close()
    overwrite_pages(path)
    path.with_name(path.name + ".salvage").write_bytes(b"half a file of an attempt that was killed")

    spool = make()
    spool.open()
    assert len(numbers(spool)) > 2500


def test_where_nobody_had_counted_it_is_said_that_it_is_not_known_how_much_is_gone(make, path, caplog, numbered):
    spool = make()
    spool.open()
    spool.append(numbered(0, 3000))
    spool.close()
    cut_in_half(path)

    spool = make()
    spool.open()
    assert any(str(getattr(r, "gone", "")).startswith("not known") for r in caplog.records)
