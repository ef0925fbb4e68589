"""What was under way when the process died is known in the next life, and only that."""

from __future__ import annotations

import errno
import json

import pytest
from support import dying

from edge.data.sample import Sample
from edge.runtime.crash_guard import CrashGuard
from edge.storage import atomic
from edge.storage.crash_marks import KEPT_EVERY, SUSPECTS_MOST, TOGETHER_MOST, CrashMarks, digest_of

GOOD, BAD = digest_of(b"good"), digest_of(b"bad")


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


@pytest.fixture
def die(lives, tmp_path):
    """A life that is killed while it works on inputs with these digests."""

    def end(*digests, before=()):
        dying.die(tmp_path / "state", "pi.m", *before, digests, volatile=tmp_path / "run")

    return end


@pytest.fixture
def at_work(lives):
    """A life that works on inputs with these digests."""

    def begin(*digests):
        marks = lives()
        marks.open()
        marks.slot().mark(*digests)
        return marks

    return begin


def test_a_process_that_is_killed_leaves_the_input_it_worked_on(lives, die):
    die(BAD, before=[(GOOD,)])
    marks = lives()

    assert marks.open() == 1
    assert (marks.suspects(BAD), marks.suspects(GOOD)) == (True, False)


def test_a_suspect_stays_one_in_all_later_lives_until_it_is_acquitted(lives, die):
    die(BAD)
    first = lives()
    first.open()
    first.close()
    second = lives()
    second.open()
    assert second.suspects(BAD)

    second.acquit(BAD)
    second.acquit(GOOD)
    second.close()
    third = lives()

    assert third.open() == 0
    assert not third.suspects(BAD)


def test_one_that_was_under_way_at_three_deaths_in_a_row_is_convicted(lives, die):
    die(BAD)
    die(BAD, GOOD)
    marks = lives()
    marks.open()
    assert (marks.suspects(BAD), marks.convicted(BAD)) == (True, False)
    marks.close()
    die(BAD)
    later = lives()
    later.open()

    assert (later.convicted(BAD), later.convicted(GOOD)) == (True, False)


def test_where_something_else_is_to_blame_for_a_death_no_input_is_suspected_then_or_later(lives, die):
    die(BAD)
    excused = lives()

    assert excused.open(excused=True) == 1
    assert not excused.suspects(BAD)
    excused.close()
    assert lives().open() == 0


def test_services_that_share_a_state_folder_have_marks_of_their_own(die, tmp_path):
    die(BAD)
    other = CrashMarks(tmp_path / "state", "pi.other", tmp_path / "run")

    assert other.open() == 0
    other.close()


def test_a_clean_end_leaves_none(lives, at_work):
    at_work(BAD).close()
    marks = lives()

    assert marks.open() == 0
    assert not marks.suspects(BAD)


def suspected_of_ten_too_many(lives, die):
    """Whether each is a suspect, of ten more than are kept, in the order in which the process died at them."""
    digests = [digest_of(str(n).encode()) for n in range(SUSPECTS_MOST + 10)]
    for at in range(0, len(digests), TOGETHER_MOST):
        die(*digests[at : at + TOGETHER_MOST])
    marks = lives()
    marks.open()
    return [marks.suspects(d) for d in digests]


def test_suspects_are_bounded_the_oldest_out(lives, die):
    assert suspected_of_ten_too_many(lives, die) == [False] * 10 + [True] * SUSPECTS_MOST


def test_of_two_processes_with_one_name_the_second_does_not_take_the_marks_of_the_first(lives, at_work):
    at_work(GOOD)
    second = lives()

    with pytest.raises(BlockingIOError):
        second.open()
    assert second.left()


def test_many_that_are_acquitted_are_written_a_few_at_a_time_and_the_last(lives, die, tmp_path):
    digests = [digest_of(str(n).encode()) for n in range(KEPT_EVERY + 3)]
    die(*digests)
    marks = lives()
    marks.open()
    written = []
    for digest in digests:
        marks.acquit(digest)
        written.append(len(json.loads((tmp_path / "state" / "pi.m.suspects.json").read_bytes())))

    assert written == [KEPT_EVERY + 3] * 2 + [KEPT_EVERY] * KEPT_EVERY + [0]


def test_who_was_acquitted_between_two_deaths_is_not_convicted_by_the_second(lives, die):
    others = [digest_of(str(n).encode()) for n in range(3)]
    die(GOOD, *others)
    marks = lives()
    guard = CrashGuard(marks)
    guard.open()
    good, new = (Sample(None, "test", 0, 0, digest=digest) for digest in (GOOD, digest_of(b"new")))
    guard.acquit([good])
    guard.acquit([new])  # the others do not come again
    marks.close()  # as at a death: it writes nothing
    die(GOOD)
    later = lives()
    later.open()

    assert later.suspects(GOOD)
    assert not later.convicted(GOOD)
    assert all(later.suspects(digest) for digest in others)


def test_a_clean_end_writes_down_who_was_acquitted(lives, die):
    die(GOOD, BAD)
    marks = lives()
    guard = CrashGuard(marks)
    guard.open()
    guard.acquit([Sample(None, "test", 0, 0, digest=GOOD)])
    guard.close()
    later = lives()
    later.open()

    assert (later.suspects(GOOD), later.suspects(BAD)) == (False, True)


def test_a_damaged_list_is_as_none(lives, tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "pi.m.suspects.json").write_bytes(b"\xff{")

    assert lives().open() == 0


def test_while_all_goes_well_the_state_folder_is_written_to_at_the_start_and_at_the_end(lives, tmp_path):
    marks, state = lives(), tmp_path / "state"
    marks.open()
    at_start = {file.name: file.stat().st_mtime_ns for file in state.iterdir()}
    slot = marks.slot()
    for digest in (GOOD, BAD):
        slot.mark(digest)
        slot.mark()

    assert {file.name: file.stat().st_mtime_ns for file in state.iterdir()} == at_start
    marks.close()
    assert list(state.iterdir()) == []


@pytest.fixture
def disk_that_takes_nothing(tmp_path):
    """Where the state folder should be stands a file, until `mend`."""
    (tmp_path / "state").write_text("a file in its place")
    return (tmp_path / "state").unlink


def test_a_restart_loop_ends_where_the_disk_takes_nothing_too(lives, die, disk_that_takes_nothing, tmp_path):
    die(BAD)
    die(BAD)
    die(BAD, GOOD)
    marks = lives()
    marks.open()

    assert (marks.convicted(BAD), marks.suspects(GOOD), marks.convicted(GOOD)) == (True, True, False)
    (file,) = (tmp_path / "run").iterdir()
    assert marks.kept == str(file)


@pytest.mark.parametrize("damaged", [{"3" * 31 + "g": 1}, {"aa": 1}, {"3" * 32: -5}])
def test_a_damaged_file_of_suspects_ends_no_start_where_the_disk_takes_nothing(
    lives, die, tmp_path, monkeypatch, damaged
):
    die(BAD)
    (tmp_path / "state" / "pi.m.suspects.json").write_text(json.dumps(damaged))
    monkeypatch.setattr(atomic, "write", read_only)
    marks = lives()

    assert marks.open() == 1
    assert marks.suspects(BAD)


def read_only(path, data):
    raise OSError(errno.EROFS, "read-only", str(path))


def test_what_the_disk_did_not_take_is_written_when_it_does_and_then_the_disk_is_asked(
    lives, die, disk_that_takes_nothing, tmp_path
):
    die(BAD)
    die(BAD)
    marks = lives()
    marks.open()
    disk_that_takes_nothing()
    marks.close()
    written = tmp_path / "state" / "pi.m.suspects.json"
    assert json.loads(written.read_bytes()) == {BAD.hex(): 2}
    later = lives()
    later.open()
    assert later.kept == "pi.m.suspects.json in the state folder"
    later.close()
    written.unlink()
    again = lives()
    again.open()

    assert not again.suspects(BAD)


def test_an_acquittal_that_the_disk_did_not_take_holds_in_the_next_life(lives, die, tmp_path):
    die(BAD)
    marks = lives()
    marks.open()
    (tmp_path / "state").rename(tmp_path / "aside")
    (tmp_path / "state").write_text("a file in its place")
    marks.acquit(BAD)
    marks.close()
    (tmp_path / "state").unlink()
    (tmp_path / "aside").rename(tmp_path / "state")
    later = lives()
    later.open()

    assert not later.suspects(BAD)
    assert json.loads((tmp_path / "state" / "pi.m.suspects.json").read_bytes()) == {}


def test_where_the_disk_takes_nothing_as_many_are_kept_as_on_it(lives, die, disk_that_takes_nothing):
    assert suspected_of_ten_too_many(lives, die) == [False] * 10 + [True] * SUSPECTS_MOST


def test_the_space_for_marks_is_taken_when_they_are_opened(lives, tmp_path):
    lives().open()
    (file,) = (tmp_path / "run").iterdir()

    assert file.stat().st_blocks * 512 >= file.stat().st_size


def test_marks_that_an_older_edge_run_left_are_taken_over(lives, tmp_path):
    lives().open()
    (file,) = (tmp_path / "run").iterdir()
    file.unlink()
    older = BAD.ljust(4 * TOGETHER_MOST * len(BAD), b"\0")  # nothing stood behind the marks
    file.write_bytes(older)
    marks = lives()

    assert marks.open() == 1
    assert marks.suspects(BAD)
    assert not marks.suspects(GOOD)


@pytest.fixture
def empty(tmp_path):
    """What happens to shared memory where it ends with the process: in a container, of a user that systemd makes."""

    def now():
        for file in (tmp_path / "run").iterdir():
            file.unlink()

    return now


def test_where_shared_memory_ends_with_the_process_marks_stand_in_the_state_folder_from_the_second_life_on(
    lives, die, empty, tmp_path
):
    for _ in range(4):
        die(BAD)
        empty()
    marks = lives()
    marks.open()

    assert marks.convicted(BAD)
    assert (tmp_path / "state" / "pi.m.marks").exists()


def test_after_an_end_in_order_they_stand_in_shared_memory_again(lives, die, empty, tmp_path):
    die(BAD)
    empty()
    second = lives()
    second.open()
    second.close()
    lives().open()

    assert len(list((tmp_path / "run").iterdir())) == 1


def test_what_a_long_gone_life_left_in_the_state_folder_accuses_nobody(lives, die, empty, tmp_path):
    die(GOOD)
    empty()
    die(GOOD)
    (tmp_path / "state" / "pi.m.alive.json").unlink()
    die()
    empty()
    marks = lives()

    assert marks.open() == 0


def test_marks_in_the_state_folder_that_a_power_cut_left_accuse_nobody(lives, die, empty, tmp_path, monkeypatch):
    die(GOOD)
    empty()
    die(GOOD)
    later = tmp_path / "boot_id"
    later.write_text("another boot")
    monkeypatch.setattr("edge.storage.crash_marks.BOOT_ID", later)
    marks = lives()

    assert not marks.left()
    assert marks.open() == 0
    assert not marks.suspects(GOOD)


def test_a_death_at_no_input_is_none_of_any(lives, die):
    for _ in range(4):
        die()
    assert lives().open() == 0


def test_a_file_of_another_name_s_that_points_elsewhere_is_not_followed(lives, at_work, tmp_path):
    at_work().close()
    (file,) = (tmp_path / "run").iterdir()
    file.unlink()
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    file.symlink_to(target)

    lives().open()

    assert target.read_bytes() == b"precious"


def test_an_input_that_is_no_longer_under_way_beside_another_leaves_no_mark(lives, die):
    die(BAD, before=[(GOOD, BAD)])
    marks = lives()
    assert marks.open() == 1
    assert (marks.suspects(BAD), marks.suspects(GOOD)) == (True, False)
