"""Micro-batching: requests that come within a moment run together, where the batch dimension is free.

It pays where one run of eight costs less than eight runs of one; each request waits up to `max_wait_s` for others,
so it is off by default. Requests join when their inputs have the same names, types and shapes behind the batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from edge.errors import SampleError
from edge.http.http_types import Response
from edge.http.openinference.protocol import Asked, Inference
from edge.http.scheduling import Admission
from edge.pipeline.neighbours import keeps_apart


@dataclass(slots=True)
class _Group:
    asked: list[Asked] = field(default_factory=list)
    waiting: list[asyncio.Future[None]] = field(default_factory=list)
    rows: int = 0
    timer: asyncio.TimerHandle | None = None


class Batcher:
    """The event loop's own; the engine runs where `runs` says."""

    def __init__(self, inference: Inference, admission: Admission, max_batch: int, max_wait_s: float) -> None:
        self._inference = inference
        self._admission = admission
        self._max_batch = max_batch
        self._max_wait_s = max_wait_s
        self._groups: dict[Hashable, _Group] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._apart = self._proven = False
        self._most = admission.queue + admission.workers * max_batch
        """Requests under way: the batches that run, and those that may wait."""
        self._inside = 0

    async def answer(self, body: bytes, headers: Mapping[bytes, bytes], arrived_ns: int) -> Response:
        """Raises SampleError. Who is let in is not sent away later, when the work is done."""
        if self._inside >= self._most:
            await self._admission.refuse()
        self._inside += 1
        try:
            return await self._answer(body, headers, arrived_ns)
        finally:
            self._inside -= 1

    async def _answer(self, body: bytes, headers: Mapping[bytes, bytes], arrived_ns: int) -> Response:
        size = len(body)
        asked = await self._admission.run(lambda: self._inference.read(body, headers, arrived_ns), size, admitted=True)
        if self._apart or asked.rows >= self._max_batch:
            await self._admission.run(lambda: self._inference.run(asked), size, admitted=True)
        else:
            await self._join(asked)
        return await self._admission.run(lambda: self._inference.write(asked), size, admitted=True)

    def _join(self, asked: Asked) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        key = tuple((name, a.dtype, a.shape[1:]) for name, a in sorted(asked.inputs.items()))
        group = self._groups.get(key)
        if group is not None and group.rows + asked.rows > self._max_batch:
            self._start(key)
            group = None
        if group is None:
            group = self._groups[key] = _Group()
            group.timer = loop.call_later(self._max_wait_s, self._start, key)
        done = loop.create_future()
        group.asked.append(asked)
        group.waiting.append(done)
        group.rows += asked.rows
        if group.rows >= self._max_batch:
            self._start(key)
        return done

    def _start(self, key: Hashable) -> None:
        group = self._groups.pop(key, None)
        if group is None:
            return
        if group.timer is not None:
            group.timer.cancel()
        task = asyncio.ensure_future(self._run(group))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, group: _Group) -> None:
        size = sum(a.nbytes for asked in group.asked for a in asked.inputs.values())
        failures: list[SampleError | None]
        try:
            failures = await self._admission.run(lambda: self._infer(group.asked), size, admitted=True)
        except SampleError as exc:
            failures = [exc] * len(group.asked)
        except Exception as exc:  # noqa: BLE001 - a bug: each request of the batch answers it
            for done in group.waiting:
                if not done.done():
                    done.set_exception(exc)
            return
        except BaseException:
            for done in group.waiting:
                done.cancel()  # the end of the server: nobody may wait for ever
            raise
        for done, failure in zip(group.waiting, failures, strict=True):
            if done.done():
                continue
            if failure is not None:
                done.set_exception(failure)
            else:
                done.set_result(None)

    def _infer(self, group: list[Asked]) -> list[SampleError | None]:
        if len(group) > 1 and not self._apart and not self._proven:
            self._proven = keeps_apart(self._inference.infer, {n: v[:1] for n, v in group[0].inputs.items()})
            self._apart = not self._proven
        if len(group) > 1 and not self._apart:
            try:
                self._inference.run_together(group)
            except ValueError:
                self._apart = True  # the signature promised more than the model keeps: never again
            except SampleError:
                pass  # one of them costs the others nothing: each runs alone, and hears its own reason
            else:
                return [None] * len(group)
        return [self._alone(asked) for asked in group]

    def _alone(self, asked: Asked) -> SampleError | None:
        try:
            self._inference.run(asked)
        except SampleError as exc:
            return exc
        return None
