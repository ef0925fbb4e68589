"""What a process died of is known in the next life, and tells whether an input is to blame at once."""

from __future__ import annotations

import faulthandler
import json
import signal

import pytest
from support import dying

from edge.data.sample import Sample
from edge.runtime.crash_guard import CrashGuard
from edge.storage import death_cause
from edge.storage.crash_marks import FAULT, MEMORY, OTHER, CrashMarks, digest_of
from edge.storage.death_cause import Fault

BESIDE, BAD = digest_of(b"beside"), digest_of(b"bad")


@pytest.fixture
def vmstat(tmp_path, monkeypatch):
    """The kernel's count of whom it killed for want of memory."""
    file = tmp_path / "vmstat"
    monkeypatch.setattr(death_cause, "VMSTAT", file)

    def write(killed):
        file.write_text(f"oom_killer_ran 9\noom_kill {killed}\nnuma_hit 1\n")
        return file

    write(3)
    return write


@pytest.fixture
def volatile(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


@pytest.fixture
def die(tmp_path, vmstat, volatile):
    """A life that ends so while it works on inputs with these digests."""

    def end(dies, *digests, works="alone"):
        return dying.die(
            tmp_path / "state", "pi.m", digests, volatile=volatile, dies=dies, works=works, vmstat=tmp_path / "vmstat"
        )

    return end


@pytest.fixture
def marks(tmp_path, volatile):
    """The life after; it takes over what the one before left."""
    made = []

    def start(works="alone", model="one"):
        marks = CrashMarks(tmp_path / "state", "pi.m", volatile, works=works, workers=["<string>"], model=model)
        made.append(marks)
        made[-1].open()
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.mark.parametrize(
    ("dies", "code"),
    [
        ("segfault", -signal.SIGSEGV),
        ("abort", -signal.SIGABRT),
        ("abort in a native thread", -signal.SIGABRT),
    ],
)
def test_one_death_of_a_fault_convicts_an_input_that_was_under_way_alone(die, marks, dies, code):
    assert die(dies, BAD) == code
    after = marks()
    assert after.convicted(BAD)
    assert after.cause(BAD) == FAULT


def test_of_several_under_way_none_is_convicted_at_once_and_the_one_that_dies_alone_is_at_the_second(die, marks):
    die("segfault", BESIDE, BAD)
    after = marks()
    assert (after.suspects(BESIDE), after.convicted(BESIDE), after.convicted(BAD)) == (True, False, False)
    after.close()
    die("segfault", BAD)
    after = marks()
    assert (after.convicted(BESIDE), after.convicted(BAD)) == (False, True)


def test_what_was_under_way_beside_one_that_is_not_known_again_is_not_convicted(die, marks):
    die("segfault", BAD, OTHER)
    after = marks()
    assert (after.suspects(BAD), after.convicted(BAD)) == (True, False)
    assert not after.suspects(OTHER)


def test_who_kills_the_process_from_outside_twice_convicts_nobody(die, marks):
    die("kill", BAD)
    die("kill", BAD)
    assert not marks().convicted(BAD)


@pytest.mark.parametrize("works", ["alone", "beside"])
def test_a_fault_in_a_thread_that_works_on_no_input_convicts_nobody(die, marks, works):
    die("abort elsewhere", BAD, works=works)
    assert not marks().convicted(BAD)


@pytest.mark.parametrize(("dies", "convicted"), [("segfault", True), ("abort in a native thread", False)])
def test_where_requests_are_worked_on_beside_the_thread_has_to_be_one_of_the_flow_s(die, marks, dies, convicted):
    die(dies, BAD, works="beside")
    assert marks().convicted(BAD) == convicted


def test_of_several_runs_in_one_process_none_tells_what_it_died_of(die, marks):
    die("segfault", BAD, works="")
    assert not marks().convicted(BAD)


@pytest.mark.parametrize("dies", ["segfault", "kill"])
def test_a_death_of_a_model_that_runs_no_more_convicts_nobody(die, marks, vmstat, dies):
    """As where an update is taken back."""
    die(dies, BAD)
    vmstat(4)
    after = marks(model="the one before")
    assert (after.suspects(BAD), after.convicted(BAD)) == (True, False)


def test_a_model_that_takes_over_is_noted(marks, tmp_path):
    alive = marks()
    alive.follow("the next")
    assert json.loads((tmp_path / "state" / "pi.m.alive.json").read_bytes())["model"] == "the next"


def test_a_fault_counts_for_one_death_only(die, marks):
    die("segfault", BESIDE)
    die("kill", BAD)
    after = marks()
    assert (after.convicted(BESIDE), after.convicted(BAD)) == (True, False)


def test_one_death_for_want_of_memory_convicts_an_input_that_was_under_way_alone(die, marks, vmstat):
    die("kill", BAD)
    vmstat(4)
    after = marks()
    assert after.convicted(BAD)
    assert after.cause(BAD) == MEMORY


def test_memory_that_may_have_been_a_request_s_convicts_nobody(die, marks, vmstat):
    die("kill", BAD, works="beside")
    vmstat(4)
    assert not marks().convicted(BAD)


@pytest.fixture
def killed(volatile, tmp_path):
    """Ends a life in this process as a kill does."""

    def kill(alive):
        files = [*volatile.iterdir(), tmp_path / "state" / "pi.m.alive.json"]
        left = [file.read_bytes() for file in files]
        alive.close()
        for file, kept in zip(files, left, strict=True):
            file.write_bytes(kept)

    return kill


def test_what_the_kernel_killed_for_memory_before_it_was_looked_at_last_is_another_s(marks, vmstat, killed):
    alive = marks()
    alive.slot().mark(BAD)
    vmstat(4)
    CrashGuard(alive).tick()
    killed(alive)

    after = marks()
    assert (after.suspects(BAD), after.convicted(BAD)) == (True, False)


def test_an_input_beside_one_of_qos_0_is_not_under_way_alone(marks, vmstat, killed, tmp_path, volatile):
    alive = CrashMarks(tmp_path / "state", "pi.m", volatile, works="alone")
    guard = CrashGuard(alive)
    guard.open()
    guard.mark("infer", [Sample(None, "test", 0, 0, digest=digest) for digest in (BAD, None)])
    killed(alive)
    vmstat(4)

    after = marks(model="")
    assert (after.suspects(BAD), after.convicted(BAD)) == (True, False)


def test_a_fault_is_told_at_the_next_start_with_its_place(die, marks, caplog):
    die("segfault", BAD)
    marks()
    (told,) = [record for record in caplog.records if record.message == "the process died of a fault"]
    assert told.signal == "Segmentation fault"
    assert told.at.startswith("string_at (ctypes/__init__.py:")


def test_where_shared_memory_ends_with_the_process_one_more_death_is_enough(die, marks, volatile):
    for _ in range(2):
        die("segfault", BAD)
        for file in volatile.iterdir():
            file.unlink()
    assert marks().convicted(BAD)


def test_who_has_faulthandler_already_keeps_it(marks, monkeypatch):
    monkeypatch.delenv("PYTHONFAULTHANDLER", raising=False)
    assert faulthandler.is_enabled()  # pytest's
    marks().close()
    assert faulthandler.is_enabled()


def test_the_thread_at_fault_is_the_current_one_and_where_there_is_none_it_is_a_native_one():
    text = (
        "Fatal Python error: Bus error\n\nThread 0x00007f01 (most recent call first):\n"
        '  File "/a/inference.py", line 1 in run\n\n'
        'Current thread 0x00007f02 [infer] (most recent call first):\n  File "/a/b/c.py", line 7 in call\n'
        '  File "/a/d.py", line 8 in run\n\nExtension modules: x.y (total: 1)\n'
    )
    fault, native = Fault(text), Fault(text.replace("Current thread", "Thread"))
    assert (fault.signal, fault.native, fault.place) == ("Bus error", False, "call (b/c.py:7) < run (a/d.py:8)")
    assert (fault.within(["/a/d.py"]), fault.within(["/a/inference.py"])) == (True, False)
    assert (native.native, native.place, native.within(["/a/d.py"])) == (True, "a thread of a native library", False)
