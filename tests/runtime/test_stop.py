"""The one object through which parts and signals end the process."""

from __future__ import annotations

import threading

from edge.runtime.stop import Stop


def test_nothing_came_is_no_request():
    assert not Stop().wait(0.0)


def test_a_request_from_another_thread_ends_the_wait():
    stop = Stop()
    thread = threading.Thread(target=stop.request)
    thread.start()
    assert stop.wait(150.0)
    thread.join()


def test_to_look_ends_the_wait_and_is_no_request():
    stop = Stop()
    stop.look()
    stop.request()
    assert [stop.wait(0.0), stop.wait(0.0)] == [False, True]


def test_the_first_failure_decides_and_is_a_request():
    stop = Stop()
    first = ValueError("first")
    stop.fail(first)
    stop.fail(ValueError("second"))
    assert stop.wait(0.0)
    assert stop.failure is first


def test_what_came_before_the_main_thread_waits_is_not_lost():
    stop = Stop()
    stop.fail(ValueError("early"))
    assert stop.wait(0.0)
