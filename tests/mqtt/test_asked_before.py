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


@pytest.fixture
def with_a_run_that_cannot_begin(tmp_path):
    """The filters that are asked for, and those given up: `wide` is a run's that cannot begin, or does."""

    def made(wide: str, *topics: str, begins: bool, resumed: bool = True) -> tuple[set[str], list[str]]:
        subscriptions = Subscriptions()
        subscriptions.before = AskedBefore(tmp_path, "mqtt://broker", "device", gives_up=begins)
        for topic in (wide, *topics):
            subscriptions.expect(topic, handler := lambda _: None)
            if topic != wide or begins:
                subscriptions.add(topic, handler, 1)
        given_up = subscriptions.needless()
        asked = set(subscriptions.missing(resumed=resumed))
        subscriptions.answered()
        return asked, given_up

    return made


def test_what_the_broker_holds_for_a_run_that_cannot_begin_is_not_asked_for_twice(with_a_run_that_cannot_begin):
    life = with_a_run_that_cannot_begin
    assert life("a/#", "a/b", begins=True, resumed=False) == ({"a/#"}, ["a/b"])
    assert life("a/#", "a/b", begins=False) == (set(), ["a/b"])
    assert life("a/#", "a/b", begins=True) == ({"a/#"}, ["a/b"])


def test_where_the_broker_has_lost_it_the_others_ask_for_their_own(with_a_run_that_cannot_begin):
    life = with_a_run_that_cannot_begin
    life("a/#", "a/b", begins=True, resumed=False)
    assert life("a/#", "a/b", begins=False, resumed=False)[0] == {"a/b"}
    assert life("a/#", "a/b", begins=False) == ({"a/b"}, [])


def test_what_another_one_covered_was_never_held(with_a_run_that_cannot_begin):
    life = with_a_run_that_cannot_begin
    life("a/+", "a/#", begins=True, resumed=False)
    assert life("a/+", "a/b", begins=False) == ({"a/b"}, [])
