"""Rows that come as tensors, over HTTP, for the watch on drift."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.app import assembly
from edge.data.sample import ModelInput
from edge.errors import SampleError
from edge.pipeline.real_values import RealValues
from edge.plugins.columns import ColumnPostprocessor
from edge.plugins.protocols import BatchPostprocessor

if TYPE_CHECKING:
    from edge.data.result import Result
    from edge.data.tensor import Array, Tensors
    from edge.drift.reference import Reference
    from edge.drift.tally import Found, Ran, RowTally


class TensorRows:
    """Tensors of several rows as real values, and later what the model found in them. From any thread."""

    def __init__(self, loaded: assembly.Loaded, reference: Reference) -> None:
        from edge.drift.tally import Ran

        self._ran = Ran
        self._predicts = bool(reference.predictions)
        self._decode = assembly.make_postprocessor(loaded)
        self._real = RealValues(loaded.engine)
        widths = [(i.name, len(i.features)) for i in loaded.manifest.inputs if i.kind in ("table", "column")]
        named = any(width for _, width in widths)
        self._inputs = [(name, width if named else len(reference.features)) for name, width in widths]

    def of(self, given: Tensors, outputs: Tensors) -> Ran | None:
        """The rows; None where the tensors are none."""
        count = 0
        for name, width in self._inputs:
            rows = given.get(name)
            if rows is None or not rows.ndim or rows.size != len(rows) * width or count not in (0, len(rows)):
                return None
            count = len(rows)
        if not count:
            return None
        if not self._predicts:
            outputs = {}
        if not self._real.quantized_input:
            return self._ran(count, given, outputs)
        return self._ran(count, self._real.real(ModelInput({n: given[n] for n, _ in self._inputs})).tensors, outputs)

    def found(self, ran: Sequence[Ran]) -> Iterator[tuple[int, Found]]:
        """What the model found in rows: of all in one where that is sure, else of each request."""
        together = self._together(ran)
        if together is not None:
            yield together
            return
        for one in ran:
            yield one.count, self._each(self._real.real_outputs(one.outputs), one.count, one.given)

    def _together(self, ran: Sequence[Ran]) -> tuple[int, Found] | None:
        if not isinstance(self._decode, ColumnPostprocessor):
            return None
        counts = [(one.count,) for one in ran]
        joined: dict[str, Array] = {}
        for name in ran[0].outputs:
            parts = [one.outputs[name] for one in ran]
            if {type(v) for v in parts} != {np.ndarray} or [v.shape[:1] for v in parts] != counts:
                return None
            joined[name] = np.concatenate(parts)
        count = len(next(iter(joined.values()), ()))
        try:
            columns = self._decode.to_columns(self._real.real_outputs(joined), count)
        except (SampleError, IndexError, ValueError):
            return None
        return None if columns is None else (count, columns)

    def _each(self, outputs: Tensors, count: int, real: Tensors) -> Sequence[Sequence[Any]]:
        """Predictions of each row; none where the outputs cannot be cut into rows, or say nothing."""
        if count > 1 and isinstance(self._decode, BatchPostprocessor):
            try:
                if (many := self._decode.many(outputs, count)) is not None:
                    return many
            except SampleError:
                return [()] * count
        found: list[Sequence[Any]] = []
        for i in range(count):
            try:
                row = {n: v[i : i + 1] for n, v in outputs.items()}
                given = {n: real[n][i : i + 1] for n, _ in self._inputs}
                found.append(self._decode(row, ModelInput(given)))
            except (SampleError, IndexError, ValueError):
                found.append(())
        return found


class SharedTally:
    """Rows that come over HTTP: one tally for all its pipelines, in the order in which they are answered, so that a
    sensor that stands still is seen whichever thread has its rows. From any thread."""

    def __init__(self, tally: RowTally, rows: TensorRows | None) -> None:
        """`rows`: None where tensors are none."""
        self._tally = tally
        self._rows = rows
        self._lock = threading.Lock()

    def watch(self, result: Result, outputs: Tensors, given: ModelInput) -> None:
        """A row that the model was given, and what it found in it."""
        with self._lock:
            self._tally.watch(result, outputs, given)

    def watch_tensors(self, given: Tensors, outputs: Tensors) -> None:
        """Rows along the first axis, which the model was given as they are. What has another shape is no row."""
        ran = self._rows.of(given, outputs) if self._rows is not None else None
        if ran is not None:
            with self._lock:
                self._tally.ran(ran)

    def tick(self) -> None:
        """About twice a second: rows are not kept waiting for the next one."""
        with self._lock:
            self._tally.idle()

    def end(self) -> None:
        """Counts what is left."""
        with self._lock:
            self._tally.end()
