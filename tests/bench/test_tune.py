from __future__ import annotations

import os

import pytest

from edge.cli import bench
from edge.tools.bench.figures import Case, Round, Row, best


def row(threads, p50_ms, *, per_second=None, cpu_ms=None, provider="cpu"):
    figures = Round(p50_ms, 2 * p50_ms, per_second or 1000 / p50_ms, cpu_ms or p50_ms * threads, 50.0, 9.0, 100)
    return Row(Case("m.onnx", provider, threads), figures)


def test_latency_takes_the_cores_that_help():
    assert best([row(1, 40.0), row(2, 22.0), row(4, 14.0)], "latency").case.threads == 4


@pytest.mark.parametrize("goal", ["latency", "throughput"])
def test_a_gain_within_the_noise_is_no_reason_to_take_more_cores(goal):
    assert best([row(4, 9.8), row(2, 9.9), row(1, 10.0)], goal).case.threads == 1


def test_power_takes_what_costs_the_least_processor_time():
    assert best([row(1, 40.0), row(2, 22.0), row(4, 14.0)], "power").case.threads == 1


def test_throughput_counts_inferences_not_the_median():
    rows = [row(1, 1.0, per_second=700.0), row(2, 1.2, per_second=800.0)]
    assert best(rows, "throughput").case.threads == 2
    assert best(rows, "latency").case.threads == 1


def test_of_equal_providers_the_first_is_taken():
    assert best([row(1, 1.0), row(1, 0.99, provider="xnnpack")], "latency").case.provider == "cpu"


def test_what_a_busy_machine_would_measure_is_not_kept(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(os, "getloadavg", lambda: (99.0, 99.0, 99.0))
    assert bench.run(["m.onnx", "--tune", "latency", "--state-dir", str(tmp_path)]) == 2
    assert "other work keeps 100% of the cores busy" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
