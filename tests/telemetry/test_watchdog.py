"""systemd's readiness and watchdog, against a real socket."""

from __future__ import annotations

import os
import socket

import pytest

from edge.telemetry.watchdog import Heartbeats, Notifier, Together, Watchdog
from edge.testing.fakes import FakeClock


class Manager:
    """The service manager's end of the socket."""

    def __init__(self, address: str, watchdog_s: float | None = None) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)
        self.environment = {"NOTIFY_SOCKET": address}
        if watchdog_s is not None:
            self.environment |= {"WATCHDOG_USEC": str(int(watchdog_s * 1e6)), "WATCHDOG_PID": str(os.getpid())}

    def heard(self) -> list[str]:
        messages = []
        while True:
            try:
                messages.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return messages

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def manager(tmp_path):
    manager = Manager(str(tmp_path / "notify"), watchdog_s=30)
    yield manager
    manager.close()


def test_threads_are_alive_only_while_all_of_them_beat(clock):
    hearts = Heartbeats(clock)
    hearts.beat("capture")
    hearts.beat("infer")
    clock.advance(8)
    hearts.beat("infer")
    assert not hearts.late(10)
    clock.advance(3)
    assert hearts.late(10) == ["capture"]
    hearts.beat("capture")
    assert not hearts.late(10)


def test_a_thread_that_has_ended_as_it_should_is_not_waited_for(clock):
    hearts = Heartbeats(clock)
    hearts.beat("capture")
    hearts.beat("infer")
    hearts.beat("-capture")
    clock.advance(5)
    hearts.beat("infer")
    clock.advance(8)
    assert not hearts.late(10)


def test_the_manager_hears_that_the_service_is_ready_and_that_it_stops(manager, clock):
    dog = Watchdog(Heartbeats(clock), clock, manager.environment)
    dog.ready("digits on camera:0")
    dog.stopping("sending the last results")
    assert manager.heard() == ["READY=1\nSTATUS=digits on camera:0", "STOPPING=1\nSTATUS=sending the last results"]


def test_the_manager_hears_of_a_new_beginning_and_not_of_an_end(manager, clock):
    """After STOPPING=1 it would kill the process, which does not end."""
    Watchdog(Heartbeats(clock), clock, manager.environment).restarting("another model")
    (heard,) = manager.heard()
    assert heard.splitlines() == [
        "RELOADING=1",
        f"MONOTONIC_USEC={clock.monotonic_ns() // 1000}",
        "STATUS=another model",
    ]


def test_the_watchdog_is_fed_at_half_its_time(manager, clock):
    hearts = Heartbeats(clock)
    dog = Watchdog(hearts, clock, manager.environment)
    fed_at = []
    for quarter in range(61 * 4):
        hearts.beat("infer")
        dog.tick()
        if "WATCHDOG=1" in manager.heard():
            fed_at.append(quarter / 4)
        clock.advance(0.25)
    assert fed_at == [0, 15, 30, 45, 60]


def test_the_watchdog_goes_hungry_while_a_thread_hangs_and_is_told_which(manager, clock):
    hearts = Heartbeats(clock)
    dog = Watchdog(hearts, clock, manager.environment)
    hearts.beat("lane-mqtt")
    for _ in range(31):
        hearts.beat("infer")
        clock.advance(1)
    assert dog.tick() == ["lane-mqtt"]
    assert manager.heard() == ["STATUS=hangs: lane-mqtt"]
    hearts.beat("lane-mqtt")
    assert dog.tick() == []
    assert manager.heard() == ["WATCHDOG=1"]


def test_a_status_is_sent_when_it_changes(manager, clock):
    dog = Watchdog(Heartbeats(clock), clock, manager.environment)
    dog.tick("broker away")
    dog.tick("broker away")
    dog.tick("connected")
    assert [m for m in manager.heard() if m.startswith("STATUS")] == ["STATUS=broker away", "STATUS=connected"]


def test_an_abstract_socket_is_reached_too():
    manager = Manager(f"@edge-run-test-{os.getpid()}")
    try:
        assert Notifier(manager.environment).send("READY=1")
        assert manager.heard() == ["READY=1"]
    finally:
        manager.close()


@pytest.mark.parametrize("address", ["", "/nobody/listens/here", "vsock:2:1234"])
def test_without_a_manager_nothing_happens(clock, address):
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"}
    dog = Watchdog(Heartbeats(clock), clock, environment)
    dog.ready("up")
    assert dog.tick("still up") == []


def test_the_watchdog_of_another_process_is_not_fed(manager, clock):
    Watchdog(Heartbeats(clock), clock, manager.environment | {"WATCHDOG_PID": "1"}).tick()
    assert manager.heard() == []


def test_of_several_runs_the_process_hangs_where_each_of_them_does(clock):
    process, one, two = Heartbeats(clock), Heartbeats(clock), Heartbeats(clock)
    together = Together(process, {"one": one, "two": two})
    for hearts in (one, two):
        hearts.beat("infer")
    clock.advance(10)
    two.beat("infer")
    assert together.late(5) == []
    clock.advance(10)
    assert together.late(5) == ["infer"]
    one.forget()  # it has ended, as it should
    two.beat("infer")
    assert together.late(5) == []
    process.beat("mqtt")
    clock.advance(10)
    two.beat("infer")
    assert together.late(5) == ["mqtt"]


def test_one_run_that_hangs_has_the_process_restarted_where_that_is_worth_it(clock):
    process, one, two = Heartbeats(clock), Heartbeats(clock), Heartbeats(clock)
    asked: list[str] = []
    together = Together(process, {"one": one, "two": two}, lambda name: bool(asked.append(name)) or name == "two")
    for hearts in (one, two):
        hearts.beat("infer")
    clock.advance(10)
    two.beat("infer")
    assert together.late(5) == []
    one.beat("infer")
    clock.advance(10)
    one.beat("infer")
    assert together.late(5) == ["infer"]
    assert asked == ["one", "two"]
