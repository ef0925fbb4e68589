"""The spool on a disk that fails: cut off at any moment, full, read-only, broken.

`support/powercut.py` says what its power cut is and what it cannot show.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import spoolchild
from support.powercut import Change, PowerCut, build_shim, read_log

from edge.storage.sqlite import SqliteSpool

CHILD = Path(spoolchild.__file__)
CUTS = 150


class Child:
    """`spoolchild.py` with the shim in between."""

    def __init__(self, shim: Path, folder: Path, max_bytes: int) -> None:
        self.root = folder / "disk"
        self.root.mkdir()
        self.log = folder / "log"
        self.fail = folder / "fail"
        self.path = self.root / "state" / "lane.spool"
        self.marks = self.root / "marks"
        self._max_bytes = max_bytes
        self._env = {
            **os.environ,
            "LD_PRELOAD": str(shim),
            "DISKSHIM_ROOT": str(self.root),
            "DISKSHIM_LOG": str(self.log),
            "DISKSHIM_FAIL": str(self.fail),
        }
        self._process = self._start()

    def __call__(self, do: str, **order: Any) -> dict[str, Any]:
        self._process.stdin.write(json.dumps({"do": do, **order}) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._process = self._start()

    def end(self) -> None:
        self._process.communicate()

    def disk(self, trouble: str) -> None:
        """ "28" full, "30" read-only, "5" broken, "5 sync" breaks at the syncs, "" well again."""
        waiting = self.fail.with_suffix(".new")
        waiting.write_text(trouble)
        waiting.rename(self.fail)

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, str(CHILD), str(self.path), str(self._max_bytes), str(self.marks)]
        return subprocess.Popen(
            command, env=self._env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )


@pytest.fixture(scope="session")
def shim(tmp_path_factory) -> Path:
    return build_shim(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def child(shim, tmp_path) -> Iterator[Child]:
    child = Child(shim, tmp_path, 1_000_000)
    yield child
    child.end()


# --- a power cut ----------------------------------------------------------------------------------


def work_at_random(child: Child, rng: random.Random, orders: int) -> None:
    waiting: list[int] = []
    first = 1
    for _ in range(orders):
        roll = rng.random()
        if roll < 0.6:
            count = rng.choice((1, 1, 2, 20, 100))
            waiting += child("append", first=first, count=count)["keys"]
            first += count
        elif roll < 0.9 and waiting:
            taken = waiting[: rng.randint(1, len(waiting))]
            waiting = waiting[len(taken) :]
            child("remove", keys=taken)
        elif roll < 0.95:
            child("reopen")
        else:
            child.kill()


class Promised:
    """What the marks up to a moment say must be there, and what may be."""

    def __init__(self) -> None:
        self.must: set[int] = set()
        self.may: set[int] = set()
        self._order: dict[str, Any] = {}
        self._seq_by_key: dict[int, int] = {}

    def hear(self, mark: str) -> None:
        word, _, text = mark.partition(" ")
        heard = json.loads(text)
        if word == "begin":
            self._order = heard
            if heard["do"] == "append":
                self.may |= set(range(heard["first"], heard["first"] + heard["count"]))
            elif heard["do"] == "remove":
                self.must -= {self._seq_by_key[k] for k in heard["keys"]}
        elif self._order["do"] == "append":
            seqs = range(self._order["first"], self._order["first"] + self._order["count"])
            self._seq_by_key |= dict(zip(heard["keys"], seqs, strict=True))
            self.must |= set(seqs)


def moments(changes: list[Change], marks: Path, rng: random.Random, many: int) -> Iterator[tuple[int, Promised]]:
    """Moments to cut at, in order, each with what had been promised by then."""
    chosen = set(rng.sample(range(1, len(changes) + 1), many))
    promised = Promised()
    for number, change in enumerate(changes, start=1):
        if change.kind == "w" and change.path == str(marks):
            promised.hear(change.data.decode())
        if number in chosen:
            yield number, promised


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.long) for n in range(1, 4))])
def test_a_power_cut_at_any_moment_loses_nothing_that_append_had_taken(shim, tmp_path, seed):
    rng = random.Random(seed)
    child = Child(shim, tmp_path, 50_000_000)
    work_at_random(child, rng, orders=150)
    child.end()
    changes = read_log(child.log)
    cut = PowerCut(changes, child.root)
    left = tmp_path / "left"

    for moment, promised in moments(changes, child.marks, rng, CUTS):
        cut.leave(moment, left, rng)
        spool = SqliteSpool(left / "state" / "lane.spool", 50_000_000)
        spool.open()
        entries = spool.after(0, 1_000_000)
        found = [e.message.seq for e in entries]
        assert promised.must <= set(found), f"cut at {moment}: lost {sorted(promised.must - set(found))}"
        assert set(found) <= promised.may, f"cut at {moment}: never appended {sorted(set(found) - promised.may)}"
        assert found == sorted(set(found)), f"cut at {moment}: out of order"
        assert all(e.message.payload == spoolchild.payload(e.message.seq) for e in entries)
        assert spool.damaged == 0, f"cut at {moment}: taken for damage"
        spool.append([entries[0].message] if entries else [])
        spool.close()


# --- a disk that refuses --------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", ["28", "30", "5", "5 sync"])
def test_a_disk_that_refuses_is_unavailable_and_works_again_when_it_is_mended(child, trouble):
    assert child("append", first=0, count=10)["keys"] == list(range(1, 11))
    child.disk(trouble)
    for _ in range(3):
        assert child("append", first=10, count=5)["error"].startswith("UnavailableError: ")
    child.disk("")
    child("append", first=20, count=5)

    found = child("after")["seqs"]
    assert found[:10] == list(range(10)), "what was stored before stays"
    assert found[-5:] == list(range(20, 25)), "what comes after is stored"
    assert child("tell")["damaged"] == 0
    child("reopen")
    assert child("after")["seqs"] == found


@pytest.mark.parametrize("trouble", ["28", "30"])
def test_what_waits_can_be_read_and_forgotten_while_the_disk_refuses(child, trouble):
    keys = child("append", first=0, count=1000)["keys"]
    child.disk(trouble)
    assert child("after")["seqs"] == list(range(1000))
    for start in range(0, 900, 100):
        assert child("remove", keys=keys[start : start + 100]) == {}
    assert child("after")["seqs"] == list(range(900, 1000))
    assert child("tell")["len"] == 100


@pytest.mark.parametrize("trouble", ["28", "30"])
def test_a_spool_that_cannot_open_yet_opens_once_the_disk_is_mended(child, trouble):
    child.disk(trouble)
    assert child("append", first=0, count=5)["error"].startswith("UnavailableError: ")
    assert child("after")["error"].startswith("UnavailableError: ")
    child.disk("")
    child("append", first=0, count=5)
    assert child("after")["seqs"] == list(range(5))


def test_a_disk_that_fills_while_a_damaged_file_is_set_aside_costs_nothing_that_is_in_it(child):
    child("append", first=0, count=1000)
    child("reopen")
    child.kill()
    size = child.path.stat().st_size
    with child.path.open("r+b") as file:
        file.seek(size // 2 // 4096 * 4096)
        file.write(b"\x55" * 4096)
    child.disk("28")
    assert child("after")["error"].startswith("UnavailableError: ")
    child.disk("")
    found = child("after")["seqs"]
    assert len(found) > 900
    assert child("tell")["damaged"] == 1
