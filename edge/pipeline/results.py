"""What was found, as it is published: numbered, dated, signed."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache

import msgspec
from msgspec import UNSET, UnsetType

from edge.data.result import SCHEMA, ModelRef, Prediction, Result, Skipped, Timing
from edge.data.sample import Sample
from edge.data.units import SECOND_NS


class Identity(msgspec.Struct, frozen=True):
    """Who makes the results. `boot` tells two lives of the process apart."""

    device: str
    model: ModelRef
    task: str
    boot: str


class ResultBuilder:
    """Numbers results and skipped samples alike: `seq` leaves no gap."""

    def __init__(
        self, identity: Identity, clock_synced: Callable[[], bool] = lambda: True, seq: Iterator[int] | None = None
    ) -> None:
        """`seq` is shared by all that write in one boot, so that no two results have one `id`."""
        self.identity = identity
        self._before_seq = f"{identity.device}/{identity.model.name}/{identity.boot}/"
        self.clock_synced = clock_synced
        self._seq = seq if seq is not None else itertools.count(1)

    def reserve(self, count: int) -> int:
        """The first of so many numbers that no other result gets."""
        first = next(self._seq)
        deque(itertools.islice(self._seq, count - 1), maxlen=0)
        return first

    def result(
        self,
        sample: Sample,
        predictions: Sequence[Prediction],
        timing: Timing,
        *,
        synced: bool,
        input_id: str | int | UnsetType,
        seq: int | None = None,
    ) -> Result:
        """What is published on `result`. `seq`: a number that was reserved."""
        seq = next(self._seq) if seq is None else seq
        who = self.identity
        return Result(
            schema=SCHEMA,
            id=f"{self._before_seq}{seq}",
            time=timestamp(sample.time_ns),
            clock_synced=synced,
            device=who.device,
            model=who.model,
            source=sample.source,
            seq=seq,
            task=who.task,
            predictions=list(predictions),
            timing_ms=timing,
            input_id=input_id,
            retained=True if sample.retained else UNSET,
        )

    def skipped(self, sample: Sample, reason: str, input_id: str | int | UnsetType = UNSET) -> Skipped:
        """What is published on `error` for a sample that could not be used."""
        seq = next(self._seq)
        return Skipped(
            schema=SCHEMA,
            id=f"{self._before_seq}{seq}",
            time=timestamp(sample.time_ns),
            device=self.identity.device,
            model=self.identity.model.name,
            source=sample.source,
            seq=seq,
            reason=reason,
            input_id=input_id,
        )


def timing(preprocess_ns: int, infer_ns: int, postprocess_ns: int) -> Timing:
    """In milliseconds, to the microsecond."""
    return Timing(preprocess_ns // 1000 / 1000, infer_ns // 1000 / 1000, postprocess_ns // 1000 / 1000)


def timestamp(time_ns: int) -> str:
    """RFC 3339 in UTC, to the microsecond."""
    seconds, rest = divmod(time_ns, SECOND_NS)
    return f"{_second(seconds)}.{rest // 1000:06d}Z"


@lru_cache(maxsize=8)
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"
