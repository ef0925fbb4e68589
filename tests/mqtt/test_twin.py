"""Another service on the same topics is told of where it lives, and not where the broker had only kept its words."""

from __future__ import annotations

import json

import pytest

from edge.mqtt.topics import Topics
from edge.mqtt.twin import TwinWatch
from edge.testing.fakes import FakeClock


class Watched:
    def __init__(self):
        self.clock = FakeClock()
        self.said = []
        self.watch = TwinWatch(
            "ours", Topics("edge/pi/m"), self.clock,
            answer=lambda: self.said.append("stats"), changed=lambda: self.said.append(f"info {self.watch.there}"),
        )  # fmt: skip

    def hear(self, boot, uptime_s=None):
        more = {} if uptime_s is None else {"uptime_s": uptime_s}
        self.watch.heard(json.dumps({"boot": boot, "schema": 1, **more}).encode())
        self.watch.tick()


@pytest.fixture
def watched():
    return Watched()


def test_one_whose_uptime_grows_while_it_is_heard_is_there(watched, caplog):
    watched.hear("other", 100.0)
    watched.clock.advance(2)
    watched.hear("other", 102.0)
    assert watched.watch.there == "other"
    assert watched.said[-1] == "info other"
    assert caplog.text.count("another service publishes on our topics") == 1


def test_what_the_broker_had_kept_comes_at_once_and_is_nobody(watched):
    for uptime_s in (100.0, 160.0, 220.0):
        watched.hear("earlier", uptime_s)
    watched.clock.advance(30)
    watched.watch.tick()
    assert watched.watch.there == ""


def test_our_own_words_are_passed_over(watched):
    for _ in range(5):
        watched.hear("ours", watched.clock.monotonic_ns() / 1e9)
        watched.clock.advance(1)
    assert watched.said == []


def test_it_is_answered_so_that_both_hear_of_each_other_soon_and_not_for_ever(watched):
    for _ in range(30):
        watched.hear("other")
        watched.clock.advance(1)
    assert watched.said == ["stats"] * 5


def test_when_it_is_silent_that_is_told(watched, caplog):
    caplog.set_level("INFO")
    watched.hear("other", 1.0)
    watched.clock.advance(2)
    watched.hear("other", 3.0)
    watched.clock.advance(300)
    watched.watch.tick()
    assert watched.watch.there == ""
    assert watched.said[-1] == "info "
    assert "silent" in caplog.text


@pytest.mark.parametrize(
    "payload", [b"", b"\xff", b"[]", b'{"boot": 7}', b'{"uptime_s": 1}', b'{"boot": "\xff"}', b'{"x": ' + b"[" * 99_999]
)
def test_what_is_no_word_of_a_service_harms_nobody(watched, payload):
    watched.watch.heard(payload)
    watched.watch.tick()
    assert watched.said == []
