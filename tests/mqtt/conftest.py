from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.scripted_broker import ScriptedBroker

from edge.mqtt.codec import fastpath
from edge.mqtt.messages import MqttOptions, OnDelivery, Refusal, Steady
from edge.mqtt.session import MqttSession
from edge.mqtt.url import parse


class Outcome:
    """What became of messages, in order."""

    def __init__(self) -> None:
        self.confirmed: list[int] = []
        self.refused: list[tuple[int, str]] = []
        self.changed = threading.Condition()
        self.on_delivery = OnDelivery(self._confirm, self._refuse)

    def _confirm(self, numbers: list[int]) -> None:
        with self.changed:
            self.confirmed += numbers
            self.changed.notify_all()

    def _refuse(self, number: int, refusal: Refusal) -> None:
        with self.changed:
            self.refused.append((number, refusal.reason))
            self.changed.notify_all()

    def wait(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.confirmed) + len(self.refused) >= count, 150)


@pytest.fixture
def outcome() -> Outcome:
    return Outcome()


@pytest.fixture(params=["fast", "public"])
def way(request, monkeypatch) -> str:
    """Both ways through paho: with its private names, and as with a version that is not known."""
    if request.param == "fast":
        assert fastpath.FITS, "the installed paho is of no known version"
    monkeypatch.setattr(fastpath, "FITS", request.param == "fast")
    return request.param


@pytest.fixture
def broker() -> Iterator[ScriptedBroker]:
    broker = ScriptedBroker()
    yield broker
    broker.close()


@pytest.fixture
def session(broker) -> Iterator[Callable[..., MqttSession]]:
    """Makes sessions; a test prepares one and starts it."""
    made: list[MqttSession] = []

    def make(*, version: int | None = None, **more: Any) -> MqttSession:
        options = MqttOptions(
            parse(broker.url), "tested", status_topic="t/status", version=version, **more.pop("options", {})
        )
        made.append(MqttSession(options, **{"retry": Steady(0.02), **more}))
        return made[-1]

    yield make
    for one in made:
        one.stop(timeout_s=0.1)
