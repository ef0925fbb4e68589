"""What was under way when the process died is known in the next life, and only that."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edge.storage.crash_marks import SUSPECTS_MOST, CrashMarks, digest_of

GOOD, BAD = digest_of(b"good"), digest_of(b"bad")

DYING = """
import os, signal, sys
from pathlib import Path
from edge.storage.crash_marks import CrashMarks, digest_of
marks = CrashMarks(Path(sys.argv[1]), "pi.m", Path(sys.argv[2]))
marks.open()
slot, other = marks.slot(), marks.slot()
slot.begin(digest_of(b"good"))
slot.end()
other.begin(digest_of(b"bad"))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def lives(tmp_path):
    """Makes the marks of one life after the other."""
    state, volatile = tmp_path / "state", tmp_path / "run"
    volatile.mkdir()
    made = []

    def start():
        made.append(CrashMarks(state, "pi.m", volatile))
        return made[-1]

    yield start
    for one in made:
        one.close()


def die(lives, *digests):
    marks = lives()
    marks.open()
    marks.slot().begin(*digests)
    return marks


def test_a_process_that_is_killed_leaves_the_input_it_worked_on(tmp_path):
    state, volatile = tmp_path / "state", tmp_path / "run"
    volatile.mkdir()
    done = subprocess.run([sys.executable, "-c", DYING, state, volatile], check=False)
    marks = CrashMarks(state, "pi.m", volatile)

    assert done.returncode == -9
    assert marks.open() == 1
    assert (marks.suspects(BAD), marks.suspects(GOOD)) == (True, False)
    marks.close()


def test_a_suspect_stays_one_in_all_later_lives_until_it_is_acquitted(lives):
    die(lives, BAD)
    first = lives()
    first.open()
    first.close()
    second = lives()
    second.open()
    assert second.suspects(BAD)

    second.acquit(BAD)
    second.acquit(GOOD)
    third = lives()

    assert third.open() == 0
    assert not third.suspects(BAD)


def test_one_that_was_under_way_at_two_deaths_in_a_row_is_convicted(lives):
    die(lives, BAD)
    die(lives, BAD, GOOD)
    marks = lives()
    marks.open()

    assert (marks.convicted(BAD), marks.convicted(GOOD)) == (True, False)


def test_where_something_else_is_to_blame_for_a_death_no_input_is_suspected_then_or_later(lives):
    die(lives, BAD)
    excused = lives()

    assert excused.open(excused=True) == 1
    assert not excused.suspects(BAD)
    assert lives().open() == 0


def test_services_that_share_a_state_folder_have_marks_of_their_own(lives, tmp_path):
    die(lives, BAD)
    other = CrashMarks(tmp_path / "state", "pi.other", tmp_path / "run")

    assert other.open() == 0
    other.close()


def test_a_clean_end_leaves_none(lives):
    die(lives, BAD).close()
    marks = lives()

    assert marks.open() == 0
    assert not marks.suspects(BAD)


def test_suspects_are_bounded_the_oldest_out(lives):
    digests = [digest_of(str(n).encode()) for n in range(SUSPECTS_MOST + 10)]
    for at in range(0, len(digests), 10):
        die(lives, *digests[at : at + 10])
    marks = lives()
    marks.open()

    assert [marks.suspects(d) for d in digests] == [False] * 10 + [True] * SUSPECTS_MOST


def test_a_damaged_list_is_as_none(lives, tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "pi.m.suspects.json").write_bytes(b"\xff{")

    assert lives().open() == 0


def test_nothing_is_written_to_the_state_folder_while_all_goes_well(lives, tmp_path):
    marks = die(lives, GOOD)

    assert list((tmp_path / "state").iterdir()) == []
    marks.close()


def test_a_file_of_another_name_s_that_points_elsewhere_is_not_followed(lives, tmp_path):
    marks = die(lives)
    (file,) = (tmp_path / "run").iterdir()
    marks.close()
    file.unlink()
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    file.symlink_to(target)

    lives().open()

    assert target.read_bytes() == b"precious"


def test_an_input_that_is_no_longer_under_way_beside_another_leaves_no_mark(lives):
    marks = lives()
    marks.open()
    slot = marks.slot()
    slot.begin(GOOD, BAD)
    slot.begin(BAD)
    next_life = lives()
    assert next_life.open() == 1
    assert (next_life.suspects(BAD), next_life.suspects(GOOD)) == (True, False)
