"""Stand-ins that behave: for tests of your own plug-ins, and for ours."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from edge.data.result import Prediction, Regression
from edge.data.sample import ModelInput, Payload, Sample
from edge.data.tensor import Tensors, TensorSpec
from edge.data.units import SECOND_NS
from edge.errors import EdgeError, EndOfStream, SampleError, UnavailableError
from edge.plugins.protocols import Entry, LoopWorker, SinkEvents


class FakeClock:
    """Stands still until it is told otherwise."""

    def __init__(self, time_ns: int = 1_700_000_000 * SECOND_NS) -> None:
        self._monotonic_ns = SECOND_NS
        self._time_ns = time_ns

    def monotonic_ns(self) -> int:
        return self._monotonic_ns

    def time_ns(self) -> int:
        return self._time_ns

    def advance(self, seconds: float) -> None:
        """Both clocks go on."""
        self._monotonic_ns += int(seconds * SECOND_NS)
        self._time_ns += int(seconds * SECOND_NS)

    def jump(self, seconds: float) -> None:
        """Somebody sets the system's clock; the monotonic one does not notice."""
        self._time_ns += int(seconds * SECOND_NS)


class ListSource:
    """Gives payloads in order. An exception among them is raised in its place."""

    def __init__(self, payloads: Iterable[Payload | EdgeError], *, live: bool = False, endless: bool = False) -> None:
        self.live = live
        self.acked: list[Payload] = []
        self.opened = 0
        self.closed = 0
        self._payloads = deque(payloads)
        self._endless = endless
        self._woken = False
        self._more = threading.Condition()

    def open(self) -> None:
        self.opened += 1

    def give(self, *payloads: Payload | EdgeError) -> None:
        """More to read; from any thread."""
        with self._more:
            self._payloads.extend(payloads)
            self._more.notify_all()

    def wake(self) -> None:
        """From any thread."""
        with self._more:
            self._woken = True
            self._more.notify_all()

    def read(self, timeout_s: float) -> Sample | None:
        with self._more:
            if not self._payloads:
                if not self._endless:
                    raise EndOfStream("list")
                self._more.wait_for(lambda: self._payloads or self._woken, timeout_s)
                self._woken = False
            if not self._payloads:
                return None
            payload = self._payloads.popleft()
        if isinstance(payload, EdgeError):
            raise payload
        return Sample(payload, "list", SECOND_NS, SECOND_NS)

    def ack(self, sample: Sample) -> None:
        with self._more:
            self.acked.append(sample.payload)
            self._more.notify_all()

    def wait_for_acks(self, count: int, timeout_s: float = 120.0) -> bool:
        """True when `count` samples were acknowledged."""
        with self._more:
            return self._more.wait_for(lambda: len(self.acked) >= count, timeout_s)

    def close(self) -> None:
        self.closed += 1


class DoublingEngine:
    """Gives back twice its only input, `x` float32 [None, width]; refuses a negative first value."""

    name = "doubling"
    version = "1"

    def __init__(self, width: int = 1) -> None:
        self.inputs = (TensorSpec("x", "float32", (None, width)),)
        self.outputs = (TensorSpec("y", "float32", (None, width)),)
        self.metadata: Mapping[str, str] = {}
        self.runs = 0

    def infer(self, tensors: Tensors) -> dict[str, Any]:
        self.runs += 1
        if (tensors["x"][:, 0] < 0).any():
            raise SampleError("the model refuses negative values")
        return {"y": tensors["x"] * 2}

    def close(self) -> None:
        """Nothing to release."""


class NumbersPreprocessor:
    """A number, or a list of them for a batch, to `x` float32 [1, 1]."""

    def split(self, payload: Payload) -> Sequence[Payload]:
        return payload if isinstance(payload, list) else [payload]

    def __call__(self, sample: Sample) -> ModelInput:
        if not isinstance(sample.payload, (int, float)):
            raise SampleError(f"{sample.payload!r} is not a number")
        return ModelInput({"x": np.array([[sample.payload]], dtype=np.float32)})


def as_numbers(outputs: Tensors, model_input: ModelInput) -> Sequence[Prediction]:
    """A postprocessor: `y` as one regression."""
    return [Regression(name="y", value=float(outputs["y"][0, 0]))]


class FakeBroker:
    """A sink and the broker behind it: confirms at once, or when told to; goes away and comes back."""

    durable = True

    def __init__(self, window: int = 20, *, confirms: bool = True, away: bool = False) -> None:
        self.window = window
        self.confirms = confirms
        self.away = away
        self.received: list[dict[str, Any]] = []
        self.most_under_way = 0
        self._under_way: list[int] = []
        self._events: SinkEvents | None = None
        self._changed = threading.Condition()

    def open(self, events: SinkEvents) -> None:
        self._events = events
        if self.away:
            raise UnavailableError("the broker is away")
        self._under_way.clear()

    def send(self, entry: Entry) -> None:
        if self.away:
            raise UnavailableError("the broker went away")
        payload = entry.payload
        with self._changed:
            self.received.append(msgspec.json.decode(payload))
            self._under_way.append(entry.key)
            self.most_under_way = max(self.most_under_way, len(self._under_way))
            self._changed.notify_all()
        if self.confirms:
            self.confirm()

    def confirm(self, count: int | None = None) -> None:
        """PUBACK for the oldest `count` under way, or for all."""
        count = len(self._under_way) if count is None else count
        keys, self._under_way = self._under_way[:count], self._under_way[count:]
        if self._events is not None:
            self._events.confirmed(keys)

    def go_away(self) -> None:
        """What is under way stays unconfirmed."""
        self.away = True
        if self._events is not None:
            self._events.lost("the broker went away")

    def come_back(self) -> None:
        """And says that `open` is worth a try."""
        self.away = False
        if self._events is not None:
            self._events.ready()

    def wait_for(self, count: int, timeout_s: float = 120.0) -> bool:
        """True when `count` messages were received."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.received) >= count, timeout_s)

    def close(self) -> None:
        """The broker stays."""


class FakeWaker:
    """Counts how often the thread would have been woken."""

    def __init__(self) -> None:
        self.wakes = 0

    def wake(self) -> None:
        self.wakes += 1


class FakeLoop:
    """The loop of a sink's connection, turned by hand."""

    def __init__(self) -> None:
        self.waker = FakeWaker()
        self.workers: list[LoopWorker] = []

    def attach(self, worker: LoopWorker, *, first: bool = False) -> None:
        self.workers.insert(0 if first else len(self.workers), worker)

    def turn(self) -> float:
        """A turn for each worker, and again as long as one of them wants it at once; how long it would wait then."""
        while (wait_s := min(worker.turn() for worker in self.workers)) == 0:
            continue
        return wait_s

    def end(self) -> None:
        """The thread would end now."""
        for worker in self.workers:
            worker.end()


class FailingSpool:
    """A memory spool on a disk that can be full; `make` builds the real one."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._spool = make()
        self.full = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._spool, name)

    def __len__(self) -> int:
        return len(self._spool)

    def append(self, messages: Sequence[Any]) -> list[int]:
        if self.full:
            raise UnavailableError("the disk is full")
        return list(self._spool.append(messages))
