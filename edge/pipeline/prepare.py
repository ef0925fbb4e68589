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
from msgspec import UNSET
from msgspec.structs import replace

from edge.data import codec
from edge.data.json_path import JsonPath
from edge.data.json_rows import PIECE_BYTES, JsonRows, json_rows
from edge.data.result import Prediction, Timing
from edge.data.sample import InputId, ModelInput, Payload, Sample, is_object
from edge.data.tensor import Tensors
from edge.errors import SampleError
from edge.plugins.columns import ColumnPreprocessor
from edge.plugins.protocols import AheadPreprocessor, BatchPreprocessor, FreePreprocessor, Preprocessor

Decoded: TypeAlias = tuple[Sequence[Prediction] | str, Timing, Tensors]
"""What the model found in one input, or the reason why nothing; how long it took; what the model gave."""
BLOCK = 1024
"""Decoded rows whose place in their batch is one and the same to `position`."""


class Work(msgspec.Struct, frozen=True):
    """A sample as it was read, and what was made of it: first it is opened, then the next of its `rows` are prepared.

    Opened: `rows` are the samples that it holds, decoded, those before `at` are done. Of a long JSON array they are but
    the first, `start` their place in it; `text` holds the others. `whole` is the payload where it is an object.
    `reason`: why these rows cannot be had.

    Prepared: `parts`, none where a window is not full yet, and in `rest`, opened, what is left of a batch. `decoded`:
    of each part that is ready, where the model has run. `prepared_by`: the pipeline that made it, where another one may
    run by then."""

    sample: Sample
    rows: Sequence[Payload] = ()
    at: int = 0
    text: JsonRows | None = None
    start: int = 0
    whole: Mapping[str, Payload] | None = None
    reason: str | None = None
    parts: Sequence[ModelInput] = ()
    rest: Work | None = None
    decoded: Sequence[Decoded] | None = None
    prepared_by: object = None

    @property
    def position(self) -> tuple[int, int]:
        """Where in the batch the next piece lies: the same for the same batch in another life of the process."""
        if self.at < len(self.rows) or self.text is None:
            return self.start, self.at // BLOCK
        return self.text.at, 0

    @property
    def is_long(self) -> bool:
        """More is left than is decoded at once."""
        return self.text is not None or len(self.rows) - self.at > BLOCK

    def cut(self, most: int) -> tuple[Sequence[Payload], Work | None]:
        """The next rows, `most` at most, and what is left behind them."""
        rest = None if self.text is None else Work(self.sample, text=self.text)
        if not self.at and len(self.rows) <= most:
            return self.rows, rest
        end = min(self.at + most, (self.at // BLOCK + 1) * BLOCK)
        return self.rows[self.at : end], replace(self, at=end) if end < len(self.rows) else rest


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
            return self._prepare([self._open(sample) for sample in samples], most, started)

    def next(self, work: Work, most: int) -> Work:
        """The next piece of a batch of which something is left."""
        assert work.rest is not None
        with self._turn:
            started = self.now()
            rest = work.rest
            if rest.at == len(rest.rows) and rest.text is not None:
                rest = _decoded(rest.sample, rest.text)
            return self._prepare([rest], most, started)[0]

    def leave_out(self, work: Work, reason: str) -> Work:
        """Passes over the next piece of a batch, all that has its position."""
        assert work.rest is not None
        rest = work.rest
        if rest.at == len(rest.rows) and rest.text is not None:
            left = rest.text.after(rest.text.end)
            after = None if left is None else Work(work.sample, text=left)
        else:
            _, after = rest.cut(BLOCK)
        return Work(work.sample, parts=(ModelInput({}, reason=reason),), rest=after)

    def _prepare(self, opened: Sequence[Work], most: int, started_ns: int) -> list[Work]:
        """The next parts of each: all rows in one go where the preprocessor can, else one by one."""
        pieces = [work.cut(most) for work in opened]
        inputs, count = None, max(1, len(opened))
        if self._batch is not None and (len(opened) != 1 or len(pieces[0][0]) > 1):
            rows = [row for piece, _ in pieces for row in piece]
            inputs = self._batch.many(rows) if len(rows) > 1 else None
            count = count if inputs is None else len(rows)
        each_ns = (self.now() - started_ns) // count
        works, ready = [], iter(inputs or ())
        for work, (piece, rest) in zip(opened, pieces, strict=True):
            parts: Sequence[ModelInput]
            if work.reason is not None:
                parts = (ModelInput({}, preprocess_ns=each_ns, reason=work.reason),)
            elif inputs is None:
                parts = [p for row in piece if (p := self._one(work, row)) is not None]
            else:
                parts = [
                    replace(next(ready), payload=row, input_id=self._input_id(row, work.whole), preprocess_ns=each_ns)
                    for row in piece
                ]
            works.append(Work(work.sample, parts=parts, rest=rest))
        return works

    def _open(self, sample: Sample) -> Work:
        """Decoded and split, or the reason why it is not."""
        try:
            payload = sample.payload
            if isinstance(payload, bytes):
                size = sample.unkept or len(payload)
                if size > self._max_input:
                    raise SampleError(f"{size / 1e6:.1f} MB; at most {self._max_input / 1e6:g} MB (--max-input)")
                if self._by_row and len(payload) > PIECE_BYTES and (rows := json_rows(payload)) is not None:
                    return _decoded(sample, rows)
                payload = codec.decode(payload)
            whole = payload if is_object(payload) else None
            if self._path is not None and isinstance(payload, (dict, list, str, int, float, type(None))):
                payload = self._path.pick(payload)
            return Work(sample, self._preprocess.split(payload), whole=whole)
        except SampleError as exc:
            return Work(sample, reason=str(exc))

    def _one(self, work: Work, row: Payload) -> ModelInput | None:
        started = self.now()
        input_id = self._input_id(row, work.whole)
        try:
            ready = self._preprocess(replace(work.sample, payload=row))
        except SampleError as exc:
            return ModelInput({}, input_id=input_id, preprocess_ns=self.now() - started, reason=str(exc))
        if ready is None:
            return None
        return replace(ready, payload=row, input_id=input_id, preprocess_ns=self.now() - started)

    def _input_id(self, part: Payload, whole: Mapping[str, Payload] | None) -> InputId:
        if self._reserved_id:
            for payload in (part,) if part is whole or whole is None else (part, whole):
                if is_object(payload):
                    found = payload.get("id", UNSET)
                    if isinstance(found, (str, int)) and not isinstance(found, bool):
                        return found
        return UNSET


def _decoded(sample: Sample, rows: JsonRows) -> Work:
    """The next piece of a long array."""
    end = rows.end
    try:
        return Work(sample, rows.decoded(end), text=rows.after(end), start=rows.at)
    except SampleError as exc:
        reason = f"bytes {rows.at} to {end} of a batch are left out: {exc}"
        return Work(sample, text=rows.after(end), start=rows.at, reason=reason)
