from __future__ import annotations

import threading

import pytest

from edge.runtime.frame_queue import Closed, FrameQueue


def test_a_live_queue_drops_the_oldest_and_tells():
    dropped: list[int] = []
    box: FrameQueue[int] = FrameQueue(1, drop_oldest=True, dropped=dropped.append)
    assert all(box.put(n, 0) for n in range(3))
    assert dropped == [0, 1]
    assert box.get(0) == [2]


def test_any_other_queue_makes_the_sender_wait():
    box: FrameQueue[int] = FrameQueue(1, drop_oldest=False, dropped=lambda _: None)
    assert box.put(1, 0)
    assert not box.put(2, 0.01)
    assert box.get(0) == [1]
    assert box.put(2, 0)


def test_a_closed_queue_gives_what_it_holds_and_then_ends():
    box: FrameQueue[int] = FrameQueue(2, drop_oldest=False, dropped=lambda _: None)
    box.put(1, 0)
    box.close()
    with pytest.raises(Closed):
        box.put(2, 0)
    assert box.get(0) == [1]
    with pytest.raises(Closed):
        box.get(0)


def test_a_sender_that_waits_goes_on_while_the_receiver_still_has_half():
    box: FrameQueue[int] = FrameQueue(4, drop_oldest=False, dropped=lambda _: None)
    for number in range(4):
        box.put(number, 0)
    sent = threading.Event()

    def send() -> None:
        assert box.put(4, 30)
        sent.set()

    sender = threading.Thread(target=send)
    sender.start()
    assert box.get(0, 2) == [0, 1]
    assert sent.wait(150)
    sender.join()
    assert box.get(0, 9) == [2, 3, 4]


def test_what_waits_comes_together_as_far_as_it_is_asked_for():
    box: FrameQueue[int] = FrameQueue(4, drop_oldest=False, dropped=lambda _: None)
    for n in range(4):
        box.put(n, 0)
    assert box.get(0, 3) == [0, 1, 2]
    assert box.get(0, 3) == [3]
    assert box.get(0, 3) == []


def test_a_queue_holds_as_many_as_are_asked_for_at_once():
    box: FrameQueue[int] = FrameQueue(1, drop_oldest=False, dropped=lambda _: None)
    box.put(0, 0)
    assert box.get(0, 3) == [0]
    assert [box.put(n, 0) for n in range(4)] == [True, True, True, False]


def test_a_live_queue_does_not_grow():
    box: FrameQueue[int] = FrameQueue(1, drop_oldest=True, dropped=lambda _: None)
    box.put(0, 0)
    assert box.get(0, 3) == [0]
    for n in range(3):
        box.put(n, 0)
    assert box.get(0, 3) == [2]


def test_who_has_no_room_waits_for_a_wake_and_leaves_the_items():
    box: FrameQueue[int] = FrameQueue(2, drop_oldest=False, dropped=lambda _: None)
    box.put(1, 0)
    waited: list[list[int]] = []
    waiting = threading.Thread(target=lambda: waited.append(box.get(150, 0)))
    waiting.start()
    box.wake()
    waiting.join()
    assert waited == [[]]
    assert box.get(0) == [1]


def test_a_closed_queue_is_not_at_its_end_while_it_holds_something():
    box: FrameQueue[int] = FrameQueue(2, drop_oldest=False, dropped=lambda _: None)
    box.put(1, 0)
    box.close()
    assert box.get(0, 0) == []
    assert box.get(0) == [1]
    with pytest.raises(Closed):
        box.get(0, 0)
