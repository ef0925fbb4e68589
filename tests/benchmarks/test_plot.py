"""The plots of `make bench-scale`: committed beside the README, so the same numbers must give the same bytes."""

from __future__ import annotations

from benchmarks.scale.plot import PAPER, Panel, Plot, Series, number

PLOT = Plot(
    "cost",
    "processes",
    ("1", "2", "4"),
    (
        Panel("Results a second", (Series("all together", (6000.0, 12000.0, 11000.5)),)),
        Panel("Latency, ms", (Series("median", (1.0, 1.25, None)), Series("p99", (2.0, 3.0, 40.0))), log=True),
    ),
)


def test_the_same_numbers_give_the_same_bytes(tmp_path):
    PLOT.save(tmp_path / "a")
    PLOT.save(tmp_path / "b")
    assert (tmp_path / "a" / "cost.svg").read_bytes() == (tmp_path / "b" / "cost.svg").read_bytes()


def test_a_plot_brings_its_own_background_and_no_font_of_the_machine(tmp_path):
    PLOT.save(tmp_path)
    drawn = (tmp_path / "cost.svg").read_text()
    assert f"fill: {PAPER}" in drawn
    assert "DejaVu" not in drawn
    assert "median" in drawn


def test_the_table_has_a_row_for_each_step_and_a_gap_where_nothing_was_measured():
    assert PLOT.table().splitlines() == [
        "| processes | Results a second | Latency, ms: median | Latency, ms: p99 |",
        "|-:|-:|-:|-:|",
        "| 1 | 6,000 | 1 | 2 |",
        "| 2 | 12,000 | 1.25 | 3 |",
        "| 4 | 11,000 |  | 40 |",
    ]


def test_numbers_keep_three_digits_that_count():
    assert [number(v) for v in (0.0, 0.0124, 1.234, 12.34, 123.4, 12345.6)] == [
        "0", "0.0124", "1.23", "12.3", "123", "12,346",
    ]  # fmt: skip
