"""Rows and predictions as they come, counted in blocks. Belongs to one thread at a time; counts leave it by a queue.

What a row costs there is to be remembered until its block is full, or half a second has passed since the last one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import msgspec
import numpy as np

from edge.data.result import Anomaly, Classification, Regression, Result
from edge.data.sample import ModelInput
from edge.data.tensor import Array, Tensors
from edge.data.units import SECOND_NS
from edge.drift.look import STATISTICS, look
from edge.drift.pictures import PicturePlaces
from edge.drift.places import Places, Runs
from edge.plugins.columns import Columns, Words

BLOCK = 512
BLOCK_BYTES = 1 << 20
"""Of outputs, which wait for their block, too."""
EVERY_NS = 500_000_000
_LOOK = "look"


class Counted(msgspec.Struct, frozen=True, eq=False):
    """Of some rows: counts in the places of the features and of the predictions, and by number the longest run of one
    value, and of missing ones, that ended in them or goes on. int64."""

    rows: int
    features: Array
    predictions: Array
    runs: Array
    missing_runs: Array

    def plus(self, more: Counted) -> Counted:
        """Both together, `more` behind these."""
        return Counted(
            self.rows + more.rows,
            self.features + more.features,
            self.predictions + more.predictions,
            np.maximum(self.runs, more.runs),
            np.maximum(self.missing_runs, more.missing_runs),
        )


class Ran(msgspec.Struct, frozen=True, eq=False):
    """So many rows along the first axis of tensors: their real values, and the outputs of the model's engine."""

    count: int
    given: Tensors
    outputs: Tensors


Found: TypeAlias = Columns | Sequence[Sequence[Any]]
"""What the model predicts of some rows: by column, or a list for each of them."""


class Reading(msgspec.Struct, frozen=True):
    """How the features are read from what the model is given: one tensor of all of them, or one of each. `scales`:
    what was taken off each value, and what it was divided by then."""

    inputs: tuple[str, ...]
    scales: tuple[Array, Array] | None = None

    def columns(self, rows: Sequence[Tensors], count: int, features: int) -> Array | list[Array]:
        """[features, count] of one dtype, or an array of each feature; of tensors that hold so many rows together."""
        if len(self.inputs) == 1 and features != 1:
            name = self.inputs[0]
            table = np.concatenate([tensors[name] for tensors in rows], axis=None).reshape(count, features)
            if self.scales is not None:
                table = table * self.scales[1] + self.scales[0]
            return table.T
        found = [np.concatenate([tensors[name] for tensors in rows], axis=None) for name in self.inputs]
        if self.scales is not None:
            found = [column * self.scales[1] + self.scales[0] for column in found]
        return found


def _nothing(ran: Sequence[Ran]) -> Iterator[tuple[int, Found]]:
    yield sum(one.count for one in ran), ()


class RowTally:
    """`watch` is a pipeline's hook. `put` is given what was counted, at most twice a second and at `end`."""

    def __init__(
        self,
        reading: Reading,
        put: Callable[[Counted], None],
        now: Callable[[], int],
        decode: Callable[[Sequence[Ran]], Iterator[tuple[int, Found]]] = _nothing,
    ) -> None:
        """`now` gives nanoseconds that never jump. `decode` tells what outputs say: of how many rows, and what."""
        self._reading = reading
        self._features = self._predictions = Places(())
        self._put = put
        self._now = now
        self._decode = decode
        self._rows: list[Tensors] = []
        self._found: list[Sequence[Any]] = []
        self._ran: list[Ran] = []
        self._held, self._most = 0, BLOCK
        self._runs = Runs(0)
        self._counted: Counted | None = None
        self._put_ns = now()

    def open(self, features: Places, predictions: Places) -> None:
        """Before the first row: where they are counted."""
        self._features, self._predictions = features, predictions
        self._runs = Runs(len(features.numbers))

    def watch(self, result: Result, outputs: Tensors, given: ModelInput) -> None:
        """A row that the model was given, and what it found in it."""
        self._rows.append(given.tensors)
        self._found.append(result.predictions)
        self._remembered(1)

    def ran(self, ran: Ran) -> None:
        """The same of rows of which nothing but the outputs is known: they are decoded with their block."""
        self._rows.append(ran.given)
        if not self._ran:
            each = sum(v.nbytes for v in ran.outputs.values() if isinstance(v, np.ndarray)) // ran.count
            self._most = min(BLOCK, BLOCK_BYTES // max(1, each))
        self._ran.append(ran)
        self._remembered(ran.count)

    def _remembered(self, rows: int) -> None:
        self._held += rows
        due = self._now() - self._put_ns >= EVERY_NS
        if due or self._held >= self._most:
            self._count()
            if due:
                self.hand_over()

    def idle(self) -> None:
        """While no row comes, in the same thread: those before are not kept waiting for it."""
        if (self._rows or self._counted is not None) and self._now() - self._put_ns >= EVERY_NS:
            self._count()
            self.hand_over()

    def end(self) -> None:
        """After the last row, from any thread: counts what is left."""
        self._count()
        self.hand_over()

    def hand_over(self) -> None:
        """What was counted since the last time."""
        self._put_ns = self._now()
        counted, self._counted = self._counted, None
        if counted is not None:
            self._put(counted)

    def _count(self) -> None:
        rows, self._rows = self._rows, []
        found, self._found = self._found, []
        ran, self._ran = self._ran, []
        count, self._held, self._most = self._held, 0, BLOCK
        if not count:
            return
        features, numbers = self._of_features(rows, count)
        runs, missing_runs = self._runs.longest(numbers)
        predictions = self._of_predictions(len(found), found)
        if ran and len(self._predictions):
            for each, some in self._decode(ran):
                predictions += self._of_predictions(each, some)
        counted = Counted(count, features, predictions, runs, missing_runs)
        self._counted = counted if self._counted is None else self._counted.plus(counted)

    def _of_features(self, rows: Sequence[Tensors], count: int) -> tuple[Array, Array]:
        """Counts, and the numbers [numbers, rows] as float32."""
        places = self._features
        columns = self._reading.columns(rows, count, len(places.features))
        with np.errstate(over="ignore"):
            if isinstance(columns, np.ndarray) and columns.dtype != object and not places.texts:
                numbers = np.ascontiguousarray(columns, dtype=np.float32)
            else:
                numbers = np.asarray(
                    [_numbers(columns[i]) for i in places.numbers], dtype=np.float32
                ).reshape(len(places.numbers), count)  # fmt: skip
        counts = places.count_numbers(numbers)
        for i in places.texts:
            counts = counts + places.count_texts(i, [_text(v) for v in columns[i].tolist()])
        return counts, numbers

    def _of_predictions(self, count: int, found: Found) -> Array:
        """Counts, of the predictions of so many rows."""
        places = self._predictions
        if not count or not places.features:
            return np.zeros(len(places), dtype=np.int64)
        if isinstance(found, Columns):
            return _of_columns(places, count, found)
        counts = np.zeros(len(places), dtype=np.int64)
        if places.of_objects:
            return counts + _of_objects(places, found)
        for i in places.texts:
            labels = [f[0].label if f and isinstance(f[0], Classification) else "" for f in found]
            counts += places.count_texts(i, labels)
        if places.numbers:
            values = [[_value(f[i]) if i < len(f) else np.nan for f in found] for i in places.numbers]
            counts += places.count_numbers(np.asarray(values, dtype=np.float32))
        return counts


def _of_objects(places: Places, found: Sequence[Sequence[Any]]) -> Array:
    """Counts, of the objects in each picture."""
    things = [thing for some in found for thing in some]
    counts = places.count_texts(0, [thing.label for thing in things])
    counts += places.count_number(1, np.asarray([len(some) for some in found], dtype=np.float32))
    if places.object_score is not None:
        scores = np.asarray([thing.score for thing in things], dtype=np.float32)
        counts += places.count_number(places.object_score, scores)
    return counts


def _of_columns(places: Places, count: int, found: Columns) -> Array:
    """Counts, of the label of each row, or of the numbers in their order."""
    counts = np.zeros(len(places), dtype=np.int64)
    label = found.values.get("label")
    known = count if found.empty is None else count - int(found.empty.sum())
    if places.texts and isinstance(label, Words):
        codes = label.codes if found.empty is None else label.codes[~found.empty]
        counts += places.count_texts(0, label.words, np.bincount(codes, minlength=len(label.words)))
        counts[places.starts[1] - 1] += count - known
    numbers = [values for values in found.values.values() if not isinstance(values, Words)]
    if places.numbers:
        columns = [
            numbers[i].astype(np.float32) if i < len(numbers) else np.full(count, np.nan) for i in places.numbers
        ]
        counts += places.count_numbers(np.asarray(columns, dtype=np.float32))
    return counts


class PictureTally(RowTally):
    """The same of pictures that were looked at."""

    def __init__(self, put: Callable[[Counted], None], now: Callable[[], int]) -> None:
        super().__init__(Reading((_LOOK,)), put, now)

    def watch(self, result: Result, outputs: Tensors, given: ModelInput) -> None:
        """A picture; it is passed over where it was not looked at."""
        if given.look is not None:
            super().watch(result, outputs, ModelInput({_LOOK: given.look}))

    def _of_features(self, rows: Sequence[Tensors], count: int) -> tuple[Array, Array]:
        assert isinstance(self._features, PicturePlaces)
        looks = np.stack([tensors[_LOOK] for tensors in rows])
        return self._features.count_looks(looks), np.ascontiguousarray(looks[:, : len(STATISTICS)].T)


class Looker:
    """Looks at a picture now and then. From any thread: two that come at the same time may both be looked at."""

    def __init__(self, every_s: float, now: Callable[[], int]) -> None:
        """`now` gives nanoseconds that never jump."""
        self._every_ns = int(every_s * SECOND_NS)
        self._now = now
        self._due_ns = now()

    def __call__(self, pixels: Array) -> Array | None:
        """`look.look` of a picture, where it is time for one."""
        now = self._now()
        if now < self._due_ns:
            return None
        self._due_ns = now + self._every_ns
        return look(pixels)


def _numbers(column: Array) -> Array:
    if column.dtype != object:
        return column
    return np.asarray([float(v) if v not in ("", None) else np.nan for v in column.tolist()])


def _text(value: object) -> str:
    if isinstance(value, float) and value != value:
        return ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _value(prediction: object) -> float:
    if isinstance(prediction, Regression):
        return prediction.value
    return prediction.score if isinstance(prediction, Anomaly) else float("nan")
