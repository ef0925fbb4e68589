"""A message that ends connections is found, and only that one."""

from __future__ import annotations

import itertools
import time

import pytest

from edge.mqtt import too_large
from edge.mqtt.codec.packets import publication, refusal
from edge.mqtt.messages import PROBE, OnDelivery, Outgoing, ProtocolChoice
from edge.mqtt.publish_queue import PublishQueue
from edge.mqtt.too_large import ENDS, ENDS_AGAIN, ENDS_SMALL, ENDS_UNKNOWN, LARGE, LEFT_OUT_S, EndedByMessage


class Wire:
    """A client that writes nothing."""

    five, qos = False, 1

    def __init__(self):
        self.mids = itertools.count(1)

    def publish(self, publications):
        return [next(self.mids) for _ in publications]


class Results:
    """What an outbox sends again and again, the oldest first, until it is confirmed or refused."""

    def __init__(self, *sizes):
        self.waiting = dict(enumerate(sizes))
        self.refused = []
        self._ids = itertools.count(1)

    def refuse(self, number):
        def refused(delivery_id, refusal):
            assert refusal.forever
            self.refused.append(self.waiting.pop(number))

        return refused

    def publications(self):
        for number, size in self.waiting.items():
            on_delivery = OnDelivery(lambda ids: None, self.refuse(number))
            yield publication(Outgoing("t", bytes(size)), on_delivery, next(self._ids))


def connection(ended_by, results, limit):
    """One that takes results up to one of more than `limit` bytes, which ends it; whether that is explained."""
    queue = PublishQueue(Wire(), ProtocolChoice(4), "mqtt://test")
    queue.one_at_a_time = ended_by.alone
    queue.publish(list(results.publications()))
    for mid, (number, size) in enumerate(list(results.waiting.items()), 1):
        if size > limit:
            return ended_by.explains(queue)
        queue.settle([(mid, None)])
        del results.waiting[number]
    return None


@pytest.fixture
def ended_by():
    return EndedByMessage("mqtt://test")


def tries(ended_by, results, limit, most=20):
    """How many connections it takes until an end is explained."""
    return next((n for n in range(1, most) if connection(ended_by, results, limit)), None)


def test_one_that_is_larger_than_all_that_were_confirmed_is_given_up_and_those_behind_it_go_on(ended_by):
    results = Results(1000, 1000, 4000, 1000)
    assert tries(ended_by, results, 2000) == 1 + ENDS_SMALL
    assert results.refused == [4000]
    assert connection(ended_by, results, 2000) is None
    assert results.waiting == {}


def test_a_reply_that_ends_each_connection_is_given_up_whatever_its_size(ended_by):
    confirmed, gone = [], []

    def ended():
        queue = PublishQueue(Wire(), ProtocolChoice(5), "mqtt://test")
        queue.one_at_a_time = ended_by.alone
        reply = OnDelivery(confirmed.extend, lambda number, refusal: gone.append(number), foreign=True)
        before, behind = (
            publication(Outgoing("t", bytes(500)), OnDelivery(confirmed.extend, lambda *_: None), n) for n in (2, 3)
        )
        if not ended_by.alone:
            queue.publish([before])
            queue.settle([(1, None)])
        queue.publish([publication(Outgoing("asked/for", b"1"), reply, 1), behind])
        return ended_by.explains(queue)

    assert [ended() for _ in range(1 + ENDS)] == [False] * ENDS + [True]
    assert gone == [1]


def test_the_next_one_of_that_size_takes_fewer_connections(ended_by):
    results = Results(1000, 4000, 1000, 4000)
    assert tries(ended_by, results, 2000) == 1 + ENDS_SMALL
    assert tries(ended_by, results, 2000) == ENDS_AGAIN
    assert results.refused == [4000, 4000]


def test_a_very_large_one_is_given_up_although_none_was_confirmed(ended_by):
    results = Results(LARGE, 1000)
    assert tries(ended_by, results, 2000) == 1 + ENDS
    assert results.refused == [LARGE]


def test_where_no_result_was_ever_taken_it_may_be_a_right_that_is_missing_and_all_wait(ended_by):
    results = Results(1000, 1000)
    assert tries(ended_by, results, 0) is None
    assert results.refused == []


def test_a_network_that_breaks_behind_other_results_costs_none(ended_by):
    results = Results(1000, *[1001 + n for n in range(30)])
    for n in range(30):
        assert not connection(ended_by, results, 1000 + n)
    assert results.refused == []


def test_a_connection_that_ended_behind_a_refusal_for_good_is_explained(ended_by):
    queue = PublishQueue(Wire(), ProtocolChoice(5), "mqtt://test")
    queue.publish(list(Results(1000).publications()))
    assert not ended_by.explains(queue)
    results = Results(1000)
    queue = PublishQueue(Wire(), ProtocolChoice(5), "mqtt://test")
    queue.publish(list(results.publications()))
    queue.settle([(1, refusal(0x95))])
    assert ended_by.explains(queue)
    assert results.refused == [1000]


def test_what_nothing_waits_for_and_ends_each_connection_is_left_out_by_its_topic_for_a_day(ended_by, monkeypatch):
    results = Results(500)
    deadly = {"t/info", "t/stats"}
    published = []

    def ended(*topics):
        """Whether the end of one that breaks at the first of these is explained; "" stands for the results."""
        queue = PublishQueue(Wire(), ProtocolChoice(4), "mqtt://test")
        queue.one_at_a_time, queue.left_out = ended_by.alone, ended_by.left_out
        rejected = queue.publish([publication(Outgoing(topic, bytes(90))) for topic in topics])
        queue.publish(list(results.publications()))
        published.extend({*topics} - {p.name for p, _ in rejected})
        return ended_by.explains(queue)

    assert [ended("t/info") for _ in range(1 + ENDS)] == [False] * ENDS + [True]
    assert [ended("t/info", "t/stats") for _ in range(ENDS_AGAIN)] == [False] * (ENDS_AGAIN - 1) + [True]
    assert set(ended_by.left_out) == deadly
    published.clear()
    ended("t/info", "t/stats", "t/drift")
    assert published == ["t/drift"]
    assert results.refused == []

    published.clear()
    a_day_later = time.monotonic() + LEFT_OUT_S + 1
    monkeypatch.setattr(time, "monotonic", lambda: a_day_later)
    ended("t/info", "t/stats", "t/drift")
    assert set(published) == {*deadly, "t/drift"}


def test_a_connection_that_stood_meanwhile_acquits_what_nothing_waits_for(ended_by):
    for _ in range(3 * ENDS):
        queue = PublishQueue(Wire(), ProtocolChoice(4), "mqtt://test")
        queue.one_at_a_time = ended_by.alone
        queue.publish([publication(Outgoing("t/info", bytes(90)))])
        assert not ended_by.explains(queue)
        queue.settle([(1, None)])
        ended_by.stands(queue)
    assert not ended_by.left_out


def probed(ended_by, results, *, given_up=False):
    """A connection that took something small first, and ended behind it."""
    queue = PublishQueue(Wire(), ProtocolChoice(4), "mqtt://test")
    queue.one_at_a_time = ended_by.alone
    queue.publish([publication(Outgoing("t/status", b"offline"), PROBE)])
    queue.settle([(1, None)])
    queue.publish(list(results.publications()))
    queue.given_up = given_up
    return ended_by.explains(queue)


def test_the_first_of_results_that_never_fit_is_dropped_in_the_end_where_something_small_does(ended_by):
    results = Results(500, 500)
    assert [probed(ended_by, results) for _ in range(1 + ENDS_UNKNOWN)] == [False] * ENDS_UNKNOWN + [True]
    assert results.refused == [500]


@pytest.mark.parametrize("patience", [0, 3600])
def test_none_where_a_network_loses_what_is_large_and_the_end_is_ours(ended_by, monkeypatch, patience):
    monkeypatch.setattr(too_large, "AT_ONCE_S", patience)
    results = Results(500, 500)
    assert not any(probed(ended_by, results, given_up=patience > 0) for _ in range(3 * ENDS_UNKNOWN))
    assert results.refused == []


def test_what_a_connection_begins_with_is_never_to_blame(ended_by):
    for _ in range(3 * ENDS):
        queue = PublishQueue(Wire(), ProtocolChoice(4), "mqtt://test")
        queue.one_at_a_time = ended_by.alone
        queue.publish([publication(Outgoing("t/status", b"offline"), PROBE)])
        assert not ended_by.explains(queue)
    assert not ended_by.left_out
