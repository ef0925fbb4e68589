"""Rows in, counts out: in blocks, at most twice a second, and none is lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from edge.data.result import Classification, Detection, ModelRef, Regression, Result, Timing
from edge.data.sample import ModelInput
from edge.data.units import SECOND_NS
from edge.drift import reference
from edge.drift.places import Places
from edge.drift.tally import BLOCK, BLOCK_BYTES, Counted, Ran, Reading, RowTally
from edge.plugins.columns import Columns, Words
from edge.testing.fakes import FakeClock

FEATURES = Places(
    [reference.of_numbers(name, np.random.default_rng(i).normal(size=500)) for i, name in enumerate("ab")]
)
CLASSES = Places([reference.of_classes({"hot": 5, "cold": 5})])


class Tallied:
    """A tally, and what it has handed over."""

    def __init__(
        self, reading: Reading, features: Places = FEATURES, predictions: Places = CLASSES, **decode: Any
    ) -> None:
        self.clock = FakeClock()
        self.put: list[Counted] = []
        self.tally = RowTally(reading, self.put.append, self.clock.monotonic_ns, **decode)
        self.tally.open(features, predictions)

    def row(self, tensors: dict[str, np.ndarray], *predictions: object) -> None:
        self.tally.watch(result(*predictions), {}, ModelInput(tensors))

    @property
    def rows(self) -> int:
        return sum(c.rows for c in self.put)


def result(*predictions: object) -> Result:
    return Result(
        schema=1, id="d/m/b/1", time="", clock_synced=True, device="d", model=ModelRef("m", "1", ""), source="test",
        seq=1, task="classify", predictions=list(predictions), timing_ms=Timing(0, 0, 0),
    )  # fmt: skip


def table(*values: float) -> dict[str, np.ndarray]:
    return {"x": np.asarray([values], dtype=np.float32)}


HOT = Classification(0, "hot", 0.9)


def test_rows_are_counted_once_and_handed_over_after_half_a_second() -> None:
    tallied = Tallied(Reading(("x",)))
    for _ in range(3 * BLOCK + 5):
        tallied.row(table(0.0, 0.1), HOT)
    assert not tallied.put

    tallied.clock.advance(0.5)
    tallied.row(table(0.0, 0.1), HOT)

    assert tallied.rows == 3 * BLOCK + 6
    assert [int(c.features.sum()) for c in tallied.put] == [2 * tallied.rows]
    assert tallied.put[0].predictions.tolist()[0] == tallied.rows


def test_the_end_hands_over_what_is_left() -> None:
    tallied = Tallied(Reading(("x",)))
    tallied.row(table(0.0, 0.1), HOT)

    tallied.tally.end()

    assert tallied.rows == 1


def test_a_run_goes_on_from_one_handing_over_to_the_next() -> None:
    tallied = Tallied(Reading(("x",)))
    for i in range(40):
        tallied.clock.advance(1)
        tallied.row(table(5.0, float(i)), HOT)

    assert tallied.put[-1].runs.tolist() == [40, 1]
    assert tallied.clock.monotonic_ns() < 60 * SECOND_NS


def test_values_are_counted_as_they_were_before_they_were_scaled() -> None:
    scales = (np.asarray([100.0, 0.0], dtype=np.float32), np.asarray([10.0, 1.0], dtype=np.float32))
    features = Places([reference.of_numbers(n, np.random.default_rng(1).normal(100, 10, 500)) for n in "ab"])
    tallied = Tallied(Reading(("x",), scales), features)

    tallied.row(table(0.0, 0.0), HOT)  # 100 and 0
    tallied.tally.end()

    first, second = (features.of(tallied.put[0].features, i) for i in (0, 1))
    assert first[0] == 0
    assert second[0] == 1


def test_columns_of_numbers_and_of_texts_are_counted_each_by_itself() -> None:
    features = Places([reference.of_texts("door", ["open"] * 9), reference.of_numbers("t", np.arange(100.0))])
    tallied = Tallied(Reading(("door", "t")), features)

    tallied.row({"door": np.array([["ajar"]], dtype=object), "t": np.array([[50.0]], dtype=np.float32)}, HOT)
    tallied.tally.end()

    assert features.unknown(tallied.put[0].features).tolist() == [1, 0]
    assert features.of(tallied.put[0].features, 1).sum() == 1


def test_a_single_feature_a_vector_and_a_matrix_are_read_alike() -> None:
    one = Places([reference.of_numbers("a", np.arange(100.0))])
    for value in (np.array([[50.0]], dtype=np.float32), np.array([50.0], dtype=np.float32)):
        tallied = Tallied(Reading(("x",)), one)
        tallied.row({"x": value}, HOT)
        tallied.tally.end()
        assert tallied.put[0].features.sum() == 1


def test_numbers_that_are_predicted_are_counted_in_their_bins() -> None:
    predicted = Places([reference.of_numbers("prediction 0", np.arange(100.0))])
    tallied = Tallied(Reading(("x",)), predictions=predicted)

    tallied.row(table(0, 0), Regression("price", 1e6))
    tallied.row(table(0, 0))  # nothing was predicted
    tallied.tally.end()

    assert tallied.put[0].predictions.tolist()[-2:] == [1, 1]


def test_rows_do_not_wait_for_the_next_one_to_be_handed_over() -> None:
    tallied = Tallied(Reading(("x",)))
    tallied.row(table(0.0, 0.1), HOT)

    tallied.tally.idle()
    assert not tallied.put
    tallied.clock.advance(0.5)
    tallied.tally.idle()
    tallied.tally.idle()

    assert [c.rows for c in tallied.put] == [1]


def ran(rows: int, *labels: str) -> Ran:
    return Ran(rows, {"x": np.zeros((rows, 2), dtype=np.float32)}, {"label": np.array(labels, dtype=object)})


def by_column(ran: Sequence[Ran]) -> Iterator[tuple[int, Columns]]:
    """All in one; nothing was found where the label is empty."""
    labels = np.concatenate([one.outputs["label"] for one in ran])
    words, codes = np.unique(labels.astype(str), return_inverse=True)
    yield len(labels), Columns({"label": Words(codes, words.tolist()), "score": np.ones(len(labels))}, labels == "")


def test_rows_whose_outputs_alone_are_known_are_decoded_with_their_block() -> None:
    tallied = Tallied(Reading(("x",)), decode=by_column)

    tallied.tally.ran(ran(2, "hot", "cold"))
    tallied.row(table(0.0, 0.1), HOT)
    tallied.tally.ran(ran(3, "hot", "", "lukewarm"))
    tallied.tally.end()

    assert tallied.rows == 6
    assert CLASSES.of(tallied.put[0].predictions, 0).tolist() == [3, 1, 1, 1]  # hot, cold, unknown, missing


def test_large_outputs_do_not_wait_for_their_block() -> None:
    asked = []
    tallied = Tallied(Reading(("x",)), decode=lambda ran: iter(asked.extend(ran) or ()))
    large = {"map": np.zeros((1, BLOCK_BYTES // 4), dtype=np.float32)}

    for _ in range(3):
        tallied.tally.ran(Ran(1, table(0.0, 0.0), large))

    assert len(asked) == 3


def seen(label: str, score: float = 0.9) -> Detection:
    return Detection(0, label, score, (0.0, 0.0, 1.0, 1.0))


def test_of_objects_the_classes_of_all_and_how_many_there_are_in_each_picture_are_counted() -> None:
    found = Places([reference.of_classes({"person": 8, "car": 2}), reference.of_objects([1, 2, 3])])
    tallied = Tallied(Reading(("x",)), predictions=found)

    tallied.row(table(0, 0), seen("person"), seen("car"), seen("person"))
    tallied.row(table(0, 0))  # nobody there
    tallied.tally.end()

    counts = tallied.put[0].predictions
    assert found.of(counts, 0).tolist() == [2, 1, 0, 0]
    assert found.of(counts, 1).tolist() == [1, 0, 0, 1, 0, 0]  # none lies below what the sample had


def test_of_objects_the_scores_of_all_are_counted_where_the_sample_told_them() -> None:
    known = [reference.of_classes({"person": 9}), reference.of_objects([0, 1, 2]), reference.of_scores([0.3, 0.6, 0.9])]
    found = Places(known)
    tallied = Tallied(Reading(("x",)), predictions=found)

    tallied.row(table(0, 0), seen("person", 0.3), seen("person", 0.9), seen("person", 0.95))
    tallied.row(table(0, 0))
    tallied.row(table(0, 0), seen("person", 0.1), seen("person", float("nan")))
    tallied.tally.end()

    counts = tallied.put[0].predictions
    assert found.of(counts, 2).tolist() == [1, 1, 0, 1, 1, 1]  # one below, one above, one that is no number
    assert found.of(counts, 1).sum() == 3
    assert found.of(counts, 0).tolist() == [5, 0, 0]
