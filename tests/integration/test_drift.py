"""`--drift` of `edge-run` as a process, at a real mosquitto."""

from __future__ import annotations

import contextlib
import json
import subprocess

import numpy as np
import onnx
import pytest
from support.processes import BINARIES, free_port, listens, until

from edge.model import manifest

BASE = "edge/pi/plant"
INPUT = f"{BASE}/input"


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    """A model whose sample is in the order of time, its rows, and what it takes away from a row."""
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    import converter

    data = load_iris(as_frame=True)
    table = data.data.set_axis(["a", "b", "c", "d"], axis=1)
    fitted = LogisticRegression(max_iter=500).fit(table, data.target)
    path = tmp_path_factory.mktemp("plant") / "plant.onnx"
    converter.convert(fitted, target="onnx", sample=table, sample_order="time", name="plant").save(path)
    return path, table.to_dict("records")


@pytest.fixture
def watched(edge_run, plant, broker, client):
    """Starts a service; gives the client that hears it."""

    def start(*flags, model=plant[0]):
        listener = client(broker.port, f"{BASE}/#")
        common = ("--model", model, "--mqtt", broker.url, "--device", "pi", "--stats-interval", "0.5")
        listener.process = edge_run(*common, *flags)
        listener.wait_for_text(f"{BASE}/status", b"online")
        return listener

    return start


def until_told(listener, state, **wanted):
    """The first report with this state and these values."""
    found = []

    def told():
        texts = [json.loads(p) for t, p, _ in list(listener.messages) if t == f"{BASE}/drift" and p]
        found[:] = [r for r in texts if r["state"] == state and all(r[k] == v for k, v in wanted.items())]
        return bool(found)

    until(told, f"drift {state} {wanted}")
    return found[0]


@pytest.mark.usefixtures("curl_is_here")
def test_a_sensor_that_stands_still_is_told_on_the_topic_in_stats_and_in_metrics(watched, plant, broker, client):
    port = free_port()
    listener = watched("--drift", "--http", str(port))
    assert until_told(listener, "learning")["arms"] == 24

    listener.publish(INPUT, [plant[1][0] | {"d": i / 40} for i in range(40)])

    report = until_told(listener, "drifted")
    assert [(f["name"], f["kind"]) for f in report["features"]] == [("a", "stuck"), ("b", "stuck"), ("c", "stuck")]
    # A subscriber that comes later is told at once.
    assert client(broker.port, f"{BASE}/drift").wait_for("drift")[0]["state"] == "drifted"
    stats = listener.wait_for("stats", len(listener.of("stats")) + 2)[-1]["drift"]
    assert (stats["state"], stats["rows"], stats["alarms"]) == ("drifted", 40, 1)
    said = subprocess.run(["curl", "-sS", f"http://127.0.0.1:{port}/metrics"], capture_output=True, check=True)
    assert b'edge_run_drift_state{state="drifted"} 1.0' in said.stdout
    shown = subprocess.run(["curl", "-sS", f"http://127.0.0.1:{port}/live/drift"], capture_output=True, check=True)
    assert [f["name"] for f in json.loads(shown.stdout)["features"]] == ["a", "b", "c", "d", "class"]
    assert "drift  model=plant  state=drifted  features=a stuck, b stuck, c stuck" in listener.process.said()


def test_what_was_learnt_is_learnt_anew_when_a_command_says_so(watched, plant, tmp_path):
    state = tmp_path / "kept"
    listener = watched("--drift", "1", "--state-dir", state)
    rows = [plant[1][i % 150] for i in range(300)]
    listener.publish(INPUT, rows)
    until_told(listener, "learning", learned=1)
    before = len(listener.of("drift"))

    forget = [BINARIES / "edge-run", "--drift-anew", "--state-dir", state]
    done = subprocess.run(forget, capture_output=True, text=True, check=True)

    assert done.stdout == "pi.plant: drift is learnt anew\n"
    assert listener.wait_for("drift", before + 1)[-1]["learned"] == 0
    assert "it is learnt anew" in listener.process.said()
    again = subprocess.run(forget, capture_output=True, text=True, check=True)
    assert again.stdout == f"nothing was learnt of drift in {state}\n"


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--state-dir", "nowhere"), "--state-dir nowhere: there is no such folder"),
        (("--state-dir", ".", "--name", "plnat"), "there is: pi.plant"),
        (("--state-dir", ".", "--device", "ip"), "there is: pi.plant"),
    ],
    ids=["the folder", "the model", "the device"],
)
def test_what_is_to_be_learnt_anew_and_is_not_there_is_an_error(tmp_path, flags, says):
    (tmp_path / "pi.plant.drift.json").write_text("{}")
    done = subprocess.run(
        [BINARIES / "edge-run", "--drift-anew", *flags], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert (done.returncode, says in done.stderr) == (2, True), done.stderr
    assert (tmp_path / "pi.plant.drift.json").exists()


def test_a_service_that_no_longer_watches_takes_back_what_it_told(watched, plant, tmp_path):
    first = watched("--drift", "1", "--state-dir", tmp_path / "kept")
    first.publish(INPUT, [plant[1][i % 150] for i in range(300)])
    until_told(first, "learning", learned=1)
    assert first.process.stop() == 0

    second = watched("--state-dir", tmp_path / "kept")

    second.wait_for_text(f"{BASE}/drift", b"")


@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        (lambda r: r | {"features": r["features"][1:]}, "it is of other features"),
        (lambda r: r | {"features": [f | {"bins": "??"} for f in r["features"]]}, "the bins of 'a'"),
        (lambda r: "nonsense", "cannot be used"),
        (lambda r: None, "has no reference"),
    ],
    ids=["of other features", "damaged bins", "nonsense", "none"],
)
def test_a_reference_that_cannot_be_used_is_told_and_left_out(watched, plant, tmp_path, damaged, reason):
    path = tmp_path / "plant.onnx"
    path.write_bytes(plant[0].read_bytes())
    model = onnx.load(path)
    (own,) = (p for p in model.metadata_props if p.key == manifest.ONNX_KEY)
    told = json.loads(own.value)
    own.value = json.dumps(told | {"reference": damaged(told["reference"])})
    onnx.save(model, path)

    listener = watched("--drift", model=path)
    listener.publish(INPUT, plant[1][0])

    listener.wait_for("result")
    assert "drift is not watched" in listener.process.said()
    assert reason in listener.process.said()
    assert not listener.of("drift")


@pytest.mark.usefixtures("curl_is_here")
@pytest.mark.parametrize("way", ["batches", "a row each"])
def test_rows_over_http_are_watched_whichever_thread_answers_them(edge_run, plant, way):
    port = free_port()
    edge_run("--model", plant[0], "--mqtt", "none", "--http", str(port), "--drift")
    until(lambda: listens(port), "the service listens")
    rows = [plant[1][0] | {"d": i / 40} for i in range(40)]

    for some in [rows[:20], rows[20:]] if way == "batches" else rows:
        asked(port, "predict", "--json", json.dumps(some))

    until(lambda: report(port)["state"] == "drifted", "drift is told")
    assert [f["name"] for f in report(port)["features"]] == ["a", "b", "c"]
    until(lambda: b"edge_run_drift_rows_total 40.0" in asked(port, "metrics"), "each row is counted once")


@pytest.mark.usefixtures("curl_is_here")
def test_rows_over_http_and_over_mqtt_are_counted_together(watched, plant):
    port = free_port()
    listener = watched("--drift", "--http", str(port))

    listener.publish(INPUT, plant[1][:7])
    asked(port, "predict", "--json", json.dumps(plant[1][7:12]))

    until(lambda: b"edge_run_drift_rows_total 12.0" in asked(port, "metrics"), "all rows are counted")


def asked(port, path, *flags):
    """What a route answers."""
    done = subprocess.run(["curl", "-sS", *flags, f"http://127.0.0.1:{port}/{path}"], capture_output=True, check=True)
    return done.stdout


def report(port):
    """What the live page is told of drift."""
    return json.loads(asked(port, "live/drift"))["report"]


@pytest.mark.usefixtures("curl_is_here")
def test_tensors_over_http_are_watched_as_the_rows_that_they_are(watched, plant):
    port = free_port()
    listener = watched("--drift", "--http", str(port))
    until_told(listener, "learning")
    (given,) = json.loads(asked(port, "v2/models/plant"))["inputs"]
    rows = [[*list(plant[1][0].values())[:3], i / 40] for i in range(40)]
    tensor = {
        "name": given["name"],
        "shape": [40, 4],
        "datatype": given["datatype"],
        "data": [value for row in rows for value in row],
    }

    asked(port, "v2/models/plant/infer", "--json", json.dumps({"inputs": [tensor]}))
    report = until_told(listener, "drifted")
    assert [(f["name"], f["kind"]) for f in report["features"]] == [("a", "stuck"), ("b", "stuck"), ("c", "stuck")]
    assert report["rows"] == 40
    for instances in (rows, plant[1][:3]):
        asked(port, "v1/models/plant:predict", "--json", json.dumps({"instances": instances}))
    until(lambda: listener.of("stats") and listener.of("stats")[-1]["drift"]["rows"] == 83, "all rows are counted")
    classes = next(f for f in json.loads(asked(port, "live/drift"))["features"] if f["name"] == "class")
    assert sum(classes["now"]) == pytest.approx(1.0)


@pytest.mark.usefixtures("curl_is_here")
def test_tensors_over_grpc_are_watched_and_what_is_no_row_is_not(watched, plant):
    triton = pytest.importorskip("tritonclient.grpc", exc_type=ImportError)
    from tritonclient.utils import InferenceServerException

    port, http = free_port(), free_port()
    listener = watched("--drift", "--grpc", str(port), "--http", str(http))
    until(lambda: listens(port), "the endpoint")
    until_told(listener, "learning")
    (given,) = json.loads(asked(http, "v2/models/plant"))["inputs"]
    rows = np.array([[*list(plant[1][0].values())[:3], i / 40] for i in range(40)], np.float32)

    def put(values, datatype="FP32"):
        tensor = triton.InferInput(given["name"], list(values.shape), datatype)
        tensor.set_data_from_numpy(values)
        return [tensor]

    with contextlib.closing(triton.InferenceServerClient(f"127.0.0.1:{port}")) as client:
        for wrong in (put(rows[:, :3].copy()), put(rows.astype(np.int64), "INT64"), put(rows.reshape(-1))):
            with pytest.raises(InferenceServerException):
                client.infer("plant", wrong)
        client.infer("plant", put(rows))
    report = until_told(listener, "drifted")
    assert [(f["name"], f["kind"]) for f in report["features"]] == [("a", "stuck"), ("b", "stuck"), ("c", "stuck")]
    assert report["rows"] == 40


def test_pictures_are_watched_and_a_reference_of_rows_is_left_out(watched, tmp_path):
    import cv2
    from onnx import helper

    from converter import cli

    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["p"]), helper.make_node("Flatten", ["p"], ["scores"])]
    given, found = (
        helper.make_tensor_value_info(n, 1, s) for n, s in (("x", [1, 3, 32, 32]), ("scores", [1, 3]))
    )  # fmt: skip
    network = helper.make_model(helper.make_graph(nodes, "g", [given], [found]), ir_version=9)
    network.opset_import[0].version = 17
    onnx.save(network, tmp_path / "bare.onnx")
    (tmp_path / "sample").mkdir()
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 200 + number, (48, 64, 3)).astype(np.uint8)
        cv2.imwrite(str(tmp_path / f"sample/{number}.png"), pixels)
    path = tmp_path / "plant.onnx"
    said = ("--name", "plant", "--task", "classify", "--sample", str(tmp_path / "sample"), "-o", str(path))
    assert cli.main([str(tmp_path / "bare.onnx"), *said]) == 0

    listener = watched("--drift", model=path)
    listener.client.publish(INPUT, (tmp_path / "sample/0.png").read_bytes(), qos=1)
    until(lambda: listener.of("stats") and listener.of("stats")[-1]["drift"]["rows"] == 1, "it is looked at")

    known = json.loads(next(p.value for p in onnx.load(path).metadata_props if p.key == "edge.manifest"))
    known["reference"] = {"rows": 50, "features": [{"name": "a"}]}
    foreign = onnx.load(path)
    next(p for p in foreign.metadata_props if p.key == "edge.manifest").value = json.dumps(known)
    onnx.save(foreign, path)
    sample = ("--source", tmp_path / "sample", "--mqtt", "none", "--state-dir", tmp_path / "state")
    told = subprocess.run(
        [BINARIES / "edge-run", path, "--drift", *sample], check=True, timeout=120, capture_output=True, text=True
    )
    assert "it is of rows, and the model takes pictures" in told.stderr
