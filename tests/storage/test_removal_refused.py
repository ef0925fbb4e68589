"""What was confirmed, on a disk that refuses to delete it."""

from __future__ import annotations

import resource

from edge.data.message import Message
from edge.storage.sqlite import SqliteSpool
from edge.testing.fakes import FakeClock


def test_what_the_disk_keeps_is_tried_again_after_a_while_and_told_no_more_often(tmp_path, caplog):
    clock = FakeClock()
    spool = SqliteSpool(tmp_path / "a.spool", 1_000_000, clock=clock, forgets_at_once=True)
    keys = spool.append([Message("result", b"x", number) for number in range(100)])
    _, most = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, most))
    try:
        for key in keys[:50]:
            spool.remove([key])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [record.message for record in caplog.records] == ["spool keeps what was confirmed"]
    clock.advance(5.0)
    spool.remove([keys[50]])
    spool.remove([keys[51]])

    copy = tmp_path / "copy.spool"  # as it is after a kill
    copy.write_bytes((tmp_path / "a.spool").read_bytes())
    (tmp_path / "copy.spool-wal").write_bytes((tmp_path / "a.spool-wal").read_bytes())
    left = SqliteSpool(copy, 1_000_000)
    assert [entry.key for entry in left.after(0, 100)] == keys[52:]
    left.close()
    spool.close()
