"""`--trial FILE` of `edge-run` as a process, at a real mosquitto."""

from __future__ import annotations

import json
import subprocess

import numpy as np
import pytest
from support import onnxmodels
from support.processes import BINARIES, free_port, until
from support.updating import write_model

BASE = "edge/pi/flowers"


@pytest.fixture(scope="module")
def retrained(tmp_path_factory):
    """Another model of the same flowers, which takes two kinds for one."""
    from sklearn.datasets import load_iris
    from sklearn.tree import DecisionTreeClassifier

    import converter

    data = load_iris(as_frame=True)
    table = data.data.set_axis([n.replace(" (cm)", "").replace(" ", "_") for n in data.feature_names], axis=1)
    labels = [str(data.target_names[t]) if t != 1 else "virginica" for t in data.target]
    path = tmp_path_factory.mktemp("retrained") / "retrained.onnx"
    fitted = DecisionTreeClassifier(max_depth=2).fit(table, labels)
    converter.convert(fitted, target="onnx", sample=table, name="retrained", version="2").save(path)
    return path


@pytest.mark.usefixtures("curl_is_here")
def test_a_second_model_runs_on_the_same_samples_and_tells_how_it_differs(edge_run, flowers, retrained, broker, client):
    port, listener = free_port(), client(broker.port, f"{BASE}/#")
    edge_run("--model", flowers.path, "--mqtt", broker.url, "--device", "pi", "--stats-interval", "0.5",
             "--trial", retrained, "--http", str(port))  # fmt: skip
    listener.wait_for_text(f"{BASE}/status", b"online")
    assert listener.wait_for("trial")[0]["verdict"]["word"] == "undecided"
    sent = 0

    def seen():
        nonlocal sent
        listener.publish(f"{BASE}/input", flowers.rows[60])  # a versicolor
        sent += 1
        return any(r["samples"] >= 3 for r in listener.of("trial"))

    until(seen, "three samples on trial")
    report = next(r for r in listener.of("trial") if r["samples"] >= 3)
    assert (report["model"]["name"], report["trial"]["name"], report["trial"]["version"]) == (
        "flowers", "retrained", "2",
    )  # fmt: skip
    assert report["agreement"] == 0.0
    assert report["differences"] == [{"from": "versicolor", "to": "virginica", "count": report["samples"]}]
    assert report["latency_ms"]["trial"] > 0
    # Nothing of it is a result, and results have no gaps.
    results = listener.wait_for("result", sent)
    assert {r["model"]["name"] for r in results} == {"flowers"}
    assert [r["seq"] for r in results] == list(range(1, sent + 1))
    asked = subprocess.run(["curl", "-sS", f"http://127.0.0.1:{port}/live/trial"], capture_output=True, check=True)
    assert json.loads(asked.stdout)["verdict"]["word"] == "undecided"


def test_a_handful_of_samples_gives_no_verdict_whatever_was_asked_for(flowers, retrained, tmp_path):
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in flowers.rows[:5]))
    command = [BINARIES / "edge-run", flowers.path, "--mqtt", "none", "--source", "rows.jsonl", "--trial", retrained,
               "--trial-samples", "1", "--state-dir", tmp_path / "state"]  # fmt: skip

    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stderr

    assert "verdict=undecided" in said
    assert "of 20 samples were answered by both" in said


def test_without_a_broker_the_verdict_is_said_at_the_end(flowers, retrained, tmp_path):
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in flowers.rows))
    command = [BINARIES / "edge-run", flowers.path, "--mqtt", "none", "--source", "rows.jsonl", "--trial", retrained,
               "--state-dir", tmp_path / "state"]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)

    (said,) = [line for line in done.stderr.splitlines() if "info    trial" in line]
    assert "trial  model=retrained  version=2  verdict=undecided  samples=" in said
    assert "of 200 samples were answered by both" in said


def refused(flowers, *flags):
    command = [BINARIES / "edge-run", flowers.path, "--mqtt", "none", *flags]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_model_of_other_features_or_labels_is_refused_and_what_is_unclear_is_told(tmp_path):
    running = write_model(tmp_path / "m.onnx")
    other = write_model(tmp_path / "other.onnx", features=("a", "c"))
    turned = write_model(tmp_path / "turned.onnx", features=("b", "a"))
    command = [BINARIES / "edge-run", running, "--mqtt", "none", "--source", "synthetic:1", "--trial"]

    refused = subprocess.run([*command, other], capture_output=True, text=True, check=False)
    told = subprocess.run([*command, turned, "--sink", "file:o.jsonl"], cwd=tmp_path, capture_output=True, text=True)

    assert refused.returncode == 2
    assert "--trial other.onnx: it takes 'c', which the model that runs refuses in a row" in refused.stderr
    assert "--ignore-unknown" in refused.stderr
    assert told.returncode == 0, told.stderr
    assert "the same features in another order" in told.stderr


def test_what_cannot_be_tried_is_refused_before_anything_runs(flowers, tmp_path):
    numbers = onnxmodels.identity(tmp_path / "numbers.onnx")
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(flowers.path.read_bytes()[:500])

    other = refused(flowers, "--source", "synthetic:1", "--trial", numbers)
    damaged = refused(flowers, "--source", "synthetic:1", "--trial", cut)

    assert (other.returncode, damaged.returncode) == (2, 3)
    assert "--trial numbers.onnx does" in other.stderr
    assert "cut.onnx" in damaged.stderr


@pytest.mark.usefixtures("curl_is_here")
def test_where_only_http_asks_the_second_model_is_given_what_comes_there(edge_run, flowers, retrained, tmp_path):
    port = free_port()
    edge_run("--model", flowers.path, "--mqtt", "none", "--http", str(port), "--trial", retrained)

    def ask(path: str, *data: str) -> dict:
        command = ["curl", "-sS", f"http://127.0.0.1:{port}{path}", *data]
        done = subprocess.run(command, capture_output=True, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else {}

    def tried() -> bool:
        answer = ask("/predict", "-d", json.dumps(flowers.rows[60]))
        if answer:
            assert answer["predictions"][0]["label"] == "versicolor"
        return ask("/live/trial").get("samples", 0) >= 3

    until(tried, "three requests on trial")
    assert ask("/live/trial")["differences"][0]["to"] == "virginica"


@pytest.mark.parametrize("flags", [("--track",), ("--commands",), ("--track", "--commands")])
def test_objects_that_are_followed_and_what_is_commanded_make_no_difference(edge_run, client, broker, tmp_path, flags):
    """A thing that fades is told on for its track alone, which a model that is given some of the frames cannot know; a
    threshold that is commanded holds for both."""
    cv2 = pytest.importorskip("cv2")
    models = [onnxmodels.blobs(tmp_path / f"{name}.onnx", 64, doc=name) for name in ("blobs", "other")]
    listener, frames = client(broker.port, "edge/pi/blobs/#"), []
    for light in (255, 38):  # scores of 1 and 0.15
        picture = np.zeros((64, 64, 3), np.uint8)
        picture[20:40, 20:40, 2] = light
        frames.append(cv2.imencode(".png", picture)[1].tobytes())
    edge_run("--model", models[0], "--mqtt", broker.url, "--device", "pi", "--resize", "stretch",
             "--trial", models[1], "--stats-interval", "0.3", *flags)  # fmt: skip
    listener.wait_for_text("edge/pi/blobs/status", b"online")
    if "--commands" in flags:
        listener.publish("edge/pi/blobs/set", {"command": "threshold", "value": 0.6})
        until(lambda: any(s["threshold"] == 0.6 for s in listener.of("settings")), "the threshold is another one")
    sent = 0

    def tried() -> bool:
        nonlocal sent
        listener.client.publish("edge/pi/blobs/input", frames[sent % 2], 1)
        sent += 1
        return any(r["samples"] >= 12 for r in listener.of("trial"))

    until(tried, "frames on trial")
    followed = [p for r in listener.of("result") for p in r["predictions"] if p["score"] < 0.5]
    assert bool(followed) == ("--track" in flags)
    assert next(r for r in listener.of("trial") if r["samples"] >= 12)["differences"] == []
