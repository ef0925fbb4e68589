from __future__ import annotations

import threading

import pytest

from edge.runtime.finisher import Relay


class Slow:
    """Holds the task 0 until it is let go."""

    def __init__(self):
        self.done = []
        self.entered, self.go_on = threading.Event(), threading.Event()

    def __call__(self, task):
        if task == 0:
            self.entered.set()
            assert self.go_on.wait(10)
        self.done.append(task)


def started(relay):
    thread = threading.Thread(target=relay.run)
    thread.start()
    return thread


def test_what_is_given_is_done_by_the_other_thread_while_the_giver_goes_on():
    slow = Slow()
    relay = Relay(slow)
    thread = started(relay)
    relay.give(0, here=False)
    assert slow.entered.wait(10)
    relay.give(1, here=False)
    assert slow.done == []
    slow.go_on.set()
    relay.close()
    thread.join()
    assert slow.done == [0, 1]


def test_what_is_done_here_comes_after_all_that_was_given_before():
    slow = Slow()
    relay = Relay(slow)
    thread = started(relay)
    relay.give(0, here=False)
    relay.give(1, here=False)
    assert slow.entered.wait(10)
    slow.go_on.set()
    relay.give(2, here=True)
    assert slow.done == [0, 1, 2]
    relay.close()
    thread.join()


def test_the_giver_waits_while_too_many_wait():
    slow = Slow()
    relay = Relay(slow, most=1)
    thread = started(relay)
    relay.give(0, here=False)
    assert slow.entered.wait(10)
    relay.give(1, here=False)
    waits = []

    def waiting():
        waits.append(list(slow.done))
        slow.go_on.set()

    relay.give(2, here=False, waiting=waiting)
    assert waits == [[]]
    relay.close()
    thread.join()
    assert slow.done == [0, 1, 2]


def test_a_giver_does_not_wait_for_a_thread_that_has_ended_in_an_error():
    def broken(task):
        raise ZeroDivisionError("a bug")

    relay = Relay(broken, most=1)
    relay.give(0, here=False)
    with pytest.raises(ZeroDivisionError):
        relay.run()
    relay.give(1, here=False)
    relay.give(2, here=False)
    relay.finish()
