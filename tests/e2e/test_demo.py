"""`edge-run demo` and `edge-convert --example`: what they leave behind is what the next commands need."""

from __future__ import annotations

import ast
import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.processes import BINARIES, Client, free_port

import edge
from converter import cli
from converter.demo.__main__ import free_port as free_port_of_the_demo
from converter.demo.__main__ import to_png
from edge.mqtt.embedded import EmbeddedBroker


def typed(line: str, folder, **more):
    env = {k: v for k, v in os.environ.items() if not k.startswith("EDGE_")}
    env |= {"PATH": f"{BINARIES}:{env['PATH']}", "XDG_STATE_HOME": str(folder / "state"), "CI": ""}
    return subprocess.Popen(["bash", "-c", f"exec {line}"], cwd=folder, env=env, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, **more)  # fmt: skip


def test_the_demos_broker_has_a_port_that_no_client_is_given():
    """One that waits for the broker on such a port may connect to itself, and the broker cannot have it then."""
    lowest, _ = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    assert free_port_of_the_demo() < int(lowest)


def test_a_demo_that_cannot_write_says_the_way_out(tmp_path):
    (tmp_path / "edge-demo").write_text("in the way")
    demo = typed("edge-run demo", tmp_path)
    assert "name another" in demo.communicate(timeout=150)[0]
    assert demo.returncode == 2


@pytest.mark.parametrize(
    ("broker", "says"),
    [
        ("nowhere", "the demo takes mqtt://host:port"),
        ("mqtt://127.0.0.1:99999", "leave --broker out"),
        ("mqtt://127.0.0.1:{free}", "leave --broker out"),
    ],
)
def test_a_demo_whose_broker_is_not_there_says_so_before_it_trains(tmp_path, broker, says):
    demo = typed(f"edge-run demo --broker {broker.format(free=free_port())}", tmp_path)
    said = demo.communicate(timeout=150)[0]
    assert (demo.returncode, len(said.splitlines())) == (2, 1)
    assert says in said


@pytest.mark.long  # a whole demo, with its training
@pytest.mark.parametrize(
    "after",
    ["1. Training", pytest.param("2. Converting", marks=pytest.mark.long), "A subscriber in another process"],
)
def test_a_signal_to_the_demo_alone_ends_its_processes_too(tmp_path, after):
    demo = typed("edge-run demo", tmp_path, start_new_session=True)
    for line in demo.stdout:
        if after in line:
            break
    demo.send_signal(signal.SIGTERM)
    said = demo.communicate(timeout=150)[0]
    assert demo.returncode == 143, said
    assert "edge-run demo: interrupted; --folder keeps what was made\n" in said
    assert "written " not in said or "A subscriber" in after
    assert "Traceback" not in said
    with pytest.raises(ProcessLookupError):
        os.killpg(demo.pid, 0)


def test_a_demo_whose_training_fails_says_which_program_did(tmp_path):
    (tmp_path / "edge-demo" / "rows.csv").mkdir(parents=True)
    demo = typed("edge-run demo", tmp_path)
    said = demo.communicate(timeout=150)[0]
    assert demo.returncode == 2
    assert "edge-demo/train_digits.py ended with 1; see above" in said.splitlines()[-1]


@pytest.mark.long  # a whole demo, with its training
def test_a_demo_whose_edge_run_cannot_begin_ends_as_it_did(tmp_path):
    (tmp_path / "edge-demo").mkdir()
    (tmp_path / "edge-demo" / "state").write_text("in the way")
    demo = typed("edge-run demo", tmp_path)
    said = demo.communicate(timeout=150)[0]
    assert demo.returncode == 4, said
    assert "--state-dir wants a folder that this user may write to" in said
    assert "Traceback" not in said
    assert "4. " not in said, "no result is told of"


def test_the_demos_picture_is_read_by_others_as_the_row_it_was_made_of():
    picture = cv2.imdecode(np.frombuffer(to_png([0.0] * 63 + [16.0]), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert picture.shape == (192, 192)
    assert (picture[0, 0], picture[-1, -1], picture[-25, -1]) == (255, 0, 255)


def test_nothing_of_a_program_stands_behind_its_start():
    """What is defined below `if __name__ == "__main__":` is not there yet when the program begins."""
    root = Path(edge.__file__).parents[1]
    programs = [
        (path, body)
        for package in ("edge", "converter")
        for path in (root / package).rglob("*.py")
        if '__name__ == "__main__"' in (body := path.read_text())
    ]
    assert len(programs) > 3
    for path, body in programs:
        assert ast.unparse(ast.parse(body).body[-1].test) == "__name__ == '__main__'", path


def test_the_demos_subscriber_hears_its_own_topic_alone():
    """amqtt hands a client that connects what is retained on every topic that any client has subscribed to."""
    broker = EmbeddedBroker(free_port())
    broker.start()
    try:
        with contextlib.closing(Client(broker.port, "edge/demo/digits/info", version=4)) as other:
            other.publish("edge/demo/digits/info", {"of": "another topic"}, retain=True)
            other.wait_for_topic("info")
            listen = [sys.executable, "-m", "converter.demo.subscriber", "127.0.0.1", str(broker.port), "edge/t/result"]
            with subprocess.Popen(listen, stdout=subprocess.PIPE, text=True) as subscriber:
                assert json.loads(subscriber.stdout.readline()) == {"subscribed": "edge/t/result"}
                other.publish("edge/t/result", {"seq": 1})
                assert json.loads(subscriber.stdout.readline())["payload"] == {"seq": 1}
                subscriber.terminate()
    finally:
        broker.stop()


# That of scikit-learn is what the demo trains with.
@pytest.mark.parametrize("framework", [pytest.param("sklearn", marks=pytest.mark.long), "xgboost"])
def test_an_example_trains_and_converts(tmp_path, framework):
    wrote = typed(f"edge-convert --example {framework}", tmp_path)
    assert "  python train_digits.py\n" in wrote.communicate(timeout=150)[0]
    done = subprocess.run([sys.executable, "train_digits.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("<Artifact digits: ")
    assert len(done.stdout) < 200
    model = edge.load(tmp_path / "digits.onnx")
    assert model.predict(json.loads((tmp_path / "row.json").read_text())).predictions[0].label == "7"
    assert repr(model).startswith("<Model digits 1: classify, onnxruntime ")


def test_an_example_overwrites_nothing(tmp_path):
    (tmp_path / "train_digits.py").write_text("mine")
    done = typed("edge-convert --example sklearn", tmp_path)
    assert "is there already" in done.communicate(timeout=150)[0]
    assert done.returncode == 2
    assert (tmp_path / "train_digits.py").read_text() == "mine"


def test_an_example_where_nothing_can_be_written_is_one_line_and_2(tmp_path, monkeypatch, capsys):
    def full(path, data):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr("edge.storage.atomic.write", full)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["--example", "sklearn"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "train_digits.py: cannot be written" in said


def test_an_example_that_there_is_not_names_those_there_are(tmp_path):
    done = typed("edge-convert --example pytorch", tmp_path)
    assert "one of sklearn, torch, keras, xgboost belongs there" in done.communicate(timeout=150)[0]


def test_edge_convert_tells_its_version_and_the_models_is_another():
    said = subprocess.run([BINARIES / "edge-convert", "--version"], capture_output=True, text=True)
    assert (said.returncode, said.stdout) == (0, f"edge-convert {edge.__version__}\n")
