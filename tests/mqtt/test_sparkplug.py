"""Sparkplug B: bytes as other implementations write them, and metrics of other nodes as rows."""

from __future__ import annotations

import pytest
from mqtt.test_source import Session

from edge.data.sample import Sample
from edge.errors import ConfigError, SampleError
from edge.mqtt.session import MqttSession
from edge.mqtt.source import MqttSource
from edge.mqtt.sparkplug import node, payload, source
from edge.mqtt.sparkplug.metrics import ResultMetrics
from edge.mqtt.sparkplug.payload import DOUBLE, INT64, STRING, Metric, Payload
from edge.plugins.contexts import SourceContext
from edge.testing.fakes import FakeClock

GOLDEN = bytes.fromhex(
    "08e807"
    "1213 0a0161 18e807 2004 58feffffffffffffffff01"
    "1211 0a0162 18e807 200a 69000000000000f83f"
    "120a 0a0163 18e807 200c 3801"
    "1805"
)
"""By hand, from the wire format of protobuf and the numbers of the specification: a = -2, b = 1.5, c is null, seq 5."""


def test_bytes_are_those_of_the_specification():
    metrics = [
        Metric("a", -2, INT64, timestamp=1000), Metric("b", 1.5, DOUBLE, timestamp=1000),
        Metric("c", None, STRING, timestamp=1000),
    ]  # fmt: skip
    assert payload.encode(Payload(1000, metrics, 5)) == GOLDEN
    assert payload.decode(GOLDEN) == Payload(1000, metrics, 5)


@pytest.mark.parametrize(
    ("raw", "datatype", "value"),
    [(0xFF, 1, -1), (0xFFFE, 2, -2), (0xFFFFFFFD, 3, -3), (0xFF, 5, 255), (2**64 - 4, 4, -4), (True, 11, True)],
)
def test_a_number_is_read_by_its_data_type(raw, datatype, value):
    assert payload.value_of(raw, datatype) == value


def test_bytes_that_are_none_are_told():
    with pytest.raises(SampleError, match="no payload of Sparkplug B"):
        payload.decode(b"\xff\xff")


def test_a_result_has_the_metrics_that_its_birth_announced():
    result = {
        "id": "a/b/c/1", "seq": 1, "source": "camera:0", "time": "1970-01-01T00:00:01Z",
        "replayed": True, "task": "detect",
        "predictions": [{"label": "cat", "score": 0.5}, {"label": "dog", "score": 0.75}],
    }  # fmt: skip
    of = ResultMetrics("detect")
    found = of.of(result, b"{}")
    assert [m.name for m in found] == [m.name for m in of.announced(0)]
    assert {m.name: m.value for m in found} == {
        "id": "a/b/c/1", "seq": 1, "source": "camera:0", "count": 2, "result": "{}", "top/label": "dog",
        "top/score": 0.75,
    }  # fmt: skip
    assert {(m.timestamp, m.historical) for m in found} == {(1000, True)}
    nothing = {m.name: m.value for m in of.of({**result, "predictions": []}, b"{}")}
    assert (nothing["count"], nothing["top/label"]) == (0, None)


def test_late_results_of_an_earlier_model_are_announced_beside_those_of_the_new_one():
    def of(names):
        predictions = [{"name": name, "value": 1.5} for name in names]
        common = {"id": "a/b/c/1", "seq": 1, "source": "s", "time": "1970-01-01T00:00:01Z", "task": "regress"}
        return {**common, "predictions": predictions}

    new = ResultMetrics.of_result(of(["total"]))
    both = new.with_those_of(ResultMetrics.of_result(of(["sum"])))

    assert {"values/total", "values/sum"} <= {m.name for m in both.announced(0)}
    assert [m.name for m in both.of(of(["sum"]), b"{}")][-1] == "values/sum"
    assert [m.name for m in both.of(of(["total"]), b"{}")][-1] == "values/total"
    assert {m.value for m in both.of(of(["total"]), b"{}") if m.name.startswith("values/")} == {1.5}


@pytest.mark.parametrize("metric", [b"\x0a\x02\xff\xfe\x20\x0a", b"\x0a\x01t\x20\x0c\x7a\x02\xff\xfe"])
def test_a_name_or_a_text_that_is_no_utf_8_is_told(metric):
    with pytest.raises(SampleError, match="no UTF-8"):
        payload.decode(b"\x12" + bytes([len(metric)]) + metric)


class Posting(Session):
    def __init__(self):
        super().__init__()
        self.posted = []

    def post(self, message):
        self.posted.append(message)


class Plant:
    """A source of line3 of plc1, and what comes there."""

    def __init__(self):
        self.session, self.clock, self.counted = Posting(), FakeClock(), []
        context = SourceContext(self.clock, features=("t", "h"), topic="edge/pi/m/input", count=self.counted.append)
        topics = [f"spBv1.0/plant/{kind}" for kind in ("DBIRTH/plc1/line3", "DDATA/plc1/line3")]
        self.source = source.SparkplugSource(MqttSource(self.session, topics, context), self.session, context)
        self.source.open()

    def come(self, kind: str, *metrics: Metric, mid: int = 0) -> list[object]:
        device = "/line3" if kind.startswith("D") else ""
        data = payload.encode(Payload(1, metrics, 1))
        self.session.give(data, mid, topic=f"spBv1.0/plant/{kind}/plc1{device}")
        return self.rows()

    def rows(self) -> list[object]:
        found: list[object] = []
        while (sample := self.source.read(0)) is not None:
            assert isinstance(sample, Sample)
            found.append(sample.payload)
        return found


@pytest.fixture
def plant():
    return Plant()


def test_data_are_rows_of_the_newest_values_and_a_birth_is_none(plant):
    assert plant.come("DBIRTH", Metric("t", 1.0, DOUBLE), Metric("h", 2.0, DOUBLE), Metric("x", 3.0, DOUBLE)) == []
    assert plant.come("DDATA", Metric("t", 1.5, DOUBLE)) == [{"t": 1.5, "h": 2.0}]
    assert plant.come("DDATA", Metric("h", None, DOUBLE)) == [{"t": 1.5, "h": None}]


def test_what_a_node_kept_while_it_was_away_goes_on_from_before_and_leaves_the_newest_values(plant):
    plant.come("DBIRTH", Metric("t", 1.0, DOUBLE), Metric("h", 2.0, DOUBLE))
    plant.come("NDEATH")
    plant.come("DBIRTH", Metric("t", 9.0, DOUBLE), Metric("h", 8.0, DOUBLE))
    assert plant.come("DDATA", Metric("t", 1.5, DOUBLE, historical=True)) == [{"t": 1.5, "h": 2.0}]
    assert plant.come("DDATA", Metric("h", 2.5, DOUBLE, historical=True)) == [{"t": 1.5, "h": 2.5}]
    assert plant.come("DDATA", Metric("h", 7.0, DOUBLE)) == [{"t": 9.0, "h": 7.0}]


def test_a_metric_may_be_named_by_its_alias_alone(plant):
    def come(kind: str, metric: bytes) -> list[object]:
        plant.session.give(b"\x12" + bytes([len(metric)]) + metric, topic=f"spBv1.0/plant/{kind}/plc1/line3")
        return plant.rows()

    assert come("DBIRTH", b"\x0a\x01t\x10\x07\x20\x03\x50\x01") == []  # name t, alias 7, Int32, 1
    assert come("DDATA", b"\x10\x07\x50\xfe\xff\xff\xff\x0f") == [{"t": -2}]  # alias 7, no data type


def test_of_a_node_whose_birth_was_not_heard_a_rebirth_is_asked_for_once_a_minute(plant):
    assert plant.come("DDATA", Metric("t", 1.0, DOUBLE), mid=1) == []
    assert plant.come("DDATA", Metric("t", 1.0, DOUBLE), mid=2) == []
    (asked,) = plant.session.posted
    assert (asked.topic, asked.qos, asked.retain) == ("spBv1.0/plant/NCMD/plc1", 0, False)
    assert [(m.name, m.value) for m in payload.decode(asked.payload).metrics] == [(node.REBIRTH, True)]
    assert plant.session.acked == [1, 2]
    assert plant.counted == ["dropped:sparkplug-unborn"] * 2
    plant.clock.advance(61.0)
    plant.come("DDATA", Metric("t", 1.0, DOUBLE))
    assert len(plant.session.posted) == 2


def test_behind_a_death_of_the_node_a_birth_comes_first(plant):
    plant.come("DBIRTH", Metric("t", 1.0, DOUBLE), Metric("h", 2.0, DOUBLE))
    plant.come("NDEATH")
    assert plant.come("DDATA", Metric("t", 1.5, DOUBLE)) == []
    assert len(plant.session.posted) == 1


def test_a_message_that_was_too_large_to_be_kept_is_refused_for_its_size(plant):
    plant.session.give(b"", 7, topic="spBv1.0/plant/DDATA/plc1/line3", unkept=60_000_000)
    sample = plant.source.read(0)
    assert isinstance(sample, Sample)
    assert (sample.payload, sample.unkept) == (b"", 60_000_000)


def test_metrics_of_which_none_is_a_feature_are_told_with_what_there_is(plant):
    plant.come("DBIRTH", Metric("flow", 1.0, DOUBLE))
    with pytest.raises(SampleError, match=r"no metric of .* is a feature of the model; it has 'flow'"):
        plant.come("DDATA", Metric("flow", 1.0, DOUBLE), mid=1)
    assert plant.session.acked == [1]


@pytest.mark.parametrize(
    ("rest", "features", "reason"),
    [
        ("plant", ("t",), "group, node and maybe a device"),
        ("plant/#", ("t",), "or \\+ for any of one"),
        ("plant/plc1", (), "features of this model have none"),
    ],
)
def test_what_cannot_be_a_source_is_refused(rest, features, reason):
    session = MqttSession.__new__(MqttSession)
    with pytest.raises(ConfigError, match=reason):
        source.create(rest, SourceContext(FakeClock(), features=features, transport=session))
