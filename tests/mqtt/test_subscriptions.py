"""Who is given a message where several have subscribed, and filters that ask for the same topic."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edge.mqtt.connection import Connection
from edge.mqtt.messages import Incoming
from edge.mqtt.subscriptions import Subscriptions, covers, overlap

MESSAGE = Incoming("a/b", b"", 1, False, False, 1)


@pytest.mark.parametrize(
    ("one", "other", "so"),
    [
        ("a/b", "a/b", True), ("a/b", "a/c", False), ("a/+", "a/b", True), ("a/+", "+/b", True), ("a/#", "a/b/c", True),
        ("a/#", "a", True), ("a/+", "a/b/c", False), ("a/b", "a", False), ("#", "x/y", True), ("a/+/c", "a/b/+", True),
        ("a/+/c", "a/b/d", False), ("$share/g/a/b", "a/+", True), ("a/b/#", "a/+", True),
    ],
)  # fmt: skip
def test_filters_overlap_where_one_topic_is_asked_for_by_both(one, other, so):
    assert (overlap(one, other), overlap(other, one)) == (so, so)


@pytest.mark.parametrize(
    ("wide", "narrow", "so"),
    [
        ("a/b", "a/b", True), ("a/+", "a/b", True), ("a/b", "a/+", False), ("a/#", "a/b/c", True), ("a/#", "a", True),
        ("a/#", "a/#", True), ("a/+", "a/#", False), ("a/+", "+/b", False), ("#", "x/y", True), ("#", "$SYS/x", False),
        ("$SYS/#", "$SYS/x", True), ("a/+", "a/b/c", False), ("a/+/c", "a/+/c/d", False), ("+/+", "a", False),
        ("$share/g/a/#", "a/b", False), ("a/#", "$share/g/a/b", False), ("$share/g/a", "$share/g/a", True),
    ],
)  # fmt: skip
def test_a_filter_covers_another_one_where_it_asks_for_all_of_it(wide, narrow, so):
    assert covers(wide, narrow) is so


class Came:
    """What handlers were given, by name."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def handler(self, name: str) -> Callable[[Incoming], None]:
        return lambda _: self.names.append(name)

    def give(self, subscriptions: Subscriptions, topic: str) -> list[str]:
        """Who is given a message of this topic."""
        self.names.clear()
        handler, runs = subscriptions.route(topic, Connection.matches)
        for one in (handler, *runs):
            if one is not None:
                one(MESSAGE)
        return self.names


@pytest.fixture
def came() -> Came:
    return Came()


def test_two_that_subscribe_to_one_filter_are_both_given_a_message(came):
    subscriptions = Subscriptions()
    for name in ("first", "second"):
        subscriptions.add("a/+", came.handler(name), 1)
    assert came.give(subscriptions, "a/b") == ["first", "second"]


def test_what_is_let_go_is_given_to_what_takes_it_instead_and_inputs_are_not(came):
    subscriptions = Subscriptions()
    subscriptions.add("a/b", came.handler("gone"), 0)
    subscriptions.add("other", came.handler("other"), 1)
    subscriptions.expect("a/#", came.handler("run"))
    assert came.give(subscriptions, "a/b") == ["gone"]  # now it is remembered
    subscriptions.let_go(["a/b", "a/c"], came.handler("acknowledged"))
    assert [came.give(subscriptions, topic)[:] for topic in ("a/b", "other", "a/c")] == [
        ["acknowledged"], ["other"], ["run"],
    ]  # fmt: skip


def test_runs_that_hear_one_topic_are_all_given_it_and_the_wider_filter_alone_is_asked_for(came):
    subscriptions = Subscriptions()
    for name, topic in (("wide", "a/#"), ("narrow", "a/b"), ("same", "a/b"), ("else", "x")):
        handler = came.handler(name)
        subscriptions.expect(topic, handler)
        subscriptions.add(topic, handler, 1)
    assert sorted(came.give(subscriptions, "a/b")) == ["narrow", "same", "wide"]
    assert came.give(subscriptions, "a/c") == ["wide"]
    assert subscriptions.missing(resumed=False) == {"a/#": 1, "x": 1}
    assert subscriptions.needless() == ["a/b"]


def test_a_run_that_has_not_subscribed_is_given_what_comes_and_asks_for_nothing(came):
    subscriptions = Subscriptions()
    subscriptions.expect("a/#", came.handler("broken"))
    handler = came.handler("good")
    subscriptions.expect("a/b", handler)
    subscriptions.add("a/b", handler, 1)
    assert sorted(came.give(subscriptions, "a/b")) == ["broken", "good"]
    assert subscriptions.missing(resumed=True) == {"a/b": 1}
    assert subscriptions.needless() == []


def test_what_the_service_asks_for_is_an_input_only_of_a_run_that_names_it(came):
    subscriptions = Subscriptions()
    subscriptions.add("e/pi/m/stats", came.handler("service"), 0)
    subscriptions.expect("e/#", came.handler("wide"))
    assert came.give(subscriptions, "e/pi/m/stats") == ["service"]
    subscriptions.expect("e/pi/m/stats", came.handler("exact"))
    assert came.give(subscriptions, "e/pi/m/stats") == ["service", "exact"]
