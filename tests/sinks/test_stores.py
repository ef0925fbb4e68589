"""What every sink for another system promises, with the real system."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from support.delivering import result
from support.processes import until
from support.stores import STORES

from edge.app import assembly
from edge.errors import UnavailableError
from edge.plugins.contexts import SinkContext
from edge.plugins.reach import ReachableSink
from edge.testing.checks import check_sink

LATE = [pytest.param(s, marks=pytest.mark.long) if s == "kafka" else s for s in STORES]
"""librdkafka takes seconds to say that a cluster is away."""


def made(uri):
    return assembly.make_sink(uri, SinkContext(device="line3", model="digits"))


def stored(store):
    """By number, how often each is there; where readers drop repeats, how often it is there for them."""
    numbers = [json.loads(payload)["seq"] for payload in store.received()]
    return Counter(numbers if store.once else set(numbers))


def killed_in_the_middle(store, deliver, count):
    """Puts results while the store is killed and started again, twice; what the store has then, by number."""
    delivery = deliver(store.uri)
    for n in range(1, count + 1):
        delivery.put(result(n))
        if n in (count // 3, 2 * count // 3):
            until(lambda: delivery.count("confirmed:store") > 0, "something is confirmed")
            store.go_away()
        if n in (count // 3 + count // 10, 2 * count // 3 + count // 10):
            store.come_back()
    delivery.finish()
    assert delivery.refused == []
    return stored(store)


@pytest.mark.parametrize("store", LATE, indirect=True)
def test_it_is_a_sink(store):
    check_sink(made(store.uri), other=store if store.whole else None, result=result)


def test_a_store_that_is_killed_twice_loses_none_and_has_none_twice(store, deliver):
    assert killed_in_the_middle(store, deliver, 300) == Counter(range(1, 301))


@pytest.mark.faults
def test_ten_thousand_results_and_a_store_that_is_killed_twice(store, deliver):
    assert killed_in_the_middle(store, deliver, 10_000) == Counter(range(1, 10_001))


@pytest.mark.faults
def test_a_store_that_freezes_loses_none_and_has_none_twice(store, deliver):
    delivery = deliver(store.uri)
    delivery.put(*[result(n) for n in range(1, 51)])
    until(lambda: delivery.count("confirmed:store") == 50, "the first are there")
    store.pause()
    delivery.put(*[result(n) for n in range(51, 101)])
    until(lambda: not delivery.outbox.waiting()["connected"], "it is seen that no answer comes")
    store.go_on()
    delivery.finish()
    assert stored(store) == Counter(range(1, 101))


def test_results_that_come_again_are_there_once(store, deliver):
    first = deliver(store.uri)
    first.put(*[result(n) for n in range(1, 101)])
    first.finish()
    again = deliver(store.uri)
    again.put(*[result(n) for n in range(51, 151)])
    again.finish()
    assert stored(store) == Counter(range(1, 151))


@pytest.mark.parametrize("store", LATE, indirect=True)
def test_a_store_that_is_away_is_named_with_the_way_out(store):
    store.kill()
    sink = made(store.uri)
    with pytest.raises(UnavailableError, match=str(store.port)):
        sink.reach()


def test_a_store_that_is_there_is_reached_and_given_nothing(store):
    sink = made(store.uri)
    assert isinstance(sink, ReachableSink)
    assert str(store.port) in sink.reach().text
    assert list(store.received()) == []
