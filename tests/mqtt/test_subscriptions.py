"""Who is given a message where several have subscribed, and filters that ask for the same topic."""

from __future__ import annotations

import pytest

from edge.mqtt.connection import Connection
from edge.mqtt.messages import Incoming
from edge.mqtt.subscriptions import Subscriptions, overlap

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


def test_two_that_subscribe_to_one_filter_are_both_given_a_message():
    came: list[str] = []
    subscriptions = Subscriptions()
    for name in ("first", "second"):
        subscriptions.add("a/+", lambda _, name=name: came.append(name), 1)
    subscriptions.handler("a/b", Connection.matches)(MESSAGE)
    assert came == ["first", "second"]


def test_what_is_let_go_is_given_to_what_takes_it_instead():
    came: list[str] = []
    subscriptions = Subscriptions()
    subscriptions.add("a/+", lambda _: came.append("run"), 1)
    subscriptions.add("other", lambda _: came.append("other"), 1)
    assert subscriptions.handler("a/b", Connection.matches) is not None  # now it is remembered
    subscriptions.let_go(["a/#"], lambda _: came.append("acknowledged"))
    for topic in ("a/b", "other"):
        subscriptions.handler(topic, Connection.matches)(MESSAGE)
    assert came == ["acknowledged", "other"]
