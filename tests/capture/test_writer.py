"""The thread that writes: it holds nobody up, tells what does not work once, and goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.capturing import JPEG, result
from support.processes import until

from edge.capture.record import NUMBER_BYTES, Candidate
from edge.capture.rules import Rules
from edge.capture.store import Store
from edge.capture.writer import WAITING_BYTES, Writer
from edge.data.result import Classification
from edge.data.sample import EncodedImage, Frame
from edge.errors import ConfigError
from edge.settings.parsers import capture_rules
from edge.telemetry.clock import SystemClock
from edge.telemetry.metrics import Metrics


class Disk(Store):
    """One that waits, or fails, as it is told."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, 10**9, SystemClock(), "0123abcd", b"{}")
        self.free = threading.Event()
        self.free.set()
        self.error: OSError | None = None
        self.wrote: list[list[Candidate]] = []

    def write(self, candidates: Sequence[Candidate], worth: int) -> int:
        self.free.wait()
        if self.error is not None:
            raise self.error
        self.wrote.append(list(candidates))
        return len(candidates)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path / "kept")


@pytest.fixture
def writer(disk: Disk) -> Iterator[Any]:
    made: list[Writer] = []

    def make(said: str = "random:1,score<0.6", most: int = 10**9) -> Writer:
        rules = Rules(capture_rules(said), lambda: 0.0, lambda: False)
        made.append(Writer(rules, disk, most, SystemClock(), Metrics()))
        made[-1].start()
        return made[-1]

    yield make
    disk.free.set()
    for one in made:
        one.close()


def big(seq: int) -> tuple[EncodedImage, Frame, Any]:
    return EncodedImage(JPEG + bytes(WAITING_BYTES // 8)), Frame(64, 48), result(seq)


def ids(disk: Disk) -> list[list[str]]:
    return [[candidate.result.id[-1] for candidate in segment] for segment in disk.wrote]


def test_many_are_written_together_each_worth_by_itself_and_at_the_end_all_of_them(writer, disk):
    one = writer()
    for seq in range(1, 5):
        one.keep({"x": 1}, None, result(seq, [Classification(0, "cat", 0.5 if seq % 2 else 0.9)]))
    one.close()

    assert ids(disk) == [["1", "3"], ["2", "4"]]
    assert one.counts()["kept"] == 4


def test_what_no_rule_picks_is_not_kept(writer, disk):
    one = writer("score<0.4")
    one.keep({"x": 1}, None, result(1))
    one.close()

    assert disk.wrote == []


@pytest.mark.parametrize(
    "payload_of",
    [
        lambda seq: EncodedImage(JPEG + bytes(WAITING_BYTES // 8)),
        lambda seq: {"x": [[0.5 + seq] * (WAITING_BYTES // 8 // NUMBER_BYTES)]},
    ],
    ids=["pictures", "rows"],
)
def test_where_the_disk_is_slower_than_what_comes_samples_pass_by_and_are_counted(writer, disk, payload_of):
    disk.free.clear()
    one = writer(most=8)
    for seq in range(30):
        one.keep(payload_of(seq), Frame(64, 48), result(seq))  # would hang here, did it wait
    disk.free.set()
    one.close()
    counts = one.counts()

    assert counts["kept"] + counts["passed_over"] == 30
    assert 0 < counts["kept"] <= 8


def test_a_disk_that_takes_nothing_is_told_once_and_when_it_takes_something_again(writer, disk, caplog):
    caplog.set_level("INFO")
    disk.error = OSError(28, "No space left on device")
    one = writer(most=8)
    for seq in (1, 2):
        one.keep(*big(seq))
    until(lambda: one.counts()["failed"] > 0, "a sample that was not kept")
    assert one.counts()["reason"] == "No space left on device"
    disk.error = None
    one.close()

    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told == ["samples are not kept"]
    assert "samples are kept again" in caplog.text
    assert (one.counts()["failed"], one.counts()["kept"]) == (1, 1)


def test_a_sample_that_a_rule_and_the_trial_pick_is_kept_once(writer, disk):
    one = writer("score<0.6,trial-differs")
    trial = result(1, [Classification(1, "dog", 0.7)])
    one.keep({"x": 1}, None, result(1))
    one.differs({"x": 1}, None, (result(1), trial))
    one.close()

    ((kept,),) = disk.wrote
    assert kept.picked.reasons == ("score<0.6", "trial-differs")
    assert kept.trial == trial


def test_a_folder_of_another_process_is_refused(writer, disk, tmp_path):
    writer()
    rules = Rules((), lambda: 0.0, lambda: False)

    with pytest.raises(ConfigError, match="say another --capture-dir"):
        Writer(rules, Disk(tmp_path / "kept"), 1, SystemClock(), Metrics()).start()
