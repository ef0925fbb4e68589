"""Several instances of one model: threads that prepare, infer and decode side by side.

Each has a pipeline of its own, and all run the model that is loaded once: an engine is safe from several threads.
The infer thread hands out samples, and takes back in their order what was found: numbers, results, marks and
acknowledgements stay its own. What is handed out says by which pipelines it is run, so that another model takes over
between two samples while those before are still under way with theirs.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue

import msgspec

from edge.data.sample import Sample
from edge.pipeline.pipeline import Pipeline
from edge.pipeline.prepare import Work

HELD_MOST = 4
"""So many times what runs at once is done and held at most, for the sake of the order."""


class Team(msgspec.Struct, frozen=True, eq=False):
    """Pipelines of one model: that of each instance, and that of the `flow`, which makes the results."""

    flow: Pipeline
    each: tuple[Pipeline, ...]


class _Job(msgspec.Struct):
    """Samples for one instance: that thread's until it is `ended`."""

    samples: Sequence[Sample]
    team: Team
    works: Sequence[Work] = ()
    error: BaseException | None = None
    ended: threading.Event = msgspec.field(default_factory=threading.Event)


class Instances:
    """Belongs to the infer thread."""

    def __init__(self, team: Team, ended: Callable[[], None], *, ahead: int) -> None:
        """Of models that keep nothing from sample to sample. `ended` is told by an instance, in its thread, when it is
        done with something. `ahead`: so many jobs wait beside those that run."""
        self._team = team
        self._told = ended
        self._most = len(team.each) + ahead
        self._jobs: deque[_Job] = deque()
        self._next: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._taken = False

    def __bool__(self) -> bool:
        """True while samples are under way."""
        return bool(self._jobs)

    @property
    def room(self) -> bool:
        """Whether an instance is free, or soon will be; never where too many wait for one that takes long."""
        running = sum(not job.ended.is_set() for job in self._jobs)
        return running < self._most and len(self._jobs) < HELD_MOST * self._most

    @property
    def at_once(self) -> int:
        """How many samples one instance should be given at most."""
        return self._team.each[0].batching.at_once

    @property
    def each_ns(self) -> int:
        """How long the engine took for one of the last samples; 0 before the first."""
        return self._team.each[0].batching.each_ns

    @property
    def under_way(self) -> list[Sample]:
        """The samples that were put and not yet taken."""
        return [sample for job in self._jobs for sample in job.samples]

    def progress(self) -> bool:
        """Whether none is under way, or one was taken since the last call: else an instance may hang."""
        taken, self._taken = self._taken, False
        return taken or not self._jobs

    def use(self, team: Team) -> None:
        """Of another model and as many: they run what is put from now on."""
        self._team = team

    def uses(self, flow: Pipeline) -> bool:
        """True while something that is not yet taken was put for this one's team."""
        return any(job.team.flow is flow for job in self._jobs)

    def put(self, samples: Sequence[Sample]) -> None:
        """For the next instance that is free."""
        if not self._threads:
            self._start()
        job = _Job(samples, self._team)
        self._jobs.append(job)
        self._next.put(job)

    def take(self, timeout_s: float = 0.0) -> tuple[Pipeline, Sequence[Work]] | None:
        """What was put first, as its instance left it, and the flow's pipeline that makes results of it; None where it
        is still under way after `timeout_s`. Raises what ended the instance."""
        job = self._jobs[0] if self._jobs else None
        if job is None or not job.ended.wait(timeout_s):
            return None
        self._jobs.popleft()
        self._taken = True
        if job.error is not None:
            raise job.error
        return job.team.flow, job.works

    def close(self) -> None:
        """Returns when each thread has ended: after what it has begun, and all that was put before."""
        for _ in self._threads:
            self._next.put(None)
        for thread in self._threads:
            thread.join()
        self._threads = []

    def _start(self) -> None:
        for at in range(len(self._team.each)):
            thread = threading.Thread(target=self._serve, args=(at,), name=f"instance-{at + 1}", daemon=False)
            thread.start()
            self._threads.append(thread)

    def _serve(self, at: int) -> None:
        while (job := self._next.get()) is not None:
            pipeline = job.team.each[at]
            try:
                job.works = pipeline.decoded(pipeline.prepare(job.samples))
            except BaseException as exc:  # noqa: BLE001 - the infer thread raises it again
                job.error = exc
            job.ended.set()
            self._told()
