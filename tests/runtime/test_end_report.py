from __future__ import annotations

import pytest

from edge.errors import SourceError
from edge.runtime.end_report import EndReport
from edge.telemetry.metrics import Metrics


def report(read=0, results=0, reasons=()):
    metrics = Metrics()
    metrics.inc("samples_read", read)
    metrics.inc("results", results)
    made = EndReport(metrics, "rows.csv")
    for reason in reasons:
        metrics.inc("samples_skipped")
        made.skipped(reason)
    return made


def fields(caplog, message="end of the source"):
    (record,) = [r for r in caplog.records if r.message == message]
    return {name: getattr(record, name, None) for name in ("read", "results", "skipped", "reasons")}


def test_the_end_of_a_source_says_what_became_of_its_inputs(caplog):
    caplog.set_level("INFO")
    report(5, 3, ["line 2: not UTF-8", "line 4: not UTF-8"]).tell()
    assert fields(caplog) == {"read": 5, "results": 3, "skipped": 2, "reasons": "2 x line 2: not UTF-8"}


def test_a_service_that_is_stopped_says_what_became_of_its_inputs(caplog):
    caplog.set_level("INFO")
    report(3, 1, ["bad", "bad"]).stopped()
    assert fields(caplog, "stopped") == {"read": 3, "results": 1, "skipped": 2, "reasons": "2 x bad"}


def test_of_several_runs_each_report_names_its_own(caplog):
    caplog.set_level("INFO")
    EndReport(Metrics(), "rows.csv", "door").stopped()
    assert caplog.records[-1].run == "door"


def test_the_commonest_reasons_are_told_and_the_others_counted(caplog):
    caplog.set_level("INFO")
    report(9, 1, ["a", "b", "b", "c", "c", "c", "d", "e"]).tell()
    assert fields(caplog)["reasons"] == "3 x c; 2 x b; 1 x a; and 2 more kinds"


def test_reasons_without_end_are_told_as_others(caplog):
    caplog.set_level("INFO")
    report(900, 1, [f"reason {'x' * n}" for n in range(900)]).tell()
    assert fields(caplog)["reasons"].startswith("800 x other reasons; ")


def test_a_source_of_which_nothing_could_be_used_ended_in_error():
    with pytest.raises(SourceError, match=r"rows\.csv: nothing of it could be used; 2 skipped: 2 x bad"):
        report(2, 0, ["bad", "bad"]).tell()


def test_a_source_that_ended_before_a_window_was_full_ended_in_error():
    with pytest.raises(SourceError, match="window was full, after 3 inputs"):
        report(3, 0).tell()


def test_an_empty_source_ended_in_error():
    with pytest.raises(SourceError, match=r"rows\.csv: there was nothing to read: it is empty"):
        report().tell()
