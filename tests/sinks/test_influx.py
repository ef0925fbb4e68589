from __future__ import annotations

import json

import pytest
from support.delivering import result
from support.processes import until

from edge.app import assembly
from edge.errors import ConfigError, UnavailableError
from edge.plugins.contexts import SinkContext
from edge.plugins.protocols import Entry
from edge.sinks.influx import line


@pytest.fixture
def influx(store_server):
    return store_server("influx")


def reached(uri):
    return assembly.make_sink(uri, SinkContext()).reach()


def test_a_point_has_what_is_plotted_and_the_predictions_as_they_are(influx, deliver):
    predictions = [{"index": 7, "label": 'a "b", c=d\\e\nf', "score": 1}]
    delivery = deliver(influx.uri)
    delivery.put(result(7, predictions=predictions))
    delivery.finish()
    (point,) = influx.query("SELECT * FROM digits")
    assert point["label"] == 'a "b", c=d\\e\nf'
    assert json.loads(point["predictions"]) == predictions
    assert (point["device"], point["model"], point["version"]) == ("line3", "digits", "1")
    assert (point["id"], point["seq"], point["score"]) == ("line3/digits/5f0c9a1e/7", 7, 1)
    assert point["time"] == 1_795_403_045_123_456_007  # the result's microseconds, and its number


def test_results_of_one_time_stay_apart_and_a_repeat_writes_over_itself(influx, deliver):
    for _ in range(2):
        delivery = deliver(influx.uri)
        delivery.put(*[result(n) for n in (*range(1, 3001), 1_000_003)])  # a batch has one time
        delivery.finish()
    numbers = {row["seq"] for row in influx.query("SELECT seq FROM digits")}
    assert numbers == {1, 2, *range(4, 3001), 1_000_003}  # a million apart, at one time, is one point: it is said


def test_a_type_conflict_is_refused_alone(influx, deliver):
    delivery = deliver(influx.uri)
    delivery.put(result(1))
    until(lambda: delivery.count("confirmed:store") == 1, "the fields have types")
    others = [result(n, predictions=[{"score": "high" if n == 20 else 0.5}]) for n in range(2, 41)]
    delivery.put(*others)
    delivery.finish()
    assert [seq for seq, _ in delivery.refused] == [20]
    assert "type" in delivery.refused[0][1]
    assert sorted(row["seq"] for row in influx.query("SELECT seq FROM digits")) == [n for n in range(1, 41) if n != 20]


@pytest.mark.parametrize(
    ("task", "predictions", "fields"),
    [
        ("regress", [{"name": "price", "value": 3}], "value=3.0,"),
        ("regress", [{"name": "a", "value": 1.5}, {"name": "b c", "value": 2}], r"value_a=1.5,value_b\ c=2.0,"),
        ("anomaly", [{"score": 0.9, "is_anomaly": True}], "score=0.9,is_anomaly=true,"),
        ("segment", [{"labels": ["sky", "sea"], "areas": [0.25, 0.5]}], "area_sky=0.25,area_sea=0.5,"),
        ("detect", [], "count=0.0,"),
        ("text", [{"text": "AB 12", "score": None}], 'text="AB 12",'),
    ],
)
def test_each_task_has_fields_of_its_own(task, predictions, fields):
    assert fields in line(result(1, task=task, predictions=predictions).payload)


def test_a_name_of_two_lines_is_stored_and_refuses_nothing(influx, deliver):
    delivery = deliver(influx.uri)
    delivery.put(result(1, task="segment", predictions=[{"labels": ["sky\nabove"], "areas": [0.25]}]))
    delivery.finish()
    (point,) = influx.query("SELECT * FROM digits")
    assert delivery.refused == []
    assert point["area_sky above"] == 0.25


def test_predictions_that_are_too_long_for_a_field_leave_their_length(influx, deliver):
    delivery = deliver(influx.uri)
    delivery.put(result(1, predictions=[{"name": "y", "data": list(range(20_000))}]))
    delivery.finish()
    (point,) = influx.query("SELECT * FROM digits")
    assert delivery.refused == []
    assert point["predictions_bytes"] > 60_000


def test_a_database_that_is_missing_is_away_and_named(influx):
    uri = influx.uri.replace("db=edge", "db=nope")
    sink = assembly.make_sink(uri, SinkContext())
    sink.open(None)
    with pytest.raises(UnavailableError, match="database not found"):
        sink.send(Entry(1, result(1)))
    sink.close()
    assert "database not found" in reached(uri).doubt
    assert "InfluxDB 1" in reached(influx.uri).text


def test_what_follows_the_api_of_influxdb_2_and_3(store_server, tmp_path):
    """No server of these is in Debian: what is asked of one is looked at by a receiver of webhooks."""
    receiver = store_server("webhook")
    (tmp_path / "token").write_text("t0ken")
    where = f"http://127.0.0.1:{receiver.port}"
    sink = assembly.make_sink(f"influx:{where}#org=my house&bucket=edge&token_file={tmp_path / 'token'}", SinkContext())
    receiver.answer(401)
    assert "lets nobody in" in sink.reach().doubt
    receiver.answer(204)
    sink.open(None)
    assert sink.send_all([Entry(1, result(1)), Entry(2, result(2))]) == []
    sink.close()
    asked = receiver.asked()[-1]
    assert (asked["method"], asked["path"]) == ("POST", "/api/v2/write?org=my+house&bucket=edge&precision=ns")
    assert asked["headers"]["Authorization"] == "Token t0ken"
    assert asked["body"] == "\n".join(line(result(n).payload) for n in (1, 2))


@pytest.mark.parametrize("options", ["", "#db=a&bucket=b", "#org=x"])
def test_a_database_or_a_bucket_is_needed(options):
    with pytest.raises(ConfigError, match="say #db=NAME"):
        assembly.make_sink(f"influx:http://host:8086{options}", SinkContext())
