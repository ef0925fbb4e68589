"""Work that the session's thread does for others: the outbox of its sink."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from support.processes import free_port

from edge.errors import SpoolError
from edge.mqtt.messages import MqttOptions, Steady
from edge.mqtt.session import MqttSession
from edge.mqtt.url import BrokerUrl


class CountingWorker:
    """Wants no turn of its own accord."""

    def __init__(self) -> None:
        self.threads: list[str] = []
        self.turned = threading.Semaphore(0)
        self.ended = False

    def turn(self) -> float:
        self.threads.append(threading.current_thread().name)
        self.turned.release()
        return float("inf")

    def end(self) -> None:
        self.ended = True


@pytest.fixture
def away() -> Iterator[MqttSession]:
    """A session whose broker is away, with an hour between tries."""
    session = MqttSession(MqttOptions(BrokerUrl("mqtt", "127.0.0.1", free_port()), "loop"), retry=Steady(3600.0))
    yield session
    session.stop()


def test_a_worker_has_its_turns_in_the_session_s_thread_also_while_the_broker_is_away(away):
    worker = CountingWorker()
    away.attach(worker)
    away.start()
    assert worker.turned.acquire(timeout=150)
    assert set(worker.threads) == {"mqtt"}


def test_wake_gives_a_turn_at_once(away):
    worker = CountingWorker()
    away.attach(worker)
    away.start()
    for _ in range(20):  # more turns than the thread takes by itself in the time
        away.waker.wake()
        assert worker.turned.acquire(timeout=150)


def test_a_worker_is_told_that_the_thread_ends(away):
    worker = CountingWorker()
    away.attach(worker)
    away.start()
    assert worker.turned.acquire(timeout=150)
    assert not worker.ended
    away.stop()
    assert worker.ended


def test_an_error_in_a_turn_is_told(away):
    told: list[object] = []

    class Broken:
        def turn(self) -> float:
            raise ValueError("a bug")

        def end(self) -> None:
            told.append("ended")

    heard = threading.Event()
    threading.excepthook, before = lambda _: None, threading.excepthook
    session = MqttSession(away.options, failed=lambda exc: (told.append(exc), heard.set()), retry=Steady(3600.0))
    session.attach(Broken())
    try:
        session.start()
        assert heard.wait(150)
        session.stop()
    finally:
        threading.excepthook = before
    assert [str(one) for one in told] == ["a bug", "ended"]


def test_an_error_that_ends_the_process_with_a_code_of_its_own_is_told_without_a_traceback(away, capfd):
    class Refused(CountingWorker):
        def turn(self) -> float:
            raise SpoolError("state is a file")

    told: list[BaseException] = []
    heard = threading.Event()
    session = MqttSession(away.options, failed=lambda exc: (told.append(exc), heard.set()))
    session.attach(Refused())
    session.start()
    assert heard.wait(150)
    session.stop()
    assert [str(exc) for exc in told] == ["state is a file"]
    assert "Traceback" not in capfd.readouterr().err


def test_workers_have_their_turns_while_a_name_server_does_not_answer(away, monkeypatch):
    asked, answers = threading.Event(), threading.Event()

    def slow(*_args, **_more):
        asked.set()
        answers.wait(150)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    worker = CountingWorker()
    away.attach(worker)
    away.start()
    try:
        assert asked.wait(150)
        for _ in range(3):
            while worker.turned.acquire(blocking=False):
                continue
            away.waker.wake()
            assert worker.turned.acquire(timeout=150)
        away.stop()
        assert worker.ended
    finally:
        answers.set()


def test_a_worker_whose_fatal_error_is_its_own_is_left_out_and_the_others_go_on(away):
    class Fallible(CountingWorker):
        told: BaseException | None = None

        def turn(self) -> float:
            raise SpoolError("state is a file")

        def failed(self, exc: BaseException) -> None:
            self.told = exc

    broken, well = Fallible(), CountingWorker()
    for worker in (broken, well):
        away.attach(worker)
    away.start()
    for _ in range(3):
        away.waker.wake()
        assert well.turned.acquire(timeout=150)
    assert str(broken.told) == "state is a file"
