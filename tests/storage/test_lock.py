"""One process at a time, and what an error of the state folder means."""

from __future__ import annotations

import errno
import os
import sys
import uuid
from pathlib import Path

import pytest

from edge.errors import SpoolError, UnavailableError
from edge.storage.lock import HostLock, folder_error


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="an abstract socket is Linux's")
def test_a_name_is_held_by_one_until_it_lets_go():
    name = uuid.uuid4().hex
    first, second, other = HostLock(name), HostLock(name), HostLock(f"{name}-2")
    try:
        assert (first.acquire(), first.acquire(), second.acquire(), other.acquire()) == (True, True, False, True)
        first.release()
        first.release()
        assert second.acquire()
    finally:
        for lock in (first, second, other):
            lock.release()


@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        (errno.EACCES, SpoolError, "/s: Permission denied; --state-dir wants a folder that this user may write to"),
        (errno.ENOTDIR, SpoolError, "/s: Not a directory; --state-dir wants a folder"),
        (errno.ENOSPC, UnavailableError, "/s: No space left on device; results wait in memory until it can be written"),
    ],
)
def test_a_folder_that_is_wrong_ends_it_and_one_that_is_full_is_waited_for(code, kind, says):
    found = folder_error(Path("/s"), OSError(code, os.strerror(code)))
    assert isinstance(found, kind)
    assert str(found).startswith(says)


def test_an_error_without_a_number_is_told_by_its_text():
    assert "/s: no card; results wait" in str(folder_error(Path("/s"), OSError("no card")))
