"""The process died while the trial was at work: at the second such death the trial is given up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edge.trial.blame import TrialMarks, died_at_work

DYING = """
import os, signal, sys
from pathlib import Path
from edge.trial.blame import TrialMarks
marks = TrialMarks(Path(sys.argv[1]) / "state", "pi.m", Path("new.onnx"), sys.argv[2], Path(sys.argv[1]) / "run")
said = marks.open()
if sys.argv[3] != "before":
    marks.begin()
if sys.argv[3] == "after":
    marks.end()
print(said)
sys.stdout.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""
ONE, ANOTHER = "a" * 64, "b" * 64


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path


def a_life_that_is_killed(folder: Path, sha256: str = ONE, when: str = "at work") -> str:
    command = [sys.executable, "-c", DYING, folder, sha256, when]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def the_next(folder: Path, sha256: str = ONE) -> tuple[str, bool]:
    """What a life after that says, and whether the trial is to blame for the last death."""
    marks = TrialMarks(folder / "state", "pi.m", Path("new.onnx"), sha256, folder / "run")
    said = marks.open()
    marks.close()
    return said, marks.died


def test_at_the_first_death_it_goes_on_and_at_the_second_it_is_given_up(folder: Path) -> None:
    first = a_life_that_is_killed(folder)
    second = a_life_that_is_killed(folder)
    said, died = the_next(folder)

    assert (first, second, died) == ("", "", True)
    assert said.startswith("the process died twice while new.onnx was at work: it is given up")
    assert "delete pi.m.trial.suspects.json in the state folder" in said


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_death_at_which_it_was_not_at_work_is_none_of_its_own(folder: Path, when: str) -> None:
    for _ in range(3):
        a_life_that_is_killed(folder, when=when)

    assert the_next(folder) == ("", False)


def test_what_ran_well_in_between_does_not_count_for_it(folder: Path) -> None:
    a_life_that_is_killed(folder)
    a_life_that_is_killed(folder, when="after")
    a_life_that_is_killed(folder)

    assert the_next(folder)[0] != ""


def test_another_model_is_tried_without_the_deaths_of_this_one(folder: Path) -> None:
    a_life_that_is_killed(folder)
    a_life_that_is_killed(folder)

    assert the_next(folder, ANOTHER)[0] == ""
    assert the_next(folder, ONE)[0] != ""


def test_without_its_list_it_is_tried_again(folder: Path) -> None:
    a_life_that_is_killed(folder)
    a_life_that_is_killed(folder)
    the_next(folder)

    (folder / "state" / "pi.m.trial.suspects.json").unlink()

    assert the_next(folder) == ("", False)


def test_whether_it_died_at_work_can_be_seen_before_there_is_a_trial_and_changes_nothing(folder: Path) -> None:
    before = died_at_work(folder / "state", "pi.m", folder / "run")
    a_life_that_is_killed(folder)

    assert [died_at_work(folder / "state", "pi.m", folder / "run") for _ in range(2)] == [True, True]
    assert (before, the_next(folder)) == (False, ("", True))
    assert not died_at_work(folder / "state", "pi.m", folder / "run")


def test_two_processes_of_one_name_do_not_take_each_other_s_marks(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    marks = TrialMarks(folder / "state", "pi.m", Path("new.onnx"), ONE, folder / "run")
    marks.open()
    marks.begin()

    assert the_next(folder) == ("", False)
    assert "the trial is not marked" in caplog.text
    marks.end()
    marks.close()


def test_a_folder_that_takes_nothing_changes_nothing_for_it(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "state").write_text("a file in its place")
    a_life_that_is_killed(folder)
    a_life_that_is_killed(folder)

    said, died = the_next(folder)

    assert (said != "", died) == (True, True)
    assert f"delete {folder / 'run'}" in said
    assert "a power cut would forget them" in caplog.text


def test_without_any_place_for_the_marks_it_is_told_and_the_trial_runs_without(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "state").write_text("a file in its place")
    (folder / "run").rmdir()

    assert the_next(folder) == ("", False)
    assert "the trial is not marked" in caplog.text
