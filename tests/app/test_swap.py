"""Another model takes over in the running flow, there and back, while inputs come over a real broker and by HTTP."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import signal
import threading
import time
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest
from msgspec.structs import replace
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from support import onnxmodels
from support.processes import PATIENCE_S, Client, free_port, until
from support.updating import seen, write_model

from edge.app import loading
from edge.app.build import build
from edge.app.core import Core, Draft
from edge.app.status import Status
from edge.app.swap import RunningModel
from edge.errors import ModelError
from edge.mqtt.session import MqttSession
from edge.runtime import ending
from edge.settings import layers

SWITCHES = 4
RATE_S = 300
needs_mosquitto = pytest.mark.skipif(
    shutil.which("mosquitto") is None, reason="needs mosquitto (apt-get install mosquitto)"
)


class Switching:
    """In the place of the updates: the models take over from each other, as fast as they load."""

    def __init__(self, settings, files: tuple[Path, Path]) -> None:
        self.settings, self.files = settings, files
        self.leaving = threading.Event()
        self.model: RunningModel | None = None
        self.hindrances: list[str] = []
        self.tell = lambda: None
        self.to_blame = False

    def runs(self, core: Core) -> RunningModel:
        self.model = RunningModel(core)
        return self.model

    def join(self, core: Core, draft: Draft, session: MqttSession | None, status: Status, _: object) -> None:
        draft.add("switching", stop=self.leaving.set)
        if session is not None:
            self.tell = lambda: session.post(status.information())

    def told(self) -> dict[str, str]:
        return {"state": "idle"}

    def switch(self, number: int) -> None:
        new = self.model.load(self.settings, self.files[number % 2])
        self.hindrances.append(self.model.hindrance(new))
        self.model.swap(new, self.leaving)
        self.tell()


class Service:
    """A service in this process: it runs in the main thread, `work` beside it, and its end is the service's."""

    def __init__(self, folder: Path, *flags: str, files: tuple[Path, Path] | None = None, **second) -> None:
        """`files`: the models that take turns; else ours of rows, of which the second one is made as `second` says."""
        self.files = files or (write_model(folder / "m1.onnx", "1"), write_model(folder / "m2.onnx", "2", **second))
        self.settings = layers.read(
            ["--model", str(self.files[0]), "--state-dir", str(folder / "state"), "--device", "d", *flags], {}, "0"
        )
        self.switching = Switching(self.settings, self.files)
        self.failure: BaseException | None = None

    def run(self, work) -> None:
        app = build(self.settings, loading.open_model(self.settings), self.switching)

        def guarded() -> None:
            try:
                work()
            except BaseException as exc:  # noqa: BLE001 - the test raises it
                self.failure = exc
            finally:
                app.stop.request()

        thread = threading.Thread(target=guarded)
        handlers = {number: signal.getsignal(number) for number in ending.ALL}
        thread.start()
        try:
            app.run()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            thread.join()
        if self.failure is not None:
            raise self.failure


def asked(port: int, row: dict) -> dict:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/predict", json.dumps(row).encode())
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return json.load(answer)


@needs_mosquitto
def wait_for_results(listener: Client, version: str) -> None:
    """Of a machine that is late those of the version before may still come."""

    def lately() -> list[str]:
        return [r["model"]["version"] for r in listener.of("result")[-20:]]

    until(lambda: lately() == [version] * 20, f"twenty results of version {version}")


def test_at_300_inputs_a_second_no_switch_loses_doubles_or_reorders_one_and_requests_are_answered(tmp_path, mosquitto):
    broker, port = mosquitto(), free_port()
    service = Service(
        tmp_path, "--mqtt", broker.url, "--http", str(port), "--home-assistant", "--input-path", "$.row", factor=10.0
    )
    listener = Client(broker.port, "edge/d/m/result", "edge/d/m/error", "edge/d/m/info", "answers", name="l")
    sender = Client(broker.port)
    over, sent, answers = threading.Event(), [0], []
    reply = Properties(PacketTypes.PUBLISH)
    reply.ResponseTopic = "answers"

    def send() -> None:
        begun = time.monotonic()
        while not over.is_set():
            sent[0] += 1
            body = json.dumps({"row": {"a": sent[0], "b": 1, "id": sent[0]}})
            sender.client.publish("edge/d/m/input", body, 1, properties=reply if sent[0] % 10 == 0 else None)
            over.wait(max(0.0, begun + sent[0] / RATE_S - time.monotonic()))

    def ask() -> None:
        while not over.is_set():
            answers.append(asked(port, {"a": 5, "b": 1}))

    def work() -> None:
        listener.wait_for("info")
        threads = [threading.Thread(target=one) for one in (send, ask)]
        for thread in threads:
            thread.start()
        try:
            wait_for_results(listener, "1")
            for number in range(1, SWITCHES + 1):
                service.switching.switch(number)
                wait_for_results(listener, str(1 + number % 2))
        finally:
            over.set()
            for thread in threads:
                thread.join()
        listener.wait_for("result", sent[0])

    try:
        service.run(work)
        results = listener.of("result")
        infos = [said["model"]["version"] for said in listener.of("info")]
        replies = [json.loads(p) for topic, p, _ in listener.messages if topic == "answers"]
    finally:
        listener.close()
        sender.close()

    assert service.switching.hindrances == [""] * SWITCHES
    assert [r["input_id"] for r in results] == list(range(1, sent[0] + 1))
    assert listener.of("error") == []
    versions = [r["model"]["version"] for r in results]
    assert sum(a != b for a, b in itertools.pairwise(versions)) == SWITCHES
    factors = {"1": 2.0, "2": 10.0}
    assert all(r["predictions"][0]["value"] == r["input_id"] + factors[r["model"]["version"]] for r in results)
    assert [r["input_id"] for r in replies] == list(range(10, sent[0] + 1, 10))
    assert {r["model"]["version"] for r in answers} == {"1", "2"}
    assert all(r["predictions"][0]["value"] == 5 + factors[r["model"]["version"]] for r in answers)
    assert infos == ["1", *(str(1 + n % 2) for n in range(1, SWITCHES + 1))]


@pytest.fixture
def switched(tmp_path, mosquitto):
    """What a listener hears of a service whose model changes there and back while inputs come, and what was sent."""

    def run(payload, *flags: str, begin=lambda sender: None, rate=RATE_S, **service):
        broker, over, sent = mosquitto(), threading.Event(), [0]
        serving = Service(tmp_path, "--mqtt", broker.url, "--name", "m", *flags, **service)
        listener, sender = Client(broker.port, "edge/d/m/#", name="l"), Client(broker.port)

        def send() -> None:
            begun = time.monotonic()
            while not over.is_set():
                sent[0] += 1
                sender.client.publish("edge/d/m/input", payload(sent[0]), 1)
                over.wait(max(0.0, begun + sent[0] / rate - time.monotonic()))

        def work() -> None:
            listener.wait_for("info")
            begin(sender)
            thread = threading.Thread(target=send)
            thread.start()
            try:
                for number in range(1, SWITCHES + 1):
                    listener.wait_for("result", len(listener.of("result")) + 20)
                    serving.switching.switch(number)
                listener.wait_for("result", len(listener.of("result")) + 20)
            finally:
                over.set()
                thread.join()
            listener.wait_for("result", sent[0])

        try:
            serving.run(work)
            return listener, sent[0], serving.switching.hindrances
        finally:
            listener.close()
            sender.close()

    return run


@needs_mosquitto
def test_commands_kept_samples_and_templates_go_on_with_the_other_model(switched, tmp_path):
    listener, sent, hindrances = switched(
        lambda n: json.dumps({"a": n, "b": 1, "id": n}), "--commands", "--capture", "random:0.2",
        "--payload", '{"n": {{ input_id }}, "v": {{ predictions[0].value }}, "by": {{ model.version }}}', factor=10.0,
        begin=lambda sender: sender.publish("edge/d/m/set", {"command": "log-level", "value": "error"}),
    )  # fmt: skip
    results = listener.of("result")
    lines = [
        json.loads(line) for file in (tmp_path / "state").rglob("*.jsonl") for line in file.read_text().splitlines()
    ]
    factors = {"1": 2.0, "2": 10.0}

    assert (hindrances, listener.of("error")) == ([""] * SWITCHES, [])
    assert [r["n"] for r in results] == list(range(1, sent + 1))
    assert {r["by"] for r in results} == {"1", "2"}
    assert all(r["v"] == r["n"] + factors[r["by"]] for r in results)
    assert {line["result"]["model"]["version"] for line in lines} == {"1", "2"}
    assert listener.of("settings")[-1]["log_level"] == "error"


SIZE = 64


def lit(number: int) -> int:
    """How bright the thing is in a picture."""
    return 200 + number % 50


def thing(number: int) -> bytes:
    """A picture of a red thing that stands still; its number is in its brightness, which is its score."""
    picture = np.zeros((SIZE, SIZE, 3), np.uint8)
    picture[34:54, 10:34, 2] = lit(number)
    return cv2.imencode(".png", picture)[1].tobytes()


@needs_mosquitto
def test_an_object_that_is_followed_keeps_its_id_and_what_was_commanded_its_hold(switched, tmp_path):
    files = tuple(onnxmodels.blobs(tmp_path / f"m{number}.onnx", SIZE, doc=number) for number in "12")
    onnxmodels.brightness(tmp_path / "colour.onnx", 32)
    (tmp_path / "colour.labels.txt").write_text("red\ngreen\nblue\n")
    listener, sent, hindrances = switched(
        thing, "--track", "600", "--zone", "left=0,0,0.5,0,0.5,1,0,1", "--resize", "stretch",
        "--threshold", "0.5", "--commands", "--then", str(tmp_path / "colour.onnx"), files=files, rate=30,
        begin=lambda sender: sender.publish("edge/d/m/set", {"command": "threshold", "value": 0.6}),
    )  # fmt: skip
    results = listener.of("result")
    found = [r["predictions"] for r in results]

    assert (hindrances, listener.of("error")) == ([""] * SWITCHES, [])
    assert [round(255 * one["score"]) for (one,) in found] == [lit(n) for n in range(1, sent + 1)]
    assert [one.get("track_id") for (one,) in found] == [None] + [1] * (sent - 1)  # one frame makes no object
    assert {one["then"]["predictions"][0]["label"] for (one,) in found} == {"red"}
    assert len({r["model"]["sha256"] for r in results}) == 2
    assert [e["type"] for e in listener.of("event")].count("appear") == 1
    assert listener.of("settings")[-1]["threshold"] == 0.6


def hindrance_of(folder: Path, first: Path, second: Path, *flags: str) -> str:
    settings = layers.read(
        ["--model", str(first), "--state-dir", str(folder / "state"), "--name", "m", *flags], {}, "0"
    )
    switching = Switching(settings, (first, second))
    app = build(settings, loading.open_model(settings), switching)
    try:
        new = switching.model.load(settings, second)
        return switching.model.hindrance(new)
    finally:
        for part in reversed(app.parts):
            part.stop()


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (("--track", "5", "--source", "synthetic:1"), "--track goes on with the objects of the model before"),
        (("--capture", "random:0.5"), "--capture keeps samples of one task and its labels"),
    ],
)
def test_what_cannot_go_on_with_other_labels_is_said(tmp_path, flags, why):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    files = [onnxmodels.blobs(tmp_path / name / "m.onnx", SIZE) for name in ("one", "two")]
    (tmp_path / "two" / "labels.txt").write_text("cat\ndog\n")

    assert why in hindrance_of(tmp_path, *files, *flags, "--mqtt", "none", "--http", "0")


def test_a_switch_waits_for_nobody_once_the_process_leaves(tmp_path):
    """The main thread, which would see to drift, waits for the updates: its source has ended."""
    files = [write_model(tmp_path / f"m{number}.onnx", number, **seen()) for number in "12"]
    words = [f"--model={files[0]}", f"--state-dir={tmp_path}/state", "--mqtt", "none", "--http", "0", "--drift", "60"]
    settings = layers.read(words, {}, "0")
    switching = Switching(settings, tuple(files))
    app = build(settings, loading.open_model(settings), switching)
    switching.leaving.set()
    switches = threading.Thread(target=switching.switch, args=(1,))
    switches.start()
    try:
        switches.join(PATIENCE_S)
        assert not switches.is_alive()
    finally:
        app.stop.request()
        switches.join(PATIENCE_S)
        for part in reversed(app.parts):
            part.stop()


class InEachOthersWay:
    """An engine that answers wrongly while so many infer at once."""

    def __init__(self, engine, at_once: int) -> None:
        self._engine = engine
        self.name, self.version, self.inputs, self.outputs = engine.name, engine.version, engine.inputs, engine.outputs
        self._off = at_once - 1
        self._all_in = threading.Barrier(at_once)

    def infer(self, tensors):
        self._all_in.wait(PATIENCE_S)
        return {name: values + self._off for name, values in self._engine.infer(tensors).items()}

    def close(self) -> None:
        self._engine.close()


@pytest.mark.parametrize("instances", [1, 2])
def test_golden_samples_are_replayed_side_by_side_as_the_instances_will_run(tmp_path, instances):
    """So that a model, or an engine, that fails only with several is found before it takes over."""
    words = ["--model", str(write_model(tmp_path / "m.onnx")), "--instances", str(instances)]
    settings = layers.read(words, {}, "0")
    loaded = loading.open_model(settings)
    tried = replace(loaded, engine=InEachOthersWay(loaded.engine, instances))
    try:
        with pytest.raises(ModelError, match="golden sample 1") if instances > 1 else contextlib.nullcontext():
            loading.replay(tried, settings)
    finally:
        loaded.engine.close()


@pytest.mark.parametrize(
    ("second", "flags", "why"),
    [
        ("pictures", (), "it takes image, the one that runs table"),
        ("wider", ("--source", "synthetic:9"), "the source makes other inputs up for it"),
        ("same", (), ""),
    ],
)
def test_a_model_that_the_flow_was_not_made_for_is_said(tmp_path, second, flags, why):
    """The process begins anew with it."""
    first = onnxmodels.scores(tmp_path / "m.onnx", classes=2, features=2)
    (tmp_path / "new").mkdir()
    new = tmp_path / "new" / "m.onnx"
    {
        "pictures": lambda: onnxmodels.pictures(new),
        "wider": lambda: onnxmodels.scores(new, classes=2, features=3),
        "same": lambda: onnxmodels.scores(new, classes=2, features=2),
    }[second]()

    found = hindrance_of(tmp_path, first, new, *flags, "--mqtt", "none", "--http", "0")
    assert (why in found, bool(found)) == (True, bool(why)), found
