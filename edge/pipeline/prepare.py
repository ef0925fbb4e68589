"""Samples to what the engine takes: decode, split, preprocess.

One payload may hold a batch. Its rows are looked at one by one, so that a bad one costs nobody else its result; many
good ones are converted in one go where the preprocessor can.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from edge.data import codec
from edge.data.sample import ModelInput, Payload, Sample
from edge.errors import SampleError
from edge.plugins.protocols import AheadPreprocessor, BatchPreprocessor, Preprocessor

InputId = str | int | UnsetType
Opened: TypeAlias = tuple[Payload, Sequence[Payload]]
"""A payload decoded, and the samples that it holds."""


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
        self._batch = preprocess if isinstance(preprocess, BatchPreprocessor) else None
        self._reserved_id = reserved_id
        self._max_input = max_input
        self._now = now
        self.ahead = isinstance(preprocess, AheadPreprocessor) and preprocess.ahead
        """Two threads prepare: the one that captures prepares ahead."""
        self._turn = threading.Lock() if self.ahead else contextlib.nullcontext()

    def __call__(self, samples: Sequence[Sample]) -> list[Work]:
        """Never raises SampleError: the reason is in the value."""
        with self._turn:
            started = self._now()
            opened = [self._open(sample) for sample in samples]
            spent = (self._now() - started) // max(1, len(samples))
            if self._batch is not None and (together := self._prepare_together(samples, opened, started)):
                return together
            return [Work(s, self._one_by_one(s, o, spent)) for s, o in zip(samples, opened, strict=True)]

    def _open(self, sample: Sample) -> Opened | str:
        """Decoded and split, or the reason why it is not."""
        try:
            payload = sample.payload
            if isinstance(payload, bytes):
                payload = self._decode(payload)
            return payload, self._preprocess.split(payload)
        except SampleError as exc:
            return str(exc)

    def _decode(self, data: bytes) -> Payload:
        if len(data) > self._max_input:
            raise SampleError(f"{len(data) / 1e6:.1f} MB; at most {self._max_input / 1e6:g} MB (--max-input)")
        return codec.decode(data)

    def _prepare_together(
        self, samples: Sequence[Sample], opened: Sequence[Opened | str], started_ns: int
    ) -> list[Work] | None:
        """All rows in one go; None where there is but one, or they have to go one by one."""
        rows = [part for o in opened if not isinstance(o, str) for part in o[1]]
        inputs = self._batch.many(rows) if self._batch is not None and len(rows) > 1 else None
        if inputs is None:
            return None
        each_ns = (self._now() - started_ns) // len(rows)
        works, at = [], 0
        for sample, one in zip(samples, opened, strict=True):
            if isinstance(one, str):
                works.append(Work(sample, (Prepared(None, one, UNSET, each_ns),)))
                continue
            whole, parts = one
            ready = zip(parts, inputs[at : at + len(parts)], strict=True)
            works.append(Work(sample, [Prepared(r, "", self._input_id(p, whole), each_ns) for p, r in ready]))
            at += len(parts)
        return works

    def _one_by_one(self, sample: Sample, opened: Opened | str, opened_ns: int) -> Sequence[Prepared]:
        if isinstance(opened, str):
            return (Prepared(None, opened, UNSET, opened_ns),)
        whole, parts = opened
        return [p for part in parts if (p := self._one(sample, part, whole)) is not None]

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
