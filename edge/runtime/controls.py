"""What a person may change while the service runs: whether it reads, and which objects it tells.

One thread, the main one, decides; it puts a whole new value in place of the old one, and the threads that read and
infer look at it once for each sample.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from edge.data.result import Result
from edge.data.sample import Frame, Sample
from edge.pipeline.stages import Follow


class Wanted(msgspec.Struct, frozen=True):
    """`threshold`, `classes`, `labels`: None is as the model and the settings say."""

    paused: bool = False
    threshold: float | None = None
    classes: tuple[str, ...] | None = None
    labels: tuple[str, ...] | None = None


class Controls:
    """`wanted` belongs to the main thread, as does `ask`; the rest is for the threads that read and infer."""

    def __init__(self) -> None:
        self.wanted = Wanted()
        self._reading, self._telling = threading.Event(), threading.Event()

    def ask(self) -> None:
        """One reading now: also while it is paused, and whatever the publishing rules say."""
        self._reading.set()
        self._telling.set()

    @property
    def holds(self) -> bool:
        """Nothing is to be read."""
        return self.wanted.paused and not self._reading.is_set()

    def read(self) -> None:
        """A sample was read."""
        if self._reading.is_set():
            self._reading.clear()

    @property
    def asks(self) -> bool:
        """A result was asked for, and is still to come."""
        return self._telling.is_set()

    def tells(self) -> bool:
        """Whether the next result is the one that was asked for; True once."""
        if not self._telling.is_set():
            return False
        self._telling.clear()
        return True


class Selection:
    """Behind the decoder, which may tell more than is wanted; before or in place of what follows objects. Belongs to
    the thread that infers."""

    def __init__(
        self,
        controls: Controls,
        threshold: float | None,
        follow: Follow | None = None,
        set_threshold: Callable[[float], None] | None = None,
    ) -> None:
        """`threshold` holds where none was said since; `follow` is told it by `set_threshold`, and cuts by itself."""
        self._controls = controls
        self._threshold = threshold
        self._follow = follow
        self._set_threshold = set_threshold

    def __call__(self, sample: Sample, result: Result, frame: Frame | None) -> Result:
        wanted = self._controls.wanted
        found: Sequence[Any] = result.predictions
        if wanted.labels is not None:
            found = [_named(one, wanted.labels) for one in found]
        if wanted.classes is not None:
            found = [one for one in found if one.label in wanted.classes]
        threshold = self._threshold if wanted.threshold is None else wanted.threshold
        if self._set_threshold is not None and threshold is not None:
            self._set_threshold(threshold)
        elif threshold is not None:
            found = [one for one in found if one.score >= threshold]
        if len(found) != len(result.predictions) or wanted.labels is not None:
            result = msgspec.structs.replace(result, predictions=list(found))
        return result if self._follow is None else self._follow(sample, result, frame)


def _named(one: Any, labels: Sequence[str]) -> Any:
    return msgspec.structs.replace(one, label=labels[one.index]) if 0 <= one.index < len(labels) else one
