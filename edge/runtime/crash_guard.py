"""Inputs that were under way when the process died: each is run again, alone, and left out where it kills again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from edge.data.sample import Sample
from edge.runtime.guard import Guard
from edge.storage.crash_marks import FAULT, MEMORY, OTHER, CrashMarks, Slot, digest_of
from edge.storage.death_cause import LOOK_S

log = logging.getLogger("edge.runner")


_CAUSES = {
    FAULT: "the process died of a fault in native code while this input alone was under way",
    MEMORY: "the process was killed for want of memory while this input alone was under way",
}


class CrashGuard(Guard):
    """`open` and `close` in the main thread, around the runner. The rest belongs to one thread each, by its name."""

    def __init__(self, marks: CrashMarks, excused: Callable[[], bool] = lambda: False) -> None:
        """`excused`, asked at `open`: whether something else is to blame for the last death."""
        self._marks = marks
        self._excused = excused
        self._slots: dict[str, Slot] = {}
        self.suspects = False
        self._look_at = 0.0

    def open(self) -> None:
        """Takes over what an earlier life left. Where no memory can be had it goes on without marks, and says so."""
        excused = self._excused()
        try:
            left = self._marks.open(excused=excused)
        except BlockingIOError:
            log.info("inputs are not marked: another process of this name does so", extra={"kept": self._marks.kept})
            return
        except OSError as exc:
            text = "inputs are not marked: one that kills the process will do so again"
            log.warning(text, extra={"reason": str(exc)})
            return
        if left and not excused:
            log.warning("the process died at work", extra={"inputs": left, "kept": self._marks.kept})
        self.suspects = self._marks.any
        self._slots = {thread: self._marks.slot() for thread in ("capture", "infer")}

    def close(self) -> None:
        """A clean end."""
        self._slots = {}
        self._marks.settle()
        self._marks.close()

    def tick(self) -> None:
        """In the main thread, any number of times a second."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            self._marks.look()

    def follow(self, model: str) -> None:
        """Before any sample is that one's. From any thread."""
        self._marks.follow(model)

    def piece(self, sample: Sample, position: tuple[int, int]) -> Sample:
        """A piece of a long batch as a sample of its own: what is beside it in the batch is not to blame."""
        if sample.digest is None:
            return sample
        return replace(sample, digest=digest_of(sample.digest + b"%d/%d" % position))

    def verdict(self, sample: Sample) -> str | None:
        """Why it is not to be run; None where it may be."""
        if sample.digest is None or not self._marks.convicted(sample.digest):
            return None
        why = _CAUSES.get(self._marks.cause(sample.digest), "the process died each time this input was under way")
        return f"{why}: it is left out (to have it tried again, delete {self._marks.kept})"

    def alone(self, sample: Sample) -> bool:
        """Whether it is to be run beside no other: were the process to die, it would be known by what."""
        return sample.digest is not None and self._marks.suspects(sample.digest)

    def mark(self, thread: str, samples: Sequence[Sample] = ()) -> None:
        """These and no others are under way in this thread, until the next call, or until it dies of an error."""
        slot = self._slots.get(thread)
        if slot is not None:
            digests = [sample.digest for sample in samples if sample.digest is not None]
            if len(digests) < len(samples):
                digests.append(OTHER)
            slot.mark(*digests)

    def acquit(self, samples: Sequence[Sample]) -> None:
        """They have run to the end, and the process lives."""
        if not self.suspects:
            return
        suspected = [sample.digest for sample in samples if sample.digest is not None and self.alone(sample)]
        for digest in suspected:
            self._marks.acquit(digest)
        if not suspected:  # the last one of those that came one after the other
            self._marks.settle()
        self.suspects = self._marks.any
