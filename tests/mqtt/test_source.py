"""Inputs: what is inferred, what is known to be a repeat, and in which order they are acknowledged."""

from __future__ import annotations

import threading
import tracemalloc

import pytest
from support.fed import TOPIC, Session, payloads, read

from edge.mqtt.messages import RECEIVE_MAXIMUM, Incoming
from edge.mqtt.redelivery import ORIGIN, digest
from edge.mqtt.source import HUGE_WAITING_BYTES, MAX_QOS0_BYTES, MAX_WAITING, MAX_WAITING_BYTES, MqttSource
from edge.plugins.contexts import SourceContext
from edge.testing.fakes import FakeClock


@pytest.fixture
def session():
    return Session()


@pytest.fixture
def counted():
    return []


@pytest.fixture
def source(session, counted):
    return opened(session, counted)


def opened(session, counted, topic=TOPIC, origins=(), **more):
    made = MqttSource(session, (topic,), SourceContext(FakeClock(), topic=TOPIC, count=counted.append, **more))
    made.remember(origins)
    made.open()
    session.listener.up(resumed=bool(origins))
    return made


def test_a_wait_for_an_input_ends_when_it_is_woken_before_or_meanwhile(source, session):
    source.wake()
    assert source.read(0) is None
    assert source.read(150) is None, "woken before it waited"
    wakes = threading.Timer(0.01, source.wake)
    wakes.start()
    assert source.read(150) is None
    wakes.join()
    session.give(b"1", 1)
    assert payloads(source) == [b"1"]


def test_an_input_is_acknowledged_when_it_is_safe(source, session):
    session.give(b"1", 1)
    (sample,) = read(source)
    assert session.acked == []
    source.ack(sample)
    assert session.acked == [1]


def test_acknowledgements_are_sent_in_the_order_in_which_the_inputs_came(source, session):
    for n in (1, 2, 3):
        session.give(b"%d" % n, n)
    first, second, third = read(source)
    source.ack(third)
    source.ack(second)
    assert session.acked == []
    source.ack(first)
    assert session.acked == [1, 2, 3]


def test_after_a_redelivery_too(source, session):
    for n in (11, 12, 13):
        session.give(b"%d" % n, n)
    samples = read(source)
    session.reconnect()
    for n in (11, 12, 13):
        session.give(b"%d" % n, n, dup=True)
    source.ack(samples[2])
    source.ack(samples[1])
    assert session.acked == []
    source.ack(samples[0])
    assert session.acked == [11, 12, 13]


def test_an_input_on_its_way_that_comes_again_is_inferred_once(source, session):
    session.give(b"a", 7)
    (sample,) = read(source)
    session.reconnect()
    session.give(b"a", 7, dup=True)
    assert payloads(source) == []
    source.ack(sample)
    assert session.acked == [7]


def test_it_is_known_by_what_it_is_where_the_broker_numbers_anew(source, session):
    session.give(b"done", 1)
    session.give(b"a", 2)
    done, sample = read(source)
    source.ack(done)
    session.reconnect()
    session.give(b"a", 1, dup=True)
    assert payloads(source) == []
    source.ack(sample)
    assert session.acked == [1]


def test_as_many_equal_inputs_are_inferred_as_the_broker_holds(source, session):
    """Three were read, one of them is done; the broker holds two of them and three that were never read."""
    for mid in (1, 2, 3):
        session.give(b"same", mid)
    samples = read(source)
    source.ack(samples[0])
    session.reconnect()
    for mid in (1, 2, 3, 4, 5):
        session.give(b"same", mid, dup=True)
    again = read(source)
    assert len(again) == 3
    for sample in (*samples[1:], *again):
        source.ack(sample)
    assert session.acked == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("mid", [1, 7, 65_535])
def test_one_that_was_acknowledged_is_inferred_again_for_it_may_be_another(source, session, mid):
    session.give(b"same", mid)
    (sample,) = read(source)
    source.ack(sample)
    session.reconnect()
    session.give(b"same", mid, dup=True)
    assert payloads(source) == [b"same"]


def test_one_whose_acknowledgement_was_never_written_is_only_acknowledged_when_it_comes_again(source, session):
    session.give(b"a", 7)
    (sample,) = read(source)
    session.writes = False
    source.ack(sample)
    session.reconnect()
    session.writes = True
    session.give(b"a", 3, dup=True)
    assert payloads(source) == []
    assert session.acked == [3]


def test_an_input_tells_whether_it_was_sent_before(source, session):
    session.give(b"a", 1)
    session.give(b"b", 2, dup=True)
    assert [source.read(0).redelivered for _ in range(2)] == [False, True]


def test_without_dup_it_is_a_new_one(source, session):
    session.give(b"a", 5)
    session.reconnect()
    session.give(b"a", 5)
    assert payloads(source) == [b"a", b"a"]


def test_a_new_one_is_not_taken_for_what_comes_again_behind_it(source, session):
    session.give(b"a", 5)
    session.reconnect()
    session.give(b"a", 5)
    session.give(b"a", 6, dup=True)
    before, new = read(source)
    source.ack(before)
    source.ack(new)
    assert session.acked == [5, 6]


@pytest.mark.parametrize("more", [{"response_topic": "r/2"}, {"response_topic": "r/1", "correlation": b"2"}])
def test_where_the_answer_goes_is_part_of_what_an_input_is(source, session, more):
    session.give(b"a", 5, response_topic="r/1", correlation=b"1")
    session.reconnect()
    session.give(b"a", 5, dup=True, **more)
    assert payloads(source) == [b"a", b"a"]


def test_a_session_that_the_broker_lost_repeats_nothing(source, session):
    session.give(b"a", 5)
    session.reconnect(resumed=False)
    session.give(b"a", 5, dup=True)
    assert payloads(source) == [b"a", b"a"]


def test_what_an_earlier_life_left_on_disk_is_only_acknowledged(session, counted):
    message = Incoming(TOPIC, b"a", 1, True, False, 9, 1)
    source = opened(session, counted, origins=[ORIGIN.pack(9, digest(message))])
    session.give(b"a", 9, dup=True)
    assert payloads(source) == []
    assert session.acked == [9]


def test_but_not_where_the_broker_may_have_numbered_anew(session, counted):
    message = Incoming(TOPIC, b"a", 1, True, False, 1, 1)
    source = opened(session, counted, origins=[ORIGIN.pack(1, digest(message))])
    session.give(b"a", 1, dup=True)
    assert payloads(source) == [b"a"]


def test_inputs_of_qos_0_are_bounded_in_bytes_the_oldest_go_and_are_counted(source, session, counted):
    large = MAX_QOS0_BYTES // 4
    session.give(b"kept", 1)
    for n in range(8):
        session.give(bytes([n]) * large)
    assert [p[:4] for p in payloads(source)] == [b"kept", *(bytes([n]) * 4 for n in (4, 5, 6, 7))]
    assert counted == ["dropped:input-qos0"] * 4


def test_inputs_of_qos_0_are_bounded_in_number(source, session, counted):
    for n in range(2000):
        session.give(b"%d" % n)
    assert payloads(source)[-1] == b"1999"
    assert len(counted) == 2000 - 1024


def test_inputs_of_qos_0_that_wait_at_the_end_are_counted_and_told(source, session, counted, caplog):
    for n in range(4):
        session.give(b"%d" % n)
    session.give(b"kept", 1)
    source.read(0)
    source.close()
    assert counted == ["dropped:stop"] * 3
    assert "inputs of QoS 0" in caplog.text
    assert payloads(source) == [b"kept"]


def test_one_that_is_read_makes_room(source, session, counted):
    for n in range(5000):
        session.give(b"%d" % n)
        source.read(0)
    assert counted == []


def test_one_that_became_safe_while_the_connection_was_away_is_only_acknowledged_when_it_comes_again(source, session):
    session.give(b"a", 7)
    (sample,) = read(source)
    session.number += 1  # it has ended, and nothing was told yet
    source.ack(sample)
    session.reconnect()
    session.give(b"a", 7, dup=True)
    assert payloads(source) == []
    assert session.acked == [7]


def test_what_is_left_out_keeps_its_place_among_the_acknowledgements(session, counted):
    source = opened(session, counted, "edge/#", ignore_retained=True)
    session.give(b"1", 1)
    session.give(b"{}", 2, topic="edge/pi/m/result")
    session.give(b"old", 3, retain=True)
    (sample,) = read(source)
    assert session.acked == []
    source.ack(sample)
    assert session.acked == [1, 2, 3]


@pytest.mark.parametrize("topic", ["edge/#", "#", "edge/pi/m/+"])
def test_what_services_publish_is_no_input(session, counted, topic):
    source = opened(session, counted, topic)
    for mid, name in enumerate(("edge/pi/m/result", "edge/pi/m/error", "edge/other/m/error", "edge/other/x/status"), 1):
        session.give(b"{}", mid, topic=name)
    session.give(b"{}", 9, topic=TOPIC)
    session.give(b"{}", 10, topic="edge/sensor")
    assert [s.source for s in read(source)] == [f"mqtt:{TOPIC}", "mqtt:edge/sensor"]
    assert session.acked == [1, 2, 3, 4]


def test_another_service_s_results_are_inputs_where_the_topic_names_them(session, counted):
    source = opened(session, counted, "edge/+/first/result")
    session.give(b"{}", 1, topic="edge/pi/first/result")
    assert payloads(source) == [b"{}"]


def test_so_are_the_service_s_own_where_the_topic_is_theirs(session, counted):
    source = opened(session, counted, "edge/pi/m/result")
    session.give(b"{}", 1, topic="edge/pi/m/result")
    assert payloads(source) == [b"{}"]


def test_a_retained_input_is_marked(source, session):
    session.give(b"old", 1, retain=True)
    session.give(b"new", 2)
    assert [s.retained for s in read(source)] == [True, False]


def test_retained_inputs_may_be_left_out_and_are_counted(session, counted):
    source = opened(session, counted, ignore_retained=True)
    session.give(b"old", 1, retain=True)
    session.give(b"new", 2)
    assert payloads(source) == [b"new"]
    assert session.acked == [1]
    assert counted == ["dropped:input-retained"]


def test_what_is_remembered_of_many_pictures_does_not_hold_them(source, session):
    tracemalloc.start()
    try:
        for n in range(64):
            session.give(b"%d" % n + bytes(1_000_000), n + 1)
            source.read(0)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 3_000_000


def test_of_more_inputs_than_may_wait_the_rest_comes_on_another_connection(source, session):
    """mosquitto 2.0.11 sends all that it has, whatever it was asked for."""
    for n in range(MAX_WAITING + 5):
        session.give(b"%d" % n, n % 60_000 + 1)
    first = source.read(0)
    session.give(b"behind", 60_500)
    waiting = read(source)
    assert len(waiting) == MAX_WAITING - 1
    assert session.ended == ["the broker sent more inputs at once than may wait: the rest comes anew"]
    for sample in (first, *waiting):
        source.ack(sample)
    assert len(session.acked) == MAX_WAITING
    session.reconnect()
    for n in range(MAX_WAITING, MAX_WAITING + 5):
        session.give(b"%d" % n, n % 60_000 + 1, dup=True)
    session.give(b"behind", 60_500, dup=True)
    assert payloads(source) == [*(b"%d" % n for n in range(MAX_WAITING, MAX_WAITING + 5)), b"behind"]
    assert len(session.ended) == 1


def test_few_that_are_large_wait_as_the_broker_was_told(source, session):
    large = bytes(MAX_WAITING_BYTES // 32)
    for n in range(RECEIVE_MAXIMUM + 5):
        session.give(large, n + 1)
    assert len(read(source)) == RECEIVE_MAXIMUM


def test_of_huge_ones_few_wait_and_the_rest_comes_on_another_connection(source, session):
    huge = bytes(HUGE_WAITING_BYTES // 4)
    for n in range(7):
        session.give(huge, n + 1)
    taken = read(source)
    assert (len(taken), len(session.ended)) == (4, 1)
    for sample in taken:
        source.ack(sample)
    assert session.acked == [1, 2, 3, 4]
    session.reconnect()
    for n in range(4, 7):
        session.give(huge, n + 1, dup=True)
    assert (len(read(source)), len(session.ended)) == (3, 1)
