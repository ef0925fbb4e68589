"""Numbers that are gathered before they are added up."""

from __future__ import annotations

import threading

import pytest

from edge.telemetry.metrics import GATHERED_MOST, Metrics


@pytest.mark.parametrize("times", [1, GATHERED_MOST - 1, GATHERED_MOST, 3 * GATHERED_MOST + 1])
def test_what_was_recorded_is_there_for_each_reader(times):
    metrics = Metrics()
    for _ in range(times):
        metrics.record([("stage", [0.5]), ("stage", [20.0])], "asked")

    histogram = metrics.histograms()["stage"]
    assert (sum(histogram.counts), histogram.counts[-1], histogram.total_s) == (2 * times, times, 20.5 * times)
    metrics.record([], "asked")
    assert metrics.snapshot()["asked"] == times + 1
    metrics.record([], "asked", by=2)
    assert metrics.counter("asked") == times + 3
    metrics.record([("stage", [0.5])])
    assert metrics.snapshot() == {"asked": times + 3}
    assert metrics.histograms()["stage"].total_s == 20.5 * times + 0.5


def test_what_two_threads_record_is_all_there():
    metrics = Metrics()

    def record() -> None:
        for _ in range(5_000):
            metrics.record([("stage", [0.5])], "asked")

    threads = [threading.Thread(target=record) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert metrics.counter("asked") == sum(metrics.histograms()["stage"].counts) == 10_000
