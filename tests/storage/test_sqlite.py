"""The spool on disk: what it keeps, what it lets go, and what it does with a folder it cannot use."""

from __future__ import annotations

import itertools
import socket
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from support.spoolfiles import on_disk, rows_on_disk

from edge.errors import SpoolError
from edge.storage.sqlite import SqliteSpool
from edge.testing.checks import check_spool
from edge.testing.fakes import FakeClock

MB = 1_000_000


@pytest.mark.usefixtures("size_of_file")
def test_it_is_a_spool(tmp_path):
    folders = itertools.count()
    check_spool(lambda max_bytes: SqliteSpool(tmp_path / str(next(folders)) / "lane.spool", max_bytes))


def test_another_process_is_refused_by_its_number_and_told_what_to_do(path, make):
    code = (
        "import sys, pathlib; from edge.storage.sqlite import SqliteSpool\n"
        "spool = SqliteSpool(pathlib.Path(sys.argv[1]), 1000); spool.open(); print('open', flush=True)\n"
        "sys.stdin.read(); spool.close()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with other:
        assert other.stdout.readline() == "open\n"
        with pytest.raises(
            SpoolError, match=rf"process {other.pid} uses this spool; .*--name, --device or --state-dir"
        ):
            make().open()
        other.stdin.close()
    make().open()


def test_the_lock_of_a_killed_process_holds_nobody_up(path, make, numbered, numbers):
    code = (
        "import os, sys, pathlib; from edge.storage.sqlite import SqliteSpool\n"
        "from edge.data.message import Message\n"
        "spool = SqliteSpool(pathlib.Path(sys.argv[1]), 1000000); spool.open()\n"
        "spool.append([Message('result', b'{}', n) for n in range(9)]); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -9

    spool = make()
    spool.open()
    assert numbers(spool) == list(range(9))


def test_a_state_folder_that_is_a_file_is_a_spool_error(tmp_path, make):
    (tmp_path / "state").write_text("a file")
    with pytest.raises(SpoolError, match=r"state: .*--state-dir"):
        make().open()


def test_a_folder_in_the_place_of_the_file_is_a_spool_error(path, make):
    path.mkdir(parents=True)
    with pytest.raises(SpoolError, match="a folder or a device, where the spool's file belongs"):
        make().open()


def test_a_link_to_a_device_in_the_place_of_the_file_is_a_spool_error_and_the_device_keeps_its_rights(path, make):
    device = path.with_name("device")
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(device))
        device.chmod(0o666)
        path.symlink_to(device)

        with pytest.raises(SpoolError, match="a folder or a device, where the spool's file belongs"):
            make().open()

    assert stat.S_IMODE(device.stat().st_mode) == 0o666


def test_what_waited_at_open_counts_as_replayed_and_what_came_since_does_not(make, numbered):
    first = make()
    first.open()
    first.append(numbered(0, 2))
    first.close()
    second = make()
    second.open()
    second.append(numbered(2, 4))

    assert [(e.message.seq, e.replayed) for e in second.after(0, 9)] == [(0, True), (1, True), (2, False), (3, False)]


def test_removing_is_not_written_until_a_batch_is_full(make, path, numbered, numbers):
    spool = make()
    spool.open()
    keys = spool.append(numbered(0, 400))
    spool.remove(keys[:255])
    assert rows_on_disk(path) == 400
    spool.remove(keys[255:256])
    assert rows_on_disk(path) == 144
    assert numbers(spool) == list(range(256, 400))


def test_removing_is_written_after_five_seconds(make, path, clock, numbered):
    spool = make()
    spool.open()
    keys = spool.append(numbered(0, 10))
    spool.remove(keys[:1])
    clock.advance(6)
    spool.remove(keys[1:2])
    assert rows_on_disk(path) == 8


def test_removing_is_written_at_once_when_an_outage_is_over(make, path, clock, numbered):
    spool = make()
    spool.open()
    keys = spool.append(numbered(0, 10))
    clock.advance(2)
    spool.remove(keys)
    assert rows_on_disk(path) == 0


def test_the_next_append_takes_removals_along(make, path, numbered):
    spool = make()
    spool.open()
    spool.remove(spool.append(numbered(0, 10)))
    spool.append(numbered(10, 11))
    assert rows_on_disk(path) == 1


def test_an_emptied_file_gives_its_space_back(make, path, clock, numbered):
    spool = make(max_bytes=20 * MB)
    spool.open()
    keys = spool.append(numbered(0, 20_000, size=500))
    assert on_disk(path) > 10 * MB
    clock.advance(2)
    spool.remove(keys)
    assert on_disk(path) < 100_000


@pytest.mark.parametrize(("size", "most"), [(100, 1.35), (300, 1.2), (2040, 2.1), (5000, 1.3)])
def test_the_file_stays_near_its_bound_however_much_goes_through(make, path, numbered, size, most):
    spool = make(max_bytes=2 * MB)
    spool.open()
    for start in range(0, 10 * MB // size, 50):
        spool.append(numbered(start, start + 50, size=size))
    assert spool.bytes <= 2 * MB
    assert path.stat().st_size < most * 2 * MB
    assert path.with_name(path.name + "-wal").stat().st_size < 4.3 * MB


@pytest.mark.usefixtures("size_of_file")
def test_what_is_too_old_goes_and_is_counted_even_across_a_restart(make, clock, numbered, numbers):
    spool = make(max_age_s=60)
    spool.open()
    spool.append(numbered(0, 2))
    spool.close()
    clock.advance(50)
    spool = make(max_age_s=60)
    spool.open()
    spool.append(numbered(2, 4))
    assert numbers(spool) == [0, 1, 2, 3]
    clock.advance(20)

    assert numbers(spool) == [2, 3]
    assert spool.dropped_by["age"] == spool.dropped == 2


def test_a_clock_that_jumps_ages_nothing(make, clock, numbered, numbers):
    spool = make(max_age_s=60)
    spool.open()
    spool.append(numbered(0, 2))
    clock.jump(10**9)
    assert numbers(spool) == [0, 1]
    clock.jump(-2 * 10**9)
    spool.append(numbered(2, 3))
    assert numbers(spool) == [0, 1, 2]


@pytest.mark.usefixtures("size_of_file")
def test_a_run_without_a_clock_ages_nothing_once_the_clock_is_set(make, path, clock, numbered, numbers):
    powered_on = FakeClock(time_ns=1_000_000_000)
    spool = SqliteSpool(path, MB, 60, powered_on)
    spool.open()
    spool.append(numbered(0, 2))
    spool.close()
    spool = make(max_age_s=60)
    spool.open()
    assert numbers(spool) == [0, 1]
    clock.advance(61)
    assert numbers(spool) == []


def test_it_tells_since_when_the_oldest_waits(make, clock, numbered):
    spool = make()
    spool.open()
    assert spool.oldest_ns is None
    first = clock.time_ns()
    keys = spool.append(numbered(0, 1))
    clock.advance(7)
    spool.append(numbered(1, 2))
    assert spool.oldest_ns == first
    spool.remove(keys)
    clock.advance(6)
    spool.remove([])
    assert spool.oldest_ns == first + 7_000_000_000


def read_bytes() -> int:
    """What this thread has read of files so far."""
    lines = Path("/proc/thread-self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("rchar"))


def test_a_large_file_is_not_read_through_at_the_start_and_counted_as_it_is_read(make, numbered, numbers):
    spool = make(max_bytes=200 * MB)
    spool.open()
    for start in range(0, 30_000, 3000):
        keys = spool.append(numbered(start, start + 3000, size=1000))
    size = spool.bytes
    spool.remove(keys[10:20])
    spool.close()
    before = read_bytes()
    spool.open()
    spool.append(numbered(30_000, 30_001))
    assert [e.message.seq for e in spool.after(0, 64)] == list(range(64))
    assert read_bytes() - before < 8 * MB
    assert len(spool) == 30_001, "as far as the keys tell"
    assert spool.bytes > size, "at most"
    assert len(numbers(spool)) == len(spool) == 29_991
    assert spool.bytes < size


def test_a_great_many_messages_make_nothing_slow(make, numbered, monkeypatch):
    connect, opened = sqlite3.connect, []
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: opened.append(connect(*a, **k)) or opened[-1])
    spool = make(max_bytes=200 * MB)
    spool.open()
    steps = []

    def count_steps() -> None:
        steps.append(1)

    def cost(work) -> int:
        steps.clear()
        opened[-1].set_progress_handler(count_steps, 1)
        work()
        opened[-1].set_progress_handler(None, 0)
        return len(steps)

    def costs() -> tuple[int, int, int]:
        last = spool.append(numbered(0, 1))[-1]
        append = cost(lambda: spool.append(numbered(0, 10)))
        after = cost(lambda: spool.after(last // 2, 10))
        return append, after, cost(lambda: spool.remove(range(last // 2, last // 2 + 10)))

    small = costs()
    for start in range(0, 200_000, 10_000):
        spool.append(numbered(start, start + 10_000))
    assert all(many <= 1.5 * few + 50 for many, few in zip(costs(), small, strict=True))
