"""Samples to what the engine takes: decode, split, preprocess.

One payload may hold a batch. Its rows are looked at one by one, so that a bad one costs nobody else its result; many
good ones are converted in one go where the preprocessor can.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
from msgspec import UNSET, UnsetType

from edge.data import codec
from edge.data.sample import ModelInput, Payload, Sample
from edge.errors import SampleError
from edge.plugins.protocols import BatchPreprocessor, Preprocessor

InputId = str | int | UnsetType


class Prepared(msgspec.Struct, frozen=True):
    """One sample of a payload, ready for the engine, or the reason why it is not."""

    ready: ModelInput | None
    reason: str
    input_id: InputId
    preprocess_ns: int


class Work(msgspec.Struct, frozen=True):
    """A sample as it was read, and what was made of it; no parts where a window is not full yet."""

    sample: Sample
    parts: Sequence[Prepared]


class _Opened(msgspec.Struct, frozen=True):
    """A payload decoded and split; `reason`: why it was not."""

    payload: Payload
    parts: Sequence[Payload]
    reason: str = ""


class Preparation:
    """From any thread, one at a time: a preprocessor may keep something from sample to sample."""

    def __init__(
        self,
        preprocess: Preprocessor,
        *,
        reserved_id: bool,
        max_input: int,
        now: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """`max_input` in bytes. `now` gives nanoseconds, of which differences count."""
        self._preprocess = preprocess
        self._many = preprocess.many if isinstance(preprocess, BatchPreprocessor) else None
        self._reserved_id = reserved_id
        self._max_input = max_input
        self._now = now
        self._lock = threading.Lock()

    def __call__(self, samples: Sequence[Sample]) -> list[Work]:
        """Never raises SampleError: the reason is in the value."""
        with self._lock:
            started = self._now()
            opened = [self._open(sample) for sample in samples]
            rows = [part for o in opened for part in o.parts]
            ready = self._many(rows) if self._many is not None and len(rows) > 1 else None
            if ready is None:
                spent = (self._now() - started) // max(1, len(samples))
                return [Work(s, self._one_by_one(s, o, spent)) for s, o in zip(samples, opened, strict=True)]
            each_ns = (self._now() - started) // len(rows)
        turn = iter(ready)
        return [Work(s, self._together(o, turn, each_ns)) for s, o in zip(samples, opened, strict=True)]

    def _open(self, sample: Sample) -> _Opened:
        try:
            payload = self._decode(sample.payload) if isinstance(sample.payload, bytes) else sample.payload
            return _Opened(payload, self._preprocess.split(payload))
        except SampleError as exc:
            return _Opened(None, (), str(exc))

    def _decode(self, data: bytes) -> Payload:
        if len(data) > self._max_input:
            raise SampleError(f"{len(data) / 1e6:.1f} MB; at most {self._max_input / 1e6:g} MB (--max-input)")
        return codec.decode(data)

    def _together(self, opened: _Opened, ready: Iterator[ModelInput], each_ns: int) -> Sequence[Prepared]:
        if opened.reason:
            return (Prepared(None, opened.reason, UNSET, each_ns),)
        return [Prepared(next(ready), "", self._input_id(part, opened.payload), each_ns) for part in opened.parts]

    def _one_by_one(self, sample: Sample, opened: _Opened, opened_ns: int) -> Sequence[Prepared]:
        if opened.reason:
            return (Prepared(None, opened.reason, UNSET, opened_ns),)
        found = [self._one(sample, part, opened.payload) for part in opened.parts]
        return [p for p in found if p is not None]

    def _one(self, sample: Sample, part: Payload, whole: Payload) -> Prepared | None:
        started = self._now()
        input_id = self._input_id(part, whole)
        try:
            ready = self._preprocess(msgspec.structs.replace(sample, payload=part))
        except SampleError as exc:
            return Prepared(None, str(exc), input_id, self._now() - started)
        return None if ready is None else Prepared(ready, "", input_id, self._now() - started)

    def _input_id(self, part: Payload, whole: Payload) -> InputId:
        if self._reserved_id:
            for payload in (part, whole):
                if isinstance(payload, Mapping):
                    found = payload.get("id", UNSET)
                    if isinstance(found, (str, int)) and not isinstance(found, bool):
                        return found
        return UNSET
