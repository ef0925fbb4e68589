"""Proof that a sink is one: it confirms, says what is lost, takes again what was under way."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

import msgspec

from edge.data.message import Message
from edge.data.sample import Reply
from edge.errors import SampleError, UnavailableError
from edge.plugins import protocols
from edge.plugins.protocols import BatchSink, Entry, LoopSink, ReplyingSink, Sink, SinkEvents
from edge.plugins.reach import ReachableSink
from edge.testing.checks.parts import assert_whole


class OtherSide(Protocol):
    """What a sink sends to, where a test can look at it and take it away."""

    def received(self) -> Sequence[bytes]:
        """The payloads of results that came, in order, as JSON that means the same."""

    def go_away(self) -> None:
        """Breaks the connection; nothing is taken until it is back."""

    def come_back(self) -> None: ...


class _Events:
    """Collects what a sink says."""

    def __init__(self) -> None:
        self.keys: list[int] = []
        self.losses: list[str] = []
        self._changed = threading.Condition()

    def confirmed(self, keys: Iterable[int]) -> None:
        with self._changed:
            self.keys.extend(keys)
            self._changed.notify_all()

    def refused(self, key: int, reason: str) -> None:
        with self._changed:
            self.losses.append(f"{key}: {reason}")
            self._changed.notify_all()

    def lost(self, reason: str) -> None:
        with self._changed:
            self.losses.append(reason)
            self._changed.notify_all()

    def ready(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def wait_for(self, keys: Iterable[int], timeout_s: float) -> bool:
        """True where all of these were confirmed."""
        wanted = set(keys)
        with self._changed:
            return self._changed.wait_for(lambda: wanted <= set(self.keys), timeout_s)

    def wait_until(self, true: Callable[[], bool], timeout_s: float) -> bool:
        """Looks each time something was said, and ten times a second."""
        with self._changed:
            for _ in range(int(timeout_s * 10)):
                if true():
                    return True
                self._changed.wait(0.1)
        return true()


def _small(n: int) -> Message:
    return Message("result", b'{"n":%d}' % n, n)


def check_sink(
    sink: Sink,
    *,
    timeout_s: float = 60.0,
    other: OtherSide | None = None,
    refused: Message | None = None,
    result: Callable[[int], Message] = _small,
) -> None:
    """`sink` can be opened now and its other side confirms within `timeout_s`; a loop that it has runs.

    With `other` it is also lost and opened again, and what arrived is looked at. `refused` is a message that it can
    never send; `result` makes what it is sent by number, for sinks that want more of a result than being JSON. Raises
    AssertionError.
    """
    assert_whole(protocols.Sink, sink)
    if isinstance(sink, LoopSink):
        sink = _InItsLoop(sink)
    assert sink.window >= 1, "a window holds at least one message"
    if isinstance(sink, ReachableSink):
        assert sink.reach().text, "it says in words what was found at the other side"
    events = _Events()
    sink.close()
    sink.open(events)
    _fills_its_window(sink, events, timeout_s, result)
    if refused is not None:
        _refuses_one_and_goes_on(sink, events, refused, timeout_s, result(1))
    sink.close()
    sink.close()
    sink.open(events)
    send(sink, Entry(1001, Message("error", b'{"n":0}', 0), replayed=True))
    assert events.wait_for([1001], timeout_s), "a sink that was opened again sends"
    _answers(sink, events, timeout_s)
    if other is not None:
        _is_lost_and_comes_back(sink, events, other, timeout_s, result(2001))
    assert other is not None or not events.losses, f"the sink lost its connection: {events.losses[:1]}"
    sink.close()


class _InItsLoop:
    """A sink with a loop, called in that loop only."""

    def __init__(self, sink: LoopSink) -> None:
        assert isinstance(sink, Sink), "what has a loop has all that a sink has"
        self._sink = sink
        self._waker = sink.loop.waker
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self.window, self.durable = sink.window, sink.durable
        self.batch, self.batch_bytes = (sink.batch, sink.batch_bytes) if isinstance(sink, BatchSink) else (1, 0)
        self.answers = isinstance(sink, ReplyingSink) and sink.answers
        sink.loop.attach(self)

    def open(self, events: SinkEvents) -> None:
        self._do(lambda: self._sink.open(events))

    def send(self, entry: Entry) -> None:
        self._do(lambda: self._sink.send(entry))

    def send_all(self, entries: Sequence[Entry]) -> Sequence[tuple[int, str]]:
        rejected: Sequence[tuple[int, str]] = self._do(lambda: send(self._sink, *entries))
        return rejected

    def close(self) -> None:
        self._do(self._sink.close)

    def turn(self) -> float:
        while self._calls:
            call, future = self._calls.popleft()
            try:
                future.set_result(call())
            except Exception as exc:  # noqa: BLE001 - it is raised where the call was asked for
                future.set_exception(exc)
        return 3600.0

    def end(self) -> None:
        """Nothing is left to be done."""

    def _do(self, call: Callable[[], Any]) -> Any:
        future: Future[Any] = Future()
        self._calls.append((call, future))
        self._waker.wake()
        return future.result(10.0)


def send(sink: Sink, *entries: Entry) -> Sequence[tuple[int, str]]:
    """The key and the reason of each that can never be sent."""
    if isinstance(sink, BatchSink):
        return sink.send_all(entries)
    refused: list[tuple[int, str]] = []
    for entry in entries:
        try:
            sink.send(entry)
        except SampleError as exc:
            refused.append((entry.key, str(exc)))
    return refused


def _fills_its_window(sink: Sink, events: _Events, timeout_s: float, result: Callable[[int], Message]) -> None:
    messages = [result(n) for n in range(sink.window)]
    first, *others = [Entry(key, message) for key, message in enumerate(messages, start=1)]
    sink.send(first)
    assert not send(sink, *others), "what is small can be sent"
    assert events.wait_for(range(1, sink.window + 1), timeout_s), "every message of a full window is confirmed"
    assert len(events.keys) == len(set(events.keys)), "each is confirmed once"


def _refuses_one_and_goes_on(sink: Sink, events: _Events, refused: Message, timeout_s: float, good: Message) -> None:
    rejected = send(sink, Entry(901, good), Entry(902, refused), Entry(903, good))
    assert [key for key, _ in rejected] == [902], "a message that can never be sent is refused, it alone"
    assert events.wait_for([901, 903], timeout_s), "those beside it are confirmed"
    assert 902 not in events.keys, "what was refused is not confirmed"


def _answers(sink: Sink, events: _Events, timeout_s: float) -> None:
    if not isinstance(sink, ReplyingSink) or not sink.answers:
        return
    send(sink, Entry(1101, Message("answer", b'{"n":0}', 0, Reply("asker/1", b"1"))))
    assert events.wait_for([1101], timeout_s), "an answer is confirmed like a result"


def _is_lost_and_comes_back(sink: Sink, events: _Events, other: OtherSide, timeout_s: float, message: Message) -> None:
    before = len(other.received())
    other.go_away()
    entry = Entry(2001, message)

    def told() -> bool:
        try:
            send(sink, entry)
        except UnavailableError:
            return True
        return bool(events.losses)

    assert events.wait_until(told, timeout_s), "a loss is told by `lost`, or by UnavailableError of the next `send`"
    assert 2001 not in events.keys, "what did not arrive is not confirmed"
    sink.close()
    other.come_back()

    def opens() -> bool:
        try:
            sink.open(events)
        except UnavailableError:
            return False
        return True

    assert events.wait_until(opens, timeout_s), "it opens again once the other side is back"
    send(sink, Entry(2001, entry.message, replayed=True))
    assert events.wait_for([2001], timeout_s), "what was under way is sent again, and confirmed"
    after = list(other.received())[before:]
    assert after, "it arrives"
    arrived, wanted = (msgspec.json.decode(p) for p in (after[-1], message.replayed()))
    assert arrived == wanted, 'and says "replayed": true'
