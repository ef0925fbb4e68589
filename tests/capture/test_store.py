"""The folder of kept samples: whole, bounded, and named by nothing that came from outside."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from base64 import b64encode
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from support.capturing import JPEG, PIXELS, PNG, RANDOM, SCORE, picture, result, row

from edge.capture.read import Folder
from edge.capture.record import Candidate
from edge.capture.rules import picked
from edge.capture.store import BLOCK, DAY_NS, WRITES_A_DAY, NoRoomError, Store
from edge.data.result import Classification
from edge.data.sample import EncodedImage, Frame, Image
from edge.data.units import SECOND_NS
from edge.testing.fakes import FakeClock

SCORE_WORTH = picked([SCORE]).worth
LOST = "random-20260101T000000-0123abcd-000008.jsonl"


def lines(folder: Path) -> list[dict]:
    segments = sorted(folder.glob("*.jsonl"))
    return [json.loads(line) for segment in segments for line in segment.read_text().splitlines()]


def taken(folder: Path) -> int:
    files = [p for p in folder.iterdir() if p.suffix not in (".lock", ".json", ".day")]
    return sum(-(-p.stat().st_size // BLOCK) * BLOCK for p in files)


def keep(store, candidate) -> int:
    return store.write([candidate], candidate.picked.worth)


def test_pictures_stay_as_they_came_and_a_line_tells_all_of_them(open_store, tmp_path):
    store = open_store()
    pixels = Candidate(picked([RANDOM]), Image(PIXELS), Frame(64, 48), result(3))
    text = Candidate(picked([RANDOM]), {"id": 4, "image": b64encode(PNG).decode()}, Frame(64, 48), result(4))
    assert store.write([picture(1), picture(2, data=PNG), pixels, text], 1) == 4

    first, second, third, fourth = lines(tmp_path / "kept")
    assert (tmp_path / "kept" / fourth["file"]).read_bytes() == PNG
    assert (tmp_path / "kept" / first["file"]).read_bytes() == JPEG
    assert (tmp_path / "kept" / second["file"]).read_bytes() == PNG
    assert third["file"].endswith(".jpg")
    assert (first["id"], first["reasons"], first["width"], first["height"]) == ("pi/m/b/1", ["random:1"], 64, 48)
    assert first["result"]["predictions"] == [{"index": 0, "label": "cat", "score": 0.5}]


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({"t": 1.5, "where": "north\n../x"}, {"t": 1.5, "where": "north\n../x"}),
        ([1, None, "a"], [1, None, "a"]),
        (np.array([1.5, np.nan], np.float32), [1.5, None]),
        ({"t": np.float32(0.5)}, {"t": 0.5}),
        ({"a": EncodedImage(JPEG), "b": 1}, {"a": b64encode(JPEG).decode(), "b": 1}),
        (7, 7),
    ],
)
def test_rows_stay_as_json(open_store, tmp_path, payload, said):
    keep(open_store(), row(1, payload=payload))

    assert [line["row"] for line in lines(tmp_path / "kept")] == [said]


def test_arrays_are_files_that_numpy_reads(open_store, tmp_path):
    keep(open_store(), row(1, payload=np.ones((2, 3), np.float32)))

    (line,) = lines(tmp_path / "kept")
    assert np.load(tmp_path / "kept" / line["file"]).shape == (2, 3)


def test_what_cannot_be_written_as_json_costs_only_itself(open_store, tmp_path, caplog):
    wide = row(4, payload=np.zeros((1, 70_000, 3), np.uint8))
    objects = row(5, payload=np.array([[None]]))
    assert (
        open_store().write([row(1, payload={"x": object()}), row(2), row(3, payload=object()), wide, objects], 1) == 1
    )

    assert [line["id"] for line in lines(tmp_path / "kept")] == ["pi/m/b/2"]
    assert caplog.text.count("a sample was not kept") == 1


def test_neither_names_nor_rights_come_from_an_input(open_store, tmp_path):
    store = open_store()
    hostile = result(1, [Classification(0, "../../x", 0.5)], called="../../x/1")
    keep(store, Candidate(picked([RANDOM]), {"../../etc/passwd": "x"}, None, hostile))
    keep(store, Candidate(picked([RANDOM]), EncodedImage(JPEG), Frame(64, 48), hostile))

    files = list((tmp_path / "kept").iterdir())
    ours = r"random-\d{8}T\d{6}-0123abcd-\d{6}(-\d{4})?\.(jsonl|jpg)|about\.json|\.edge-capture\.(lock|day)"
    assert len(files) == 6
    assert all(re.fullmatch(ours, path.name) for path in files)
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "kept", *files)} == {0}


def test_the_bytes_are_bounded_and_the_oldest_of_what_is_worth_least_goes_first(open_store, tmp_path, clock):
    store = open_store(6 * BLOCK)
    for seq, rule in enumerate([RANDOM, SCORE, RANDOM, SCORE, RANDOM, RANDOM, SCORE, RANDOM], 1):
        keep(store, row(seq, rule))
        clock.advance(1)
        assert taken(tmp_path / "kept") <= 6 * BLOCK

    assert sorted(line["id"] for line in lines(tmp_path / "kept")) == [f"pi/m/b/{n}" for n in (2, 4, 5, 6, 7, 8)]


def test_what_is_worth_less_than_all_that_is_there_is_not_written(open_store, tmp_path):
    store = open_store(2 * BLOCK)
    for seq in (1, 2):
        keep(store, row(seq, SCORE))

    with pytest.raises(NoRoomError):
        keep(store, row(3, RANDOM))
    keep(store, row(4, SCORE))
    assert [line["id"] for line in lines(tmp_path / "kept")] == ["pi/m/b/2", "pi/m/b/4"]


def test_nothing_goes_for_what_would_not_fit_even_then(open_store, tmp_path, caplog):
    store = open_store(4 * BLOCK)
    keep(store, row(1, RANDOM))
    for seq in (2, 3):
        keep(store, row(seq, SCORE))

    with pytest.raises(NoRoomError):
        store.write([row(4, RANDOM, {"x": "y" * 3 * BLOCK})], 1)
    assert keep(store, row(5, SCORE, {"x": "y" * 9 * BLOCK})) == 0
    assert len(lines(tmp_path / "kept")) == 3
    assert "--capture-max is 0.0164 MB" in caplog.records[-1].reason
    assert store.write([row(n, SCORE, {"x": "y" * 2 * BLOCK}) for n in (6, 7)], SCORE_WORTH) == 2
    assert [line["id"] for line in lines(tmp_path / "kept")] == ["pi/m/b/7"]
    assert taken(tmp_path / "kept") <= 4 * BLOCK


def test_another_life_goes_on_with_what_is_there_and_takes_away_what_a_power_cut_left(open_store, tmp_path, clock):
    folder = tmp_path / "kept"
    keep(open_store(), picture(1))
    for name in ("random-20260101T000000-0123abcd-000007-0000.jpg", f".{LOST}.7.partial"):
        (folder / name).write_bytes(b"half")
    (folder / "notes.txt").write_text("somebody else's")
    (folder / "random-elsewhere.jpg").write_bytes(b"somebody else's")
    clock.advance(1)
    store = open_store(3 * BLOCK, boot="89abcdef")

    assert not [p for p in folder.iterdir() if p.read_bytes() == b"half"]
    assert store.size == 2 * BLOCK
    keep(store, picture(2))
    assert [line["id"] for line in lines(folder)] == ["pi/m/b/2"]
    assert (folder / "notes.txt").exists()
    assert (folder / "random-elsewhere.jpg").exists()


def test_what_a_person_deletes_is_gone_and_the_next_goes_on(open_store, tmp_path):
    store = open_store(2 * BLOCK)
    keep(store, row(1))
    shutil.rmtree(tmp_path / "kept")
    keep(store, row(2))
    keep(store, row(3))

    assert [line["id"] for line in lines(tmp_path / "kept")] == ["pi/m/b/2", "pi/m/b/3"]
    assert (tmp_path / "kept" / "about.json").exists()


def test_a_folder_belongs_to_one_process(open_store, tmp_path, clock):
    open_store()

    assert Store(tmp_path / "kept", 1, clock, "b", b"{}").open() == f"process {os.getpid()}"


def test_where_the_folder_went_with_its_lock_the_next_process_has_it_and_this_one_waits(open_store, tmp_path, clock):
    first = open_store()
    keep(first, row(1))
    shutil.rmtree(tmp_path / "kept")
    second = Store(tmp_path / "kept", 1_000_000, clock, "89abcdef", b"{}")
    assert second.open() is None

    with pytest.raises(OSError, match=f"process {os.getpid()} keeps its samples there"):
        keep(first, row(2))
    second.close()
    assert keep(first, row(3)) == 1
    assert Store(tmp_path / "kept", 1, clock, "b", b"{}").open() == f"process {os.getpid()}"


def test_a_clock_that_is_set_back_makes_no_sample_the_oldest(open_store, tmp_path):
    for day, boot in enumerate(("ffffffff", "0123abcd", "00000000")):
        store = open_store(2 * BLOCK, boot=boot, clock=FakeClock(1_700_000_000_000_000_000 - day * DAY_NS))
        keep(store, row(day))

    assert sorted(line["id"] for line in lines(tmp_path / "kept")) == ["pi/m/b/1", "pi/m/b/2"]
    assert [sample.id for sample in Folder(tmp_path / "kept").samples()] == ["pi/m/b/1", "pi/m/b/2"]


def test_the_last_bytes_of_a_disk_are_left_to_others(open_store, tmp_path):
    free = SimpleNamespace(f_blocks=1000, f_frsize=BLOCK, f_bavail=1000)
    store = open_store(2 * BLOCK, space=lambda _: free)
    keep(store, row(1))
    keep(store, row(2))
    free.f_bavail = 50
    keep(store, row(3))  # in the place of the first
    free.f_bavail = 49

    with pytest.raises(OSError, match="left to others"):
        keep(store, row(4))
    assert [line["id"] for line in lines(tmp_path / "kept")] == ["pi/m/b/2", "pi/m/b/3"]


def test_a_card_is_not_worn_out_in_a_day(open_store, clock):
    store = open_store(BLOCK)
    for seq in range(WRITES_A_DAY):
        keep(store, row(seq))

    with pytest.raises(OSError, match="the card is spared") as told:
        keep(store, row(1))
    assert told.value.errno == errno.EDQUOT
    clock.advance(DAY_NS / SECOND_NS / 2)
    store = open_store(BLOCK, boot="89abcdef")
    with pytest.raises(OSError, match="the card is spared"):  # a start is no new day
        keep(store, row(1))
    clock.advance(DAY_NS / SECOND_NS / 2)
    assert keep(store, row(2)) == 1


def test_a_folder_that_could_not_be_had_at_the_start_is_tried_again(tmp_path, clock):
    (tmp_path / "kept").write_text("a file in its place")
    store = Store(tmp_path / "kept", 1_000_000, clock, "0123abcd", b"{}")
    for attempt in (store.open, lambda: keep(store, row(1))):
        with pytest.raises(NotADirectoryError):
            attempt()
    (tmp_path / "kept").unlink()

    assert keep(store, row(2)) == 1
    store.close()
