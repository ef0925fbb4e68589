"""`--trial FILE` of `edge-run` as a process, at a real mosquitto."""

from __future__ import annotations

import json
import subprocess

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
    nothing = refused(flowers, "--http", "0", "--trial", flowers.path)

    assert (other.returncode, damaged.returncode, nothing.returncode) == (2, 3, 2)
    assert "--trial numbers.onnx does" in other.stderr
    assert "cut.onnx" in damaged.stderr
    assert "--trial runs on what a --source brings" in nothing.stderr
