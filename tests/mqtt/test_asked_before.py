"""Filters of earlier lives: given up where nothing asks for them any more."""

from __future__ import annotations

import pytest

from edge.mqtt.asked_before import AskedBefore
from edge.mqtt.subscriptions import Subscriptions


@pytest.fixture
def life(tmp_path):
    """What is given up in a life that asks for these, whose broker answers or not."""

    def made(*topics: str, answered: bool = True) -> list[str]:
        subscriptions = Subscriptions()
        subscriptions.before = AskedBefore(tmp_path, "mqtt://broker", "device")
        subscriptions.add("edge/pi/m/set", lambda _: None, 0)
        for topic in topics:
            subscriptions.add(topic, lambda _: None, 1)
        given_up = subscriptions.needless()
        assert set(topics) <= set(subscriptions.missing(resumed=True))
        if answered:
            subscriptions.answered()
        return given_up

    return made


def test_what_only_an_earlier_life_asked_for_is_given_up_once(life):
    assert [life("a/b"), life("a/b"), life("a/+"), life("a/+")] == [[], [], ["a/b"], []]


def test_until_the_broker_has_answered_it_may_hold_both(life):
    life("a")
    life("b", answered=False)
    assert life("c") == ["a", "b"]


def test_of_another_client_nothing_is_given_up(life, tmp_path):
    life("a")
    assert AskedBefore(tmp_path, "mqtt://broker", "another").stale([]) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff"])
def test_a_file_that_cannot_be_read_is_as_none(life, tmp_path, content):
    life("a")
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)
    assert [life("b"), life("c")] == [[], ["b"]]
