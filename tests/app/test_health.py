"""`edge-run --healthy`: the service's socket, and the command against a service that lives, hangs and dies."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.processes import BINARIES, PATIENCE_S, until

from edge.app import health
from edge.app.health import HealthSocket
from edge.telemetry.clock import SystemClock
from edge.testing.fakes import FakeClock


def well(within_s: float) -> list[str]:
    """No thread is late."""
    return []


@contextlib.contextmanager
def answering(sock: HealthSocket) -> Iterator[None]:
    """The service's main thread: it answers until the end."""
    done = threading.Event()

    def main() -> None:
        while not done.wait(0.01):
            sock.tick()

    thread = threading.Thread(target=main)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.fixture
def service(tmp_path) -> Iterator[HealthSocket]:
    sock = HealthSocket(tmp_path, "pi.digits", well, FakeClock())
    sock.open()
    yield sock
    sock.close()


def test_a_service_that_answers_is_healthy(service, tmp_path, capsys):
    with answering(service):
        assert health.examine(tmp_path) == 0
    assert capsys.readouterr().out == f"healthy: pi.digits.{os.getpid()}, up 0 s\n"


def test_a_thread_without_progress_is_named(tmp_path, capsys):
    sock = HealthSocket(tmp_path, "pi.digits", lambda within_s: ["capture", "lane-mqtt"], SystemClock())
    sock.open()
    with answering(sock):
        assert health.examine(tmp_path) == 1
    sock.close()
    assert "no progress for 60 s in capture, lane-mqtt" in capsys.readouterr().out


def test_a_service_that_does_not_answer_hangs(service, tmp_path, capsys):
    assert health.examine(tmp_path, answer_within_s=0.05) == 1
    assert "no answer within 0.05 s, it hangs" in capsys.readouterr().out


def test_a_service_whose_waiting_line_is_full_hangs(service, tmp_path, capsys):
    codes = [health.examine(tmp_path, answer_within_s=0.01) for _ in range(health.WAITING_MOST + 3)]
    assert set(codes) == {1}
    with answering(service):
        until(lambda: health.examine(tmp_path) == 0, "it is healthy again")


def test_each_service_of_the_folder_has_to_be_well(service, tmp_path, capsys):
    left_behind(tmp_path / "pi.other.77.health")
    with answering(service):
        assert health.examine(tmp_path) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"healthy: pi.digits.{os.getpid()}, up 0 s",
        "unhealthy: pi.other.77: the process has died",
    ]


def test_the_next_start_clears_what_a_killed_process_left_and_nothing_else(service, tmp_path):
    dead, kept = tmp_path / "pi.digits.1.health", tmp_path / "pi.digits.mqtt.spool"
    left_behind(dead)
    kept.write_bytes(b"")
    other = HealthSocket(tmp_path, "pi.other", well, SystemClock())
    other.open()
    names = {p.name for p in tmp_path.iterdir()}
    other.close()
    assert names == {f"pi.digits.{os.getpid()}.health", f"pi.other.{os.getpid()}.health", kept.name}


def test_without_a_service_the_check_says_so(tmp_path, capsys):
    assert health.examine(tmp_path) == 1
    assert health.examine(tmp_path / "absent") == 1
    first, second = capsys.readouterr().out.splitlines()
    assert "no edge-run runs with --state-dir" in first
    assert "no edge-run has it for its --state-dir" in second


def test_a_clean_end_leaves_no_file(service, tmp_path):
    service.close()
    assert list(tmp_path.iterdir()) == []
    service.close()


def test_a_state_folder_with_a_long_path_will_do(tmp_path, capsys):
    folder = tmp_path / ("long" * 30) / ("longer" * 20)
    sock = HealthSocket(folder, "device" * 20 + ".digits", well, SystemClock())
    sock.open()
    with answering(sock):
        assert health.examine(folder) == 0
    sock.close()


def test_two_long_names_that_begin_alike_are_two_runs(tmp_path, capsys):
    device = "a-device-with-a-name-" * 4
    sockets = [HealthSocket(tmp_path, f"{device}.{run}", well, SystemClock()) for run in ("door", "yard")]
    for sock in sockets:
        sock.open()
    with answering(sockets[0]), answering(sockets[1]):
        assert health.examine(tmp_path) == 0
    for sock in sockets:
        sock.close()
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_folder_that_cannot_be_written_is_said_once_and_tried_again(tmp_path, caplog):
    blocked = tmp_path / "state"
    blocked.write_text("a file in its place")
    clock = FakeClock()
    sock = HealthSocket(blocked, "pi.digits", well, clock)
    sock.open()
    clock.advance(health.RETRY_S + 1)
    sock.tick()
    assert caplog.text.count("will not find this process") == 1
    blocked.unlink()
    clock.advance(health.RETRY_S + 1)
    sock.tick()
    assert len(list(blocked.glob("*.health"))) == 1
    sock.close()


def test_who_asks_and_goes_away_does_no_harm(service, tmp_path):
    for _ in range(3):
        with socket.socket(socket.AF_UNIX) as asker:
            asker.connect(str(next(tmp_path.glob("*.health"))))
    service.tick()
    with answering(service):
        assert health.examine(tmp_path) == 0


def left_behind(path: Path) -> None:
    """The socket's file of a process that was killed."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


# --- the command ------------------------------------------------------------------------------------


class Device:
    """A service with a broker and a state folder, and who asks for its health."""

    def __init__(self, edge_run, flowers, broker, state: Path) -> None:
        self._start = lambda: edge_run("--model", flowers.path, "--mqtt", broker.url, "--state-dir", state)
        self._state = state
        self.service = self._start()

    def again(self) -> None:
        self.service = self._start()

    def check(self) -> subprocess.CompletedProcess[str]:
        command = [BINARIES / "edge-run", "--healthy", "--state-dir", self._state]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)

    def wait_until_healthy(self) -> None:
        until(lambda: self.check().returncode == 0, "the service is healthy")


@pytest.fixture
def device(edge_run, flowers, broker, tmp_path) -> Device:
    made = Device(edge_run, flowers, broker, tmp_path / "state")
    made.wait_until_healthy()
    return made


def test_a_running_service_is_healthy_also_while_its_broker_is_away(device, broker):
    assert ".flowers." in device.check().stdout
    broker.end()
    device.service.wait_until_said("unavailable")
    assert device.check().returncode == 0


def test_a_stopped_process_is_unhealthy_until_it_goes_on(device, tmp_path, capsys):
    device.service.process.send_signal(signal.SIGSTOP)
    # The command itself waits longer, in vain: a stopped process answers nobody.
    hung = health.examine(tmp_path / "state", answer_within_s=0.1)
    device.service.process.send_signal(signal.SIGCONT)
    assert (hung, "it hangs" in capsys.readouterr().out) == (1, True)
    device.wait_until_healthy()


def test_a_killed_process_is_unhealthy_until_it_is_started_again(device):
    device.service.stop(signal.SIGKILL)
    dead = device.check()
    assert (dead.returncode, "the process has died" in dead.stdout) == (1, True)
    device.again()
    device.wait_until_healthy()


def test_a_service_that_ended_cleanly_is_no_longer_there(device):
    assert device.service.stop() == 0
    ended = device.check()
    assert (ended.returncode, "no edge-run runs" in ended.stdout) == (1, True)


def test_the_check_needs_no_model_and_imports_no_engine(tmp_path):
    code = (
        "import sys; from edge.cli import run; run.run(['--healthy', '--state-dir', sys.argv[1]]);"
        "print([m for m in ('numpy', 'onnxruntime', 'paho', 'cv2', 'sqlite3') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[-1] == "[]"
