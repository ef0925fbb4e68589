"""Files that hold results are readable by their owner alone."""

from __future__ import annotations

import os
from contextlib import closing

from edge.storage.dbfile import connect


def modes(folder):
    return {file.stat().st_mode & 0o777 for file in folder.iterdir()}


def test_a_spool_is_private_from_its_first_moment_on(tmp_path):
    before = os.umask(0)
    try:
        with closing(connect(tmp_path / "spool.db", check=False)) as db:
            db.execute("PRAGMA user_version=1")
            assert modes(tmp_path) == {0o600}
    finally:
        os.umask(before)


def test_a_spool_of_an_older_version_becomes_private(tmp_path):
    with closing(connect(tmp_path / "spool.db", check=False)):
        pass
    (tmp_path / "spool.db").chmod(0o644)

    with closing(connect(tmp_path / "spool.db", check=False)):
        assert modes(tmp_path) == {0o600}
