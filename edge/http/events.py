"""What the live page shows: the newest sample, the results as they come, the state of the process.

`show` is called by the flow's own thread for every sample: it keeps references and returns. Everything else happens
in the event loop, when somebody looks: a client that reads slowly gets the newest results, and the number of those
that were left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from edge.data import codec, magic
from edge.data.picture import picture_of
from edge.data.result import Result, Skipped
from edge.data.sample import Image, Payload, Sample
from edge.errors import SampleError
from edge.http.http_types import Refusal
from edge.http.scheduling import CpuBudget
from edge.overlay import annotate
from edge.plugins.protocols import Clock

RECENT = 50
"""Results that a client gets when it comes."""
CLIENT_MOST = 64
"""Results that wait for one client."""
CLIENTS_MOST = 16
ADDRESS_MOST = 12
"""Of those, from one address: it shuts nobody else out."""
EVERY_S = 0.1
"""Results go out at most so often, several together."""
HEARTBEAT_S = 15.0
ROW_MOST = 200

_encoder = msgspec.json.Encoder()


class Client:
    """One reader of `/events`; `key`: of one run alone."""

    def __init__(self, recent: Sequence[Result | Skipped], key: str | None, address: str) -> None:
        self.key = key
        self.address = address
        self.waiting: deque[Result | Skipped] = deque(recent, CLIENT_MOST)
        self.missed = 0
        self.wake = asyncio.Event()

    def push(self, outcomes: Sequence[Result | Skipped]) -> None:
        self.missed += max(0, len(self.waiting) + len(outcomes) - CLIENT_MOST)
        self.waiting.extend(outcomes)


class Live:
    """`show` from any thread; the rest is the event loop's. A `key` tells the runs apart that there are."""

    def __init__(self, clock: Clock, budget: CpuBudget) -> None:
        self._clock = clock
        self._budget = budget
        self._lock = threading.Lock()
        self._recent: dict[str, deque[Result | Skipped]] = {}
        self._newest: dict[str, tuple[Sample, Sequence[Result | Skipped]]] = {}
        self._clients: set[Client] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waking = False
        self.closed = False

    def open(self) -> None:
        """Called in the event loop before anybody looks."""
        self._loop = asyncio.get_running_loop()

    # --- from any thread ----------------------------------------------------------------------------

    def show_flow(self, key: str, sample: Sample, outcomes: Sequence[Result | Skipped]) -> None:
        """A sample of the flow: requests keep to their share as long as these come."""
        self._budget.flow_works()
        self.show(key, sample, outcomes)

    def show(self, key: str, sample: Sample, outcomes: Sequence[Result | Skipped]) -> None:
        """A sample and what became of it."""
        with self._lock:
            self._newest[key] = (sample, outcomes)
            self._recent.setdefault(key, deque(maxlen=RECENT)).extend(outcomes)
            readers = [client for client in self._clients if client.key in (None, key)]
            for client in readers:
                client.push(outcomes)
            if not readers or self._waking:
                return
            self._waking = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the server may end, and close its loop, by itself
                self._loop.call_soon_threadsafe(self._wake)

    # --- the event loop -----------------------------------------------------------------------------

    def _wake(self) -> None:
        with self._lock:
            self._waking = False
            for client in self._clients:
                client.wake.set()

    def close(self) -> None:
        """Every stream ends."""
        self.closed = True
        self._wake()

    def join(self, key: str | None = None, address: str = "") -> Client:
        """A new reader, of all runs or of one. Raises Refusal where there are too many, or too many of its address."""
        with self._lock:
            full = len(self._clients) >= CLIENTS_MOST
            if full or sum(client.address == address for client in self._clients) >= ADDRESS_MOST:
                many = f"{CLIENTS_MOST} clients" if full else f"{ADDRESS_MOST} clients of your address"
                raise Refusal(503, f"{many} read /events already", ((b"retry-after", b"5"),))
            recent = [o for k, kept in self._recent.items() if key in (None, k) for o in kept]
            client = Client(sorted(recent, key=lambda o: o.time)[-RECENT:], key, address)
            self._clients.add(client)
        client.wake.set()
        return client

    def _leave(self, client: Client) -> None:
        with self._lock:
            self._clients.discard(client)

    async def events(self, client: Client) -> AsyncGenerator[bytes, None]:
        """Server-sent events, until the server stops or the reader is gone."""
        try:
            yield b"retry: 2000\n\n"
            while not self.closed:
                try:
                    async with asyncio.timeout(HEARTBEAT_S):
                        await client.wake.wait()
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                client.wake.clear()
                with self._lock:
                    taken, missed = list(client.waiting), client.missed
                    client.waiting.clear()
                    client.missed = 0
                if taken or missed:
                    yield b"".join(_events(taken, missed))
                await asyncio.sleep(EVERY_S)
        finally:
            self._leave(client)

    def newest(self, key: str) -> tuple[Sample, Sequence[Result | Skipped]] | None:
        """The newest sample of a run, and its results."""
        with self._lock:
            return self._newest.get(key)


def _events(taken: Sequence[Result | Skipped], missed: int) -> Sequence[bytes]:
    events = [b'event: missed\ndata: {"count":%d}\n\n' % missed] if missed else []
    for outcome in taken:
        kind = b"skipped" if isinstance(outcome, Skipped) else b"result"
        events.append(b"id: %d\nevent: %s\ndata: %s\n\n" % (outcome.seq, kind, _encoder.encode(outcome)))
    return events


def describe(sample: Sample) -> Mapping[str, Any]:
    """What the page shows of a sample: `{"kind": "picture"}`, or the row itself: the first `ROW_MOST` of `count`."""
    payload = _decoded(sample.payload)
    if picture_of(payload) is not None:
        return {"kind": "picture"}
    if isinstance(payload, np.ndarray):
        shape = list(payload.shape)
        return {"kind": "array", "shape": shape, "count": payload.size, "values": payload.ravel()[:ROW_MOST].tolist()}
    if isinstance(payload, Mapping):
        return {"kind": "row", "count": len(payload), "values": dict(list(payload.items())[:ROW_MOST])}
    if isinstance(payload, list):
        return {"kind": "array", "shape": [len(payload)], "count": len(payload), "values": payload[:ROW_MOST]}
    return {"kind": "none"}


def pair(newest: tuple[Sample, Sequence[Result | Skipped]] | None) -> Mapping[str, Any]:
    """A sample as `describe` tells it, with the first of its results: the two can never be mixed up."""
    if newest is None:
        return {"kind": "none", "result": None}
    sample, outcomes = newest
    return {**describe(sample), "result": outcomes[0] if outcomes else None}


def _decoded(payload: Payload) -> Payload:
    if isinstance(payload, bytes):
        try:
            return codec.decode(payload)
        except SampleError:
            return None
    return payload


def picture(sample: Sample) -> tuple[bytes, str]:
    """The sample's picture as a file and its type. Raises Refusal where it is none."""
    decoded = picture_of(_decoded(sample.payload))
    if decoded is None:
        raise Refusal(404, "the newest sample is no picture")
    if isinstance(decoded, Image):
        return annotate.encode(decoded.pixels), magic.MEDIA_TYPE_OF["JPEG"]
    kind = magic.picture(decoded.data[:64])
    return decoded.data, magic.MEDIA_TYPE_OF[kind] if kind is not None else "application/octet-stream"


def results_header(outcomes: Sequence[Result | Skipped]) -> str:
    """The results that belong to a picture, for a header: JSON in ASCII, so that the two can never be mixed up."""
    shown = [o for o in outcomes if isinstance(o, Result)][:1]
    value = [msgspec.structs.replace(o, predictions=o.predictions[:40]) for o in shown]
    return json.dumps(msgspec.to_builtins(value), ensure_ascii=True, separators=(",", ":"))
