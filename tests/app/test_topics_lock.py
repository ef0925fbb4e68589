"""Whose the topics of a model are, where several begin at the same moment."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edge.app.topics import TopicsLock
from edge.errors import ConfigError


@pytest.mark.parametrize("folders", ["aa", "ab", "abb", "aab"])
def test_of_several_that_begin_at_once_exactly_one_has_the_topics(tmp_path, folders):
    """With one state folder, each with its own, and mixed: the loser of the second lock must not have won the first
    from the only one that could have had both."""
    together = threading.Barrier(len(folders))

    def begin(folder: str, turn: int) -> bool:
        lock = TopicsLock(tmp_path / folder, f"mqtt://{tmp_path}", f"edge/pi/m{turn}", Path("m.onnx"))
        together.wait(60)
        try:
            lock.hold()
        except ConfigError:
            return False
        finally:
            together.wait(60)
        lock.release()
        return True

    with ThreadPoolExecutor(len(folders)) as pool:
        for turn in range(25):
            held = list(pool.map(begin, folders, [turn] * len(folders)))
            assert held.count(True) == 1
