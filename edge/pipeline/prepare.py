"""Samples to what the engine takes: decode, split, preprocess.

One payload may hold a batch. Its rows are looked at one by one, so that a bad one costs nobody else its result; many
good ones are converted in one go where the preprocessor can. Of a large one only a piece is prepared, or even decoded,
at a time, so that what it takes is bounded by its bytes, and there is time for other things in between.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from edge.data import codec
from edge.data.json_path import JsonPath
from edge.data.json_rows import PIECE_BYTES, JsonRows, json_rows
from edge.data.result import Prediction, Timing
from edge.data.sample import ModelInput, Payload, Sample, is_object
from edge.data.tensor import Tensors
from edge.errors import SampleError
from edge.plugins.columns import ColumnPreprocessor
from edge.plugins.protocols import AheadPreprocessor, BatchPreprocessor, FreePreprocessor, Preprocessor

InputId = str | int | UnsetType
Decoded: TypeAlias = tuple[Sequence[Prediction] | str, Timing, Tensors]
"""What the model found in one input, or the reason why nothing; how long it took; what the model gave."""
BLOCK = 1024
"""Decoded rows whose place in their batch is one and the same to `position`."""


class Opened(msgspec.Struct, frozen=True):
    """A payload decoded, and the samples that it holds, those before `at` are done. Of a long JSON array `parts` are
    but the first; `text` holds the others. `whole` is the payload where it is an object. `reason`: why these parts
    cannot be had."""

    whole: Mapping[str, Payload] | None
    parts: Sequence[Payload]
    at: int = 0
    text: JsonRows | None = None
    start: int = 0
    reason: str = ""

    @property
    def position(self) -> tuple[int, int]:
        """Where in the batch the next piece lies: the same for the same batch in another life of the process."""
        if self.at < len(self.parts) or self.text is None:
            return self.start, self.at // BLOCK
        return self.text.at, 0

    @property
    def is_long(self) -> bool:
        """More is left than is decoded at once."""
        return self.text is not None or len(self.parts) - self.at > BLOCK

    def cut(self, most: int) -> tuple[Sequence[Payload], Opened | None]:
        """The next parts, `most` at most, and what is left behind them."""
        rest = None if self.text is None else Opened(None, (), text=self.text)
        if not self.at and len(self.parts) <= most:
            return self.parts, rest
        end = min(self.at + most, (self.at // BLOCK + 1) * BLOCK)
        return self.parts[self.at : end], replace(self, at=end) if end < len(self.parts) else rest


class Prepared(msgspec.Struct, frozen=True):
    """One sample of a payload, ready for the engine, or the reason why it is not. `payload` is the sample's own, where
    it is ready."""

    ready: ModelInput | None
    reason: str
    input_id: InputId
    preprocess_ns: int
    payload: Payload = None


class Work(msgspec.Struct, frozen=True):
    """A sample as it was read, and what was made of it; no parts where a window is not full yet. `rest`: what is left
    of a batch. `decoded`: of each part that is ready, where the model has run. `prepared_by`: the pipeline that made
    it, where another one may run by then."""

    sample: Sample
    parts: Sequence[Prepared]
    rest: Opened | None = None
    decoded: Sequence[Decoded] | None = None
    prepared_by: object = None


class Preparation:
    """From any thread, one at a time: a preprocessor may keep something from sample to sample."""

    def __init__(
        self,
        preprocess: Preprocessor,
        *,
        reserved_id: bool = True,
        max_input: int = 32_000_000,
        path: JsonPath | None = None,
        now: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """`reserved_id`: `id` is no feature of the model's, it names an input. `max_input` in bytes. `path`: where in a
        JSON value the input is. `now` gives nanoseconds, of which differences count; the pipeline goes by it, too."""
        self._preprocess = preprocess
        self._batch = preprocess if isinstance(preprocess, BatchPreprocessor) else None
        self.free = isinstance(preprocess, FreePreprocessor)
        """Nothing is kept from sample to sample."""
        self._by_row = isinstance(preprocess, FreePreprocessor) and preprocess.by_row and path is None
        self.from_columns = preprocess.from_columns if isinstance(preprocess, ColumnPreprocessor) else None
        self._path = path
        self._reserved_id = reserved_id
        self._max_input = max_input
        self.now = now
        self.ahead = isinstance(preprocess, AheadPreprocessor) and preprocess.ahead
        """Two threads prepare: the one that captures prepares ahead."""
        self._turn = threading.Lock() if self.ahead else contextlib.nullcontext()

    def __call__(self, samples: Sequence[Sample], most: int) -> list[Work]:
        """Of each sample `most` parts at most. Never raises SampleError: the reason is in the value."""
        with self._turn:
            started = self.now()
            opened = [self._open(sample) for sample in samples]
            return self._prepare(samples, opened, most, started)

    def next(self, work: Work, most: int) -> Work:
        """The next piece of a batch of which something is left."""
        assert work.rest is not None
        with self._turn:
            started = self.now()
            rest = work.rest
            if rest.at == len(rest.parts) and rest.text is not None:
                rest = _decoded(rest.text)
            return self._prepare([work.sample], [rest], most, started)[0]

    def leave_out(self, work: Work, reason: str) -> Work:
        """Passes over the next piece of a batch, all that has its position."""
        assert work.rest is not None
        rest = work.rest
        if rest.at == len(rest.parts) and rest.text is not None:
            left = rest.text.after(rest.text.end)
            after = None if left is None else Opened(None, (), text=left)
        else:
            _, after = rest.cut(BLOCK)
        return Work(work.sample, (Prepared(None, reason, UNSET, 0),), after)

    def _prepare(self, samples: Sequence[Sample], opened: Sequence[Opened], most: int, started_ns: int) -> list[Work]:
        spent = (self.now() - started_ns) // max(1, len(samples))
        several = len(opened) != 1 or len(opened[0].parts) > 1
        if several and (together := self._prepare_together(samples, opened, most, started_ns)):
            return together
        return [self._one_by_one(s, o, most, spent) for s, o in zip(samples, opened, strict=True)]

    def _open(self, sample: Sample) -> Opened:
        """Decoded and split, or the reason why it is not."""
        try:
            payload = sample.payload
            if isinstance(payload, bytes):
                size = sample.unkept or len(payload)
                if size > self._max_input:
                    raise SampleError(f"{size / 1e6:.1f} MB; at most {self._max_input / 1e6:g} MB (--max-input)")
                if self._by_row and len(payload) > PIECE_BYTES and (rows := json_rows(payload)) is not None:
                    return _decoded(rows)
                payload = codec.decode(payload)
            whole = payload if is_object(payload) else None
            if self._path is not None and isinstance(payload, (dict, list, str, int, float, type(None))):
                payload = self._path.pick(payload)
            return Opened(whole, self._preprocess.split(payload))
        except SampleError as exc:
            return Opened(None, (), reason=str(exc))

    def _prepare_together(
        self, samples: Sequence[Sample], opened: Sequence[Opened], most: int, started_ns: int
    ) -> list[Work] | None:
        """All rows in one go; None where there is but one, or they have to go one by one."""
        pieces = [o.cut(most) for o in opened]
        rows = [part for piece, _ in pieces for part in piece]
        inputs = self._batch.many(rows) if self._batch is not None and len(rows) > 1 else None
        if inputs is None:
            return None
        each_ns = (self.now() - started_ns) // len(rows)
        works, ready = [], iter(inputs)
        for sample, one, (piece, rest) in zip(samples, opened, pieces, strict=True):
            if one.reason:
                works.append(Work(sample, (Prepared(None, one.reason, UNSET, each_ns),), rest))
                continue
            parts = [Prepared(next(ready), "", self._input_id(p, one.whole), each_ns, p) for p in piece]
            works.append(Work(sample, parts, rest))
        return works

    def _one_by_one(self, sample: Sample, opened: Opened, most: int, opened_ns: int) -> Work:
        piece, rest = opened.cut(most)
        if opened.reason:
            return Work(sample, (Prepared(None, opened.reason, UNSET, opened_ns),), rest)
        parts = [p for part in piece if (p := self._one(sample, part, opened.whole)) is not None]
        return Work(sample, parts, rest)

    def _one(self, sample: Sample, part: Payload, whole: Mapping[str, Payload] | None) -> Prepared | None:
        started = self.now()
        input_id = self._input_id(part, whole)
        try:
            ready = self._preprocess(replace(sample, payload=part))
        except SampleError as exc:
            return Prepared(None, str(exc), input_id, self.now() - started)
        return None if ready is None else Prepared(ready, "", input_id, self.now() - started, part)

    def _input_id(self, part: Payload, whole: Mapping[str, Payload] | None) -> InputId:
        if self._reserved_id:
            for payload in (part,) if part is whole or whole is None else (part, whole):
                if is_object(payload):
                    found = payload.get("id", UNSET)
                    if isinstance(found, (str, int)) and not isinstance(found, bool):
                        return found
        return UNSET


def _decoded(rows: JsonRows) -> Opened:
    """The next piece of a long array."""
    end = rows.end
    try:
        return Opened(None, rows.decoded(end), text=rows.after(end), start=rows.at)
    except SampleError as exc:
        reason = f"bytes {rows.at} to {end} of a batch are left out: {exc}"
        return Opened(None, (), text=rows.after(end), start=rows.at, reason=reason)
