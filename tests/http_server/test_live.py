"""The live page's sources, `/events`, `/metrics`, `/docs` and the OpenAPI document."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from pathlib import Path

import cv2
import jsonschema
import numpy as np
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from support import onnxmodels
from support.http import CLIENT_WAIT_S, Site

from edge.data.result import ModelRef, Result, Timing
from edge.data.sample import Image, Sample

ROW = [float(i % 17) for i in range(64)]


def result(seq, predictions=()):
    return Result(
        1, f"d/m/b/{seq}", "2026-01-01T00:00:00.000000Z", True, "d", ModelRef("m", "1", "0"), "camera:0", seq,
        "raw", list(predictions), Timing(0.1, 2.0, 0.1),
    )  # fmt: skip


def read_events(site: Site, count: int, *, after=lambda: None) -> list[tuple[str, dict]]:
    """The first events of a new reader; `after` runs once it reads."""
    connection = site.connect()
    connection.request("GET", "/events")
    response = connection.getresponse()
    assert response.getheader("content-type") == "text/event-stream"
    found, fields = [], {}
    while len(found) < count:
        line = response.readline().decode().rstrip("\n")
        if line.startswith("retry"):
            after()
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
            fields = {}
    response.close()
    connection.close()
    return found


# --- /events --------------------------------------------------------------------------------------------


def test_a_reader_gets_the_newest_results_first_and_then_those_that_come(scores):
    first = scores.post("/predict", ROW).json

    events = read_events(scores, 2, after=lambda: scores.observe(Sample(b"", "s", 0, 0), [result(10_000)]))

    assert [kind for kind, _ in events] == ["result", "result"]
    assert events[0][1]["id"] == first["id"]
    assert events[1][1]["seq"] == 10_000


def test_a_reader_of_http_1_0_which_has_no_chunks_reads_until_the_end(models, caplog):
    site = Site(onnxmodels.identity(models / "old.onnx")).start()
    site.post("/predict", [1, 2, 3])
    with socket.create_connection(site.address, timeout=CLIENT_WAIT_S) as client:
        client.sendall(b"GET /events HTTP/1.0\r\n\r\n")
        found = b""
        while b"event: result" not in found:
            found += client.recv(4096)
        site.stop()
        found += b"".join(iter(lambda: client.recv(4096), b""))

    head, _, events = found.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    assert events.startswith(b"retry: 2000\n\nid: 1\nevent: result\n")
    assert events.endswith(b"}\n\n")
    assert not caplog.records


def test_what_was_skipped_is_told_with_its_reason(serve, models):
    site = serve(onnxmodels.identity(models / "skips.onnx"))
    site.post("/predict", [1])

    ((kind, told),) = read_events(site, 1)

    assert kind == "skipped"
    assert "the model takes 3" in told["reason"]


def test_a_reader_that_is_too_slow_is_told_how_much_it_missed(serve, models):
    site = serve(onnxmodels.identity(models / "missed.onnx"))

    def flood():
        site.observe(Sample(b"", "s", 0, 0), [result(n) for n in range(100)])

    events = read_events(site, 65, after=flood)

    assert events[0] == ("missed", {"count": 36})
    assert events[-1][1]["seq"] == 99


def test_readers_past_the_limit_are_told_to_come_again(serve, models):
    site = serve(onnxmodels.identity(models / "readers.onnx"))
    with contextlib.ExitStack() as stack:

        def reads(address):
            client = stack.enter_context(socket.create_connection(site.address, CLIENT_WAIT_S, (address, 0)))
            client.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return client.recv(65_536)

        assert all(reads("127.0.0.2").startswith(b"HTTP/1.1 200") for _ in range(12))
        past_its_share = reads("127.0.0.2")
        assert all(reads("127.0.0.1").startswith(b"HTTP/1.1 200") for _ in range(4))
        past_all = reads("127.0.0.3")

    assert b"12 clients of your address read /events already" in past_its_share
    assert past_all.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 5" in past_all


# --- the page's state and picture -----------------------------------------------------------------------


def test_the_state_tells_model_counters_and_the_newest_row(serve, models):
    site = serve(onnxmodels.identity(models / "state.onnx"), temperature=lambda: 48.2, throttled=lambda: 0x10001)
    site.post("/predict", [1, 2, 3])

    state = site.get("/live/state").json

    assert state["http"]["inferences"] == 1
    assert state["newest"] == {"kind": "array", "shape": [3], "count": 3, "values": [1, 2, 3]}
    assert state["board"]["temperature_c"] == 48.2
    assert len(state["board"]["problems"]) == 2


def test_the_newest_row_comes_with_the_result_that_belongs_to_it(serve, models):
    site = serve(onnxmodels.identity(models / "paired.onnx"))
    assert site.get("/live/sample").json == {"kind": "none", "result": None}
    site.post("/predict", [1, 2, 3])
    told = site.post("/predict", [4, 5, 6]).json

    assert site.get("/live/sample").json == {
        "kind": "array",
        "shape": [3],
        "count": 3,
        "values": [4, 5, 6],
        "result": told,
    }


def test_the_newest_picture_comes_with_the_results_that_belong_to_it(serve, models):
    site = serve(onnxmodels.brightness(models / "shown.onnx"))
    assert site.get("/live/picture").status == 404
    picture = cv2.imencode(".png", np.full((20, 30, 3), 99, np.uint8))[1].tobytes()
    seq = site.post("/predict", picture).json["seq"]

    answer = site.get("/live/picture")

    assert answer.body == picture
    assert answer.headers["content-type"] == "image/png"
    assert [r["seq"] for r in json.loads(answer.headers["edge-result"])] == [seq]


def test_a_camera_s_frame_is_shown_as_jpeg(scores):
    scores.observe(Sample(Image(np.full((20, 30, 3), 99, np.uint8)), "camera:0", 0, 0), [result(20_000)])

    answer = scores.get("/live/picture")

    assert answer.headers["content-type"] == "image/jpeg"
    assert cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_COLOR).shape == (20, 30, 3)


# --- /metrics -------------------------------------------------------------------------------------------

LANES = {
    "mqtt": {"connected": 1.0, "depth": 5, "spool_bytes": 700, "spool_dropped": {"full": 2}, "spool_oldest_s": 60.0},
    "file": {"connected": 1.0, "depth": 1, "spool_bytes": 0, "spool_dropped": {}, "spool_oldest_s": None},
}
SINKS = {"mqtt": {"connected": True, "waiting": 5, "reconnects": 1, "confirmed": 3, "refused": 0}}


@pytest.fixture
def measured(serve, models):
    site = serve(
        onnxmodels.identity(models / "measured.onnx"),
        stats=lambda: {"results": 0, "skipped": 0, "lanes": LANES, "sinks": SINKS},
        source="camera:0",
        temperature=lambda: 51.5,
        throttled=lambda: 0b101,
    )
    site.metrics.inc("results", 3)
    site.metrics.inc("dropped:mailbox", 4)
    site.metrics.inc("dropped:heat", 2)
    site.metrics.inc("held:unchanged", 5)
    site.metrics.set("heat_limit_hz", 7.5)
    site.metrics.inc("confirmed:mqtt", 3)
    site.metrics.inc("reconnects:mqtt", 1)
    site.metrics.set("last_sample_s", 1_700_000_000.5)
    site.post("/predict", [1, 2, 3])
    site.post("/predict", [1])
    return site


def samples(site):
    families = text_string_to_metric_families(site.get("/metrics").body.decode())
    return {(s.name, frozenset(s.labels.items())): s.value for f in families for s in f.samples}


def one(found, name, **labels):
    (value,) = [v for (n, having), v in found.items() if n == name and set(labels.items()) <= having]
    return value


def test_metrics_have_the_names_units_and_labels_of_the_contract(measured):
    found = samples(measured)

    assert one(found, "edge_run_build_info") == 1
    assert one(found, "edge_run_model_info", model="measured", format="onnx", precision="float32") == 1
    assert one(found, "edge_run_inferences_total", model="measured", outcome="ok") == 4
    assert one(found, "edge_run_inferences_total", outcome="error") == 1
    assert one(found, "edge_run_frames_dropped_total", source="camera:0", reason="mailbox") == 4
    assert one(found, "edge_run_frames_dropped_total", source="camera:0", reason="heat") == 2
    assert one(found, "edge_run_results_held_back_total", model="measured", reason="unchanged") == 5
    assert one(found, "edge_run_results_held_back_total", model="measured", reason="interval") == 0
    assert one(found, "edge_run_heat_limit_hertz") == 7.5
    assert one(found, "edge_run_source_last_frame_timestamp_seconds", source="camera:0") == 1_700_000_000.5
    assert one(found, "edge_run_mqtt_connected") == 1
    assert one(found, "edge_run_mqtt_published_total", topic_class="result", outcome="confirmed") == 3
    assert one(found, "edge_run_mqtt_reconnects_total") == 1
    assert one(found, "edge_run_outbox_messages") == 6
    assert one(found, "edge_run_outbox_bytes") == 700
    assert one(found, "edge_run_outbox_dropped_total", reason="full") == 2
    assert one(found, "edge_run_outbox_oldest_timestamp_seconds") == pytest.approx(time.time() - 60, abs=50)
    assert one(found, "edge_run_device_temperature_celsius") == 51.5
    assert one(found, "edge_run_device_throttled", kind="undervoltage") == 1
    assert one(found, "edge_run_device_throttled", kind="freq_capped") == 0
    assert one(found, "edge_run_process_resident_memory_bytes") > 1e6


@pytest.mark.parametrize("stage", ["capture", "preprocess", "infer", "postprocess", "publish"])
def test_every_stage_has_a_histogram_from_the_start(numbers, stage):
    assert one(samples(numbers), "edge_run_stage_duration_seconds_bucket", stage=stage, le="+Inf") >= 0


def test_the_exposition_is_valid_and_follows_the_naming_rules(measured):
    """`promtool check metrics` (2.42) has nothing to say of it either; 100 MB to install are too many for each run."""
    families = list(text_string_to_metric_families(measured.get("/metrics").body.decode()))

    for family in families:
        assert re.fullmatch(r"edge_run_[a-z_]+", family.name), family.name
        assert family.documentation
        assert not re.search(r"_(ms|milliseconds|percent|kb|mb)$", family.name)
        assert all(s.name.endswith("_total") for s in family.samples if family.type == "counter")
    assert len({f.name for f in families}) == len(families)


DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana" / "edge-run.json"


def test_the_dashboard_for_grafana_asks_for_nothing_that_metrics_does_not_tell(measured):
    measured.metrics.set("drift_state", 0)
    told: dict[str, set[str]] = {}
    for (name, labels), _ in samples(measured).items():
        told.setdefault(name, set()).update(label for label, _ in labels)

    panels = json.loads(DASHBOARD.read_text())["panels"]
    for expression in (target["expr"] for panel in panels for target in panel["targets"]):
        names = set(re.findall(r"edge_run_\w+", expression))
        assert names, expression
        assert names <= set(told), expression
        by = re.search(r"by \(([^)]*)\)", expression)
        labels = set(by[1].split(", ")) if by else set()
        assert labels <= told[min(names)] | {"instance"}, expression  # which Prometheus adds


def test_openmetrics_is_given_to_those_who_ask_for_it(measured):
    answer = measured.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")

    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert list(openmetrics(answer.body.decode()))


# --- the document ---------------------------------------------------------------------------------------


def test_the_document_describes_every_way_with_bodies_and_errors(scores):
    document = scores.get("/openapi.json").json

    assert document["openapi"].startswith("3.1")
    infer = document["paths"]["/v2/models/{model}/infer"]["post"]
    assert set(infer["requestBody"]["content"]) == {"application/json", "application/octet-stream"}
    assert "multipart/form-data" in document["paths"]["/predict"]["post"]["requestBody"]["content"]
    for path in document["paths"].values():
        for operation in path.values():
            assert operation["summary"]
            assert "4XX" in operation["responses"]


def test_each_array_of_the_document_says_what_it_holds(scores):
    """Generators of clients (openapi-python-client) leave out an operation with one that does not."""

    def arrays(value):
        if isinstance(value, dict):
            yield from [value] if value.get("type") == "array" else []
            value = list(value.values())
        for part in value if isinstance(value, list) else []:
            yield from arrays(part)

    found = list(arrays(scores.get("/openapi.json").json))
    assert len(found) > 10
    assert all("items" in array for array in found)


def test_a_body_that_may_be_left_out_is_not_demanded_by_the_document(scores):
    operation = scores.get("/openapi.json").json["paths"]["/v2/repository/index"]["post"]

    assert operation["requestBody"]["required"] is False
    assert scores.ask("POST", "/v2/repository/index").status == 200


def test_requests_and_answers_are_as_the_document_says(scores):
    document = scores.get("/openapi.json").json
    request = {"inputs": [{"name": "x", "shape": [1, 64], "datatype": "FP32", "data": ROW}]}

    def validate(value, name):
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        jsonschema.validate(value, schema)

    validate(request, "InferRequest")
    validate(scores.infer(request).json, "InferResponse")
    validate(scores.post("/predict", ROW).json, "Result")


def test_head_answers_as_get_does_without_a_body(scores):
    answer = scores.ask("HEAD", "/v2/health/live")

    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_no_two_scripts_of_a_page_call_something_the_same(scores, path):
    """They are one script to the browser, where the second function of a name takes the place of the first."""
    page = scores.get(path, Accept="text/html").body.decode()
    names = re.findall(r"^(?:async )?(?:function|const|let) (\w+)", page, re.MULTILINE)

    assert len(names) > 10
    assert sorted(names) == sorted(set(names))
