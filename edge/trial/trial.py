"""The trial itself: a thread that runs the second model in what time is left over, and counts how the two differ.

The thread that infers offers each sample and what became of it; where the trial is still busy the sample is passed
over. So the running model waits for nothing, and after each sample the trial rests for three times as long as it took:
a quarter of one core at most.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from queue import Empty, Full, Queue
from typing import Literal, TypeAlias

import msgspec

from edge.data.result import ModelRef, Result, Skipped
from edge.data.sample import Frame, Payload, Sample
from edge.data.units import SECOND_NS
from edge.pipeline.pipeline import Pipeline
from edge.plugins.protocols import Clock
from edge.telemetry.priority import stand_back
from edge.trial import differences
from edge.trial.blame import TrialMarks
from edge.trial.differences import Difference

log = logging.getLogger("edge.trial")

CLOSE_MS = 0.5
"""Two models that are no further apart than this are equally fast, whatever the ratio: the one that runs may be given
samples that wait by the dozen, the one on trial is given one at a time."""
LOOK_AGAIN_S = 0.5
RESTS = 3
LATENCIES = 1000
"""The newest ones, of which a median is told."""
PAIRS_MOST = 1000
"""Ways to differ that are counted each by itself."""
TOLD_MOST = 20
OTHERS: Difference = ("others", "others")
JOIN_S = 10.0

Differs: TypeAlias = Callable[[Payload, Frame | None, tuple[Result, Result]], None]
Word: TypeAlias = Literal["undecided", "equal", "differs", "worse", "broken", "ended"]


class Limits(msgspec.Struct, frozen=True):
    """What a trial is judged by: samples that it takes, the share on which both agree, how many times as long the
    second model may take, and the share of samples that it may skip beyond those that both skip."""

    samples: int = 200
    agreement: float = 0.95
    latency: float = 1.5
    skips: float = 0.01


class Verdict(msgspec.Struct, frozen=True):
    """`reason` in words; "" where they are equal."""

    word: Word
    reason: str = ""


class Changed(msgspec.Struct, frozen=True, rename={"running": "from", "trial": "to"}):
    """So often the running model said one thing, and the trial another."""

    running: str
    trial: str
    count: int


class Both(msgspec.Struct, frozen=True):
    """One figure of each model."""

    running: float
    trial: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """`samples` were answered by both, `passed_over` by the running model alone for want of time. `latency_ms` are
    medians of whole samples; None before each has answered one."""

    model: ModelRef
    trial: ModelRef
    samples: int
    passed_over: int
    agreement: float | None
    skipped: Both
    latency_ms: Both | None
    differences: tuple[Changed, ...]
    verdict: Verdict


class Trial:
    """`offer` and `report` from any thread; `start` and `stop` once each."""

    def __init__(
        self,
        pipeline: Pipeline,
        running: ModelRef,
        clock: Clock,
        limits: Limits | None = None,
        marks: TrialMarks | None = None,
        differs: Differs | None = None,
    ) -> None:
        """`pipeline` is the second model's own; it keeps nothing from sample to sample. `marks` tell whether an earlier
        life of the process ended in it. `differs` is shown, in the trial's thread, each input of which the two say
        different things, with both results."""
        self._pipeline = pipeline
        self._running = running
        self._clock = clock
        self._limits = limits or Limits()
        self._marks = marks
        self._differs = differs
        self._waiting: Queue[tuple[Sample, Sequence[Result | Skipped]]] = Queue(maxsize=1)
        self._ends = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._passing = threading.Lock()  # not the other one: that is held while two answers are compared
        self._over = self._broken = ""
        self.skip_reason = ""
        """Of the newest sample that the second model alone skipped: why. It may quote the sample."""
        self.lacked_memory = False
        """Whether it broke off for want of memory, which says nothing of the model."""
        self._began_anew()

    def _began_anew(self) -> None:
        self._samples = self._agreed = self._pieces = self._passed_over = 0
        self._skipped: Counter[str] = Counter()
        self._pairs: Counter[Difference] = Counter()
        self._latencies: dict[str, deque[float]] = {n: deque(maxlen=LATENCIES) for n in ("running", "trial")}

    def start(self) -> None:
        """The thread begins to wait for samples; not where the process has died of the trial twice."""
        self._broken = self._marks.open() if self._marks is not None else ""
        if self._broken:
            log.error("the trial is given up", extra={"reason": self._broken})
            return
        self._thread = threading.Thread(target=self._run, name="trial", daemon=False)
        self._thread.start()

    def stop(self) -> bool:
        """Ends it; a sample that is under way is finished. False where it was not within `JOIN_S`."""
        self._ends.set()
        if self._thread is not None:
            self._thread.join(JOIN_S)
        ended = self._thread is None or not self._thread.is_alive()
        if self._marks is not None:
            self._marks.end()
            if ended:
                self._marks.close()
        return ended

    def offer(self, sample: Sample, outcomes: Sequence[Result | Skipped]) -> None:
        """A sample and what the running model said. Never waits."""
        if not outcomes or self._broken or self._over:
            return
        try:
            self._waiting.put_nowait((sample, outcomes))
        except Full:
            with self._passing:
                self._passed_over += 1

    def follow(self, running: ModelRef, over: str = "") -> None:
        """Another model runs: it is compared with that from now on. `over`: why it cannot be, while that runs. From any
        thread."""
        with self._lock:
            self._running, self._over = running, over
            self._began_anew()

    def report(self) -> Report:
        """How it stands now."""
        with self._lock:
            answered = all(self._latencies.values())
            latency = Both(*(_median(self._latencies[n]) for n in ("running", "trial"))) if answered else None
            return Report(
                model=self._running,
                trial=self._pipeline.identity.model,
                samples=self._samples,
                passed_over=self._passed_over + self._pieces,
                agreement=round(self._agreed / self._samples, 4) if self._samples else None,
                skipped=Both(self._skipped["running"], self._skipped["trial"]),
                latency_ms=latency,
                differences=tuple(Changed(*pair, n) for pair, n in self._pairs.most_common(TOLD_MOST)),
                verdict=self._verdict(latency),
            )

    def _verdict(self, latency: Both | None) -> Verdict:
        limits, samples = self._limits, self._samples
        if self._broken:
            return Verdict("broken", self._broken)
        if self._over:
            return Verdict("ended", self._over)
        if samples < limits.samples:
            return Verdict("undecided", f"{samples} of {limits.samples} samples were answered by both")
        more = self._skipped["trial"] - self._skipped["running"]
        if more > limits.skips * samples:
            return Verdict("worse", f"it skips {more} samples more than the model that runs: {self.skip_reason}")
        if latency is None:
            return Verdict("undecided", f"{samples} samples came that neither of the two could answer")
        if latency.trial > max(limits.latency * latency.running, latency.running + CLOSE_MS):
            return Verdict("worse", f"it takes {latency.trial:.3g} ms, the model that runs {latency.running:.3g} ms")
        if self._agreed < limits.agreement * samples:
            return Verdict("differs", f"they agree on {self._agreed / samples:.1%}, {limits.agreement:.0%} are wanted")
        return Verdict("equal")

    # --- the trial's thread -------------------------------------------------------------------------

    def _run(self) -> None:
        stand_back()
        try:
            while not self._ends.is_set():
                try:
                    sample, outcomes = self._waiting.get(timeout=LOOK_AGAIN_S)
                except Empty:
                    continue
                began = self._clock.monotonic_ns()
                if self._marks is not None:
                    self._marks.begin()
                self._try(sample, outcomes)
                if self._marks is not None:
                    self._marks.end()
                self._ends.wait(RESTS * (self._clock.monotonic_ns() - began) / SECOND_NS)
        except MemoryError:
            log.warning("the trial has broken off: there was no memory left for it")
            self.lacked_memory, self._broken = True, "there was no memory left for it"
        except Exception as exc:
            log.exception("the trial has broken off")
            self._broken = f"{type(exc).__name__}: {exc}"
        finally:
            if self._marks is not None:
                self._marks.end()

    def _try(self, sample: Sample, outcomes: Sequence[Result | Skipped]) -> None:
        (work,) = self._pipeline.prepare([sample])
        if work.rest is not None or len(work.parts) != len(outcomes):
            self._pieces += 1  # a batch: its results come piece by piece
            return
        (theirs,) = self._pipeline.run([work])
        with self._lock:
            if self._over or any(o.model != self._running for o in outcomes if isinstance(o, Result)):
                return  # of the model before
            differing = [self._count(own, other) for own, other in zip(outcomes, theirs, strict=True)]
        if self._differs is not None and any(differing):
            for part, own, other, differs in zip(work.parts, outcomes, theirs, differing, strict=True):
                if differs and isinstance(own, Result) and isinstance(other, Result) and part.reason is None:
                    self._differs(part.payload, part.frame, (own, other))

    def _count(self, own: Result | Skipped, other: Result | Skipped) -> bool:
        """Whether they differ."""
        self._samples += 1
        for name, outcome in (("running", own), ("trial", other)):
            if isinstance(outcome, Skipped):
                self._skipped[name] += 1
                if name == "trial" and isinstance(own, Result):
                    self.skip_reason = outcome.reason
            else:
                timing = outcome.timing_ms
                self._latencies[name].append(timing.preprocess + timing.infer + timing.postprocess)
        found = _differences(own, other)
        self._agreed += not found
        for pair in found:
            self._pairs[pair if pair in self._pairs or len(self._pairs) < PAIRS_MOST else OTHERS] += 1
        return bool(found)


def _differences(own: Result | Skipped, other: Result | Skipped) -> list[Difference]:
    if isinstance(own, Result) and isinstance(other, Result):
        return differences.between(own.predictions, other.predictions)
    words = tuple("skipped" if isinstance(o, Skipped) else "answered" for o in (own, other))
    return [(words[0], words[1])] if words[0] != words[1] else []


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return round(ordered[len(ordered) // 2], 3) if ordered else 0.0
