"""An input that kills the process makes no restart loop: it is left out, told and acknowledged."""

from __future__ import annotations

import errno
import json
import os
import signal
from pathlib import Path

import pytest
from support.dying import die
from support.powercut import build_shim
from support.processes import PATIENCE_S, until
from support.updating import write_model

from edge.mqtt.messages import Incoming
from edge.mqtt.redelivery import digest
from edge.storage.crash_marks import CrashMarks, digest_of

INPUT = "edge/pi/flowers/input"

KILLER = """
import ctypes, os, signal, threading, time
from edge.describe.head import HeadInfo
from edge.data.result import Regression

def in_native_thread():
    thread, abort = ctypes.c_ulong(), ctypes.cast(libc.abort, ctypes.c_void_p)
    libc.pthread_create(ctypes.byref(thread), None, abort, None)
    time.sleep(60)

def hog():
    with open(os.environ["CGROUP"], "w") as procs:
        procs.write(str(os.getpid()))
    taken = []
    while True:
        taken.append(b"x" * 2**22)

libc = ctypes.CDLL(None)
DEATHS = {
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda: ctypes.string_at(0),
    "abort": libc.abort,
    "abort in a native thread": in_native_thread,
    "abort from outside": lambda: (os.kill(os.getpid(), signal.SIGABRT), time.sleep(60)),
    "out of memory": hog,
}

class Killer:
    def __call__(self, outputs, given):
        (value, *_) = next(iter(given.tensors.values())).ravel()
        if value > 600:
            DEATHS[os.environ.get("DIES", "killed")]()
        while value < 0:
            time.sleep(1)  # it never comes back
        return [Regression("v", float(value))]

HEAD = HeadInfo(edge_api=1, create=lambda manifest, outputs: Killer())
"""


@pytest.fixture
def killer(tmp_path):
    """A decoder that takes the process with it at one value; what the environment of `edge-run` has to say for it."""
    info = tmp_path / "killer" / "killer-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: killer\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[edge.postprocess]\nkiller = killer:HEAD\n")
    (tmp_path / "killer" / "killer.py").write_text(KILLER)
    return {"PYTHONPATH": str(tmp_path / "killer")}


@pytest.fixture
def start(edge_run, flowers, broker, tmp_path, killer):
    def begin(*flags, **environ):
        return edge_run(
            *("--model", flowers.path, "--mqtt", broker.url, "--device", "pi", "--decoder", "killer"),
            *("--task", "regress", "--state-dir", tmp_path / "state", "--stats-interval", "0.5"),
            *flags,
            environ={**killer, **environ},
        )

    return begin


@pytest.mark.parametrize("instances", ["1", "2"])
def test_a_restart_loop_ends_after_three_deaths_and_the_others_have_their_results(
    start, broker, client, flowers, instances
):
    listener = client(broker.port, "edge/pi/flowers/#")
    process, deaths = start("--instances", instances), []
    listener.wait_for_text("edge/pi/flowers/status", b"online")
    for number in (1, 2, 3, 666, 5, 6, 7):
        listener.publish(INPUT, {"id": number, **flowers.rows[0], flowers.names[0]: number})

    def all_there():
        nonlocal process
        if (code := process.process.poll()) is not None:
            deaths.append(code)
            process = start("--instances", instances)  # as systemd does
        ids = {r["input_id"] for r in listener.of("result")}
        return ids == {1, 2, 3, 5, 6, 7} and bool(listener.of("error"))

    until(all_there, "the results of all others, and the error")
    assert deaths == [-signal.SIGKILL] * 3
    (error,) = listener.of("error")
    assert "the process died each time this input was under way" in error["reason"]
    until(lambda: listener.wait_for("stats")[-1]["dropped"].get("input-crash") == 1, "it is counted")


def test_a_restart_loop_ends_on_a_full_disk_too_and_the_others_have_their_results(
    start, broker, client, flowers, tmp_path
):
    listener, fails = client(broker.port, "edge/pi/flowers/#"), tmp_path / "fails"
    fails.touch()
    full = {"LD_PRELOAD": build_shim(tmp_path), "DISKSHIM_ROOT": tmp_path / "state", "DISKSHIM_FAIL": fails}
    process, deaths = start(**full), []
    listener.wait_for_text("edge/pi/flowers/status", b"online")
    fails.write_text(str(errno.ENOSPC))
    for number in (1, 666, 3):
        listener.publish(INPUT, {"id": number, **flowers.rows[0], flowers.names[0]: number})

    def all_there():
        nonlocal process
        if (code := process.process.poll()) is not None:
            deaths.append(code)
            process = start(**full)  # as systemd does
        return {r["input_id"] for r in listener.of("result")} == {1, 3} and bool(listener.of("error"))

    until(all_there, "the results of all others, and the error")
    assert deaths == [-signal.SIGKILL] * 3
    assert "a power cut would forget them" in process.said()


def test_a_file_of_a_folder_that_kills_the_process_is_left_out_too_and_said(start, broker, client, flowers, tmp_path):
    listener, folder, deaths = client(broker.port, "edge/pi/flowers/#"), tmp_path / "in", []
    folder.mkdir()
    for number in (1, 2, 666, 4, 5):
        row = {"id": number, **flowers.rows[0], flowers.names[0]: number}
        (folder / f"{number}.json").write_text(json.dumps(row))
    process = start("--source", folder, "--watch")

    def all_there():
        nonlocal process
        if (code := process.process.poll()) is not None:
            deaths.append(code)
            process = start("--source", folder, "--watch")  # as systemd does
        return {r["input_id"] for r in listener.of("result")} == {1, 2, 4, 5} and bool(listener.of("error"))

    until(all_there, "the results of all other files, and the error")
    assert deaths == [-signal.SIGKILL] * 3
    (error,) = listener.of("error")
    assert error["source"] == str(folder / "666.json")
    assert "the process died each time this input was under way" in error["reason"]


@pytest.mark.parametrize(("kind", "instances"), [("rows.csv", "2"), ("-", "1")])
@pytest.mark.parametrize("emptied", [False, True], ids=["", "where shared memory ends with the process"])
def test_a_row_of_a_file_that_kills_the_process_is_left_out_in_the_end(
    edge_run, flowers, tmp_path, killer, kind, instances, emptied
):
    """It is so in a container, whoever is process 1 there, and for a user that systemd makes."""
    memory = tmp_path / "run"
    memory.mkdir()
    rows = [f"{n},1,2,3" for n in (*range(100), 666, 7, 8)]
    file = tmp_path / "rows.csv"
    file.write_text("\n".join(rows if kind == "rows.csv" else [f"[{row}]" for row in rows]))

    def life():
        with file.open("rb") as given:
            process = edge_run(
                *("--model", flowers.path, "--mqtt", "none", "--device", "pi", "--decoder", "killer"),
                *("--task", "regress", "--source", file if kind != "-" else "-", "--state-dir", tmp_path / "state"),
                *("--instances", instances),
                environ={**killer, "RUNTIME_DIRECTORY": memory},
                stdin=given,
            )
        printed, _ = process.process.communicate(timeout=PATIENCE_S)
        for mark in memory.iterdir() if emptied else ():
            mark.unlink()
        return process.process.returncode, [json.loads(line) for line in printed.splitlines()], process.said()

    deaths = [life()[0] for _ in range(4 if emptied else 3)]  # as systemd does, or whatever looks after containers
    code, results, said = life()
    assert (set(deaths), code) == ({-signal.SIGKILL}, 0)
    assert [result["predictions"][0]["value"] for result in results] == [*range(100), 7, 8]
    assert "the process died each time this input was under way" in said


def test_an_input_that_was_under_way_when_the_process_was_killed_from_outside_is_run_again(
    edge_run, flowers, broker, client, tmp_path
):
    listener = client(broker.port, "edge/pi/flowers/#")
    payload = b"[1, 2, 3, 4]"
    known_by = digest(Incoming(INPUT, payload, 1, False, False, 1))
    die(tmp_path / "state", "pi.flowers", (known_by,))
    process = edge_run(
        *("--model", flowers.path, "--mqtt", broker.url, "--device", "pi", "--state-dir", tmp_path / "state")
    )
    listener.wait_for_text("edge/pi/flowers/status", b"online")
    for _ in range(2):
        listener.publish(INPUT, payload)
    assert [r["seq"] for r in listener.wait_for("result", 2)] == [1, 2]
    assert listener.of("error") == []
    assert process.stop() == 0
    kept = CrashMarks(tmp_path / "state", "pi.flowers")
    kept.open()
    assert not kept.suspects(known_by)
    kept.close()


def test_an_input_at_which_a_person_ends_the_process_at_once_is_not_suspected(edge_run, flowers, tmp_path, killer):
    file = tmp_path / "rows.csv"
    file.write_text("-1,1,2,3\n")
    process = edge_run(
        *("--model", flowers.path, "--mqtt", "none", "--device", "pi", "--decoder", "killer", "--task", "regress"),
        *("--source", file, "--state-dir", tmp_path / "state"),
        environ=killer,
    )
    marks = CrashMarks(tmp_path / "state", "pi.flowers")
    until(marks.left, "the input is under way")

    def ended() -> bool:
        process.process.send_signal(signal.SIGINT)  # two that come together are one
        return process.process.poll() is not None

    until(ended, "the second Ctrl-C ends it at once")
    assert process.process.returncode == 130
    assert not marks.left()


@pytest.fixture
def start_trial(edge_run, broker, tmp_path, killer):
    """A service whose model answers all, and beside it one on trial whose decoder takes the process with it."""
    model = write_model(tmp_path / "m.onnx")
    new = write_model(tmp_path / "new.onnx", "2", decoder="killer")

    def begin():
        return edge_run(
            *("--model", model, "--trial", new, "--mqtt", broker.url, "--device", "pi"),
            *("--state-dir", tmp_path / "state", "--stats-interval", "0.5"),
            environ=killer,
        )

    return begin


def test_an_input_that_kills_only_the_model_on_trial_ends_the_trial_and_not_the_service(start_trial, broker, client):
    listener = client(broker.port, "edge/pi/m/#")
    process, deaths, sent = start_trial(), [], 0

    def given_up():
        nonlocal process, sent
        if (code := process.process.poll()) is not None:
            deaths.append(code)
            process = start_trial()  # as systemd does
        sent += 1
        listener.publish("edge/pi/m/input", {"id": sent, "a": 666, "b": 0})
        return any(report["verdict"]["word"] == "broken" for report in listener.of("trial"))

    listener.wait_for_text("edge/pi/m/status", b"online")
    until(given_up, "the trial is given up")
    until(lambda: len({r["input_id"] for r in listener.of("result")}) == sent, "each input has its result")

    assert deaths == [-signal.SIGKILL] * 2
    assert process.process.poll() is None
    assert listener.of("error") == []
    reason = listener.of("trial")[-1]["verdict"]["reason"]
    assert "the process died twice while new.onnx was at work" in reason
    assert "the trial is given up" in process.said()


def test_an_input_beside_which_the_trial_was_at_work_is_not_to_blame(start_trial, broker, client, tmp_path):
    payload = b'{"a": 1, "b": 2}'
    beside = digest(Incoming("edge/pi/m/input", payload, 1, False, False, 1))
    for name, mark in (("pi.m", beside), ("pi.m", beside), ("pi.m.trial", digest_of(b"the trial"))):
        die(tmp_path / "state", name, (mark,))  # the input at two deaths, the trial at the second
    start_trial()
    listener = client(broker.port, "edge/pi/m/#")
    listener.wait_for_topic("status")
    listener.publish("edge/pi/m/input", payload)

    assert listener.wait_for("result")[0]["predictions"][0]["value"] == 5.0
    assert listener.of("error") == []


@pytest.fixture
def lives(edge_run, flowers, tmp_path, killer):
    """Lives of a service that reads rows of which one kills: how each died, and what the last said, which did not."""
    memory, file = tmp_path / "run", tmp_path / "rows.csv"
    memory.mkdir()

    def live(dies, rows, *flags, emptied=False, **environ):
        file.write_text("".join(f"{n},1,2,3\n" for n in rows))
        deaths = []
        while True:
            process = edge_run(
                *("--model", flowers.path, "--mqtt", "none", "--device", "pi", "--decoder", "killer", *flags),
                *("--task", "regress", "--source", file, "--state-dir", tmp_path / "state"),
                environ={**killer, "DIES": dies, "RUNTIME_DIRECTORY": memory, **environ},
            )
            printed, _ = process.process.communicate(timeout=PATIENCE_S)
            if process.process.returncode >= 0:
                values = [json.loads(line)["predictions"][0]["value"] for line in printed.splitlines()]
                assert values == [n for n in rows if n != 666], process.said()
                return deaths, process.said()
            deaths.append(process.process.returncode)
            assert len(deaths) < 6, "the loop does not end"
            for mark in memory.iterdir() if emptied else ():
                mark.unlink()

    return live


FAULT = "the process died of a fault in native code while this input alone was under way"
FAULTS = [
    ("segfault", signal.SIGSEGV, "Segmentation fault"),
    ("abort", signal.SIGABRT, "Aborted"),
    ("abort in a native thread", signal.SIGABRT, "Aborted"),
]


@pytest.mark.parametrize(("dies", "number", "called"), FAULTS)
def test_one_death_of_a_fault_in_native_code_is_enough(lives, dies, number, called):
    deaths, said = lives(dies, [666])
    assert deaths == [-number]
    assert FAULT in said


@pytest.mark.parametrize("instances", ["1", "2"])
def test_among_many_rows_two_deaths_of_a_fault_are_enough(lives, instances):
    deaths, said = lives("segfault", [*range(1, 100), 666, 7, 8], "--instances", instances)
    assert deaths == [-signal.SIGSEGV] * 2
    assert FAULT in said


def test_where_shared_memory_ends_with_the_process_two_deaths_of_a_fault_are_enough(lives):
    assert lives("segfault", [666], emptied=True)[0] == [-signal.SIGSEGV] * 2


def test_a_signal_from_outside_that_looks_like_a_fault_takes_three_deaths(lives):
    """As the watchdog of systemd sends it."""
    deaths, said = lives("abort from outside", [666])
    assert deaths == [-signal.SIGABRT] * 3
    assert "the process died each time this input was under way" in said


@pytest.fixture
def memory_cgroup():
    """The procs file of a memory cgroup of 64 MB."""
    mount = Path("/sys/fs/cgroup")
    first = mount / "memory" if (mount / "memory").is_dir() else mount
    group = first / f"edge-run-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as exc:
        pytest.skip(f"no cgroup can be made here: {exc}")
    try:
        limits = [group / name for name in ("memory.limit_in_bytes", "memory.max") if (group / name).exists()]
        if not limits:
            pytest.skip("cgroups here have no limit of memory")
        limits[0].write_text(str(64 * 2**20))
        yield group / "cgroup.procs"
    finally:
        until(lambda: not (group / "cgroup.procs").read_text(), "it is empty")
        group.rmdir()


def test_one_death_for_want_of_memory_is_enough(lives, memory_cgroup):
    deaths, said = lives("out of memory", [666], CGROUP=memory_cgroup)
    assert deaths == [-signal.SIGKILL]
    assert "the process was killed for want of memory while this input alone was under way" in said


def test_an_mqtt_input_that_faults_alone_costs_one_death_and_no_other_input(start, broker, client, flowers):
    listener, deaths = client(broker.port, "edge/pi/flowers/#"), []
    process = start(DIES="segfault")
    listener.wait_for_text("edge/pi/flowers/status", b"online")
    listener.publish(INPUT, {"id": 1, **flowers.rows[0], flowers.names[0]: 666})

    def told():
        nonlocal process
        if (code := process.process.poll()) is not None:
            deaths.append(code)
            process = start(DIES="segfault")  # as systemd does
        return bool(listener.of("error"))

    until(told, "the error")
    listener.publish(INPUT, {"id": 2, **flowers.rows[0], flowers.names[0]: 5})
    assert [r["input_id"] for r in listener.wait_for("result")] == [2]
    assert deaths == [-signal.SIGSEGV]
    assert FAULT in listener.of("error")[0]["reason"]
