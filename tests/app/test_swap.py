"""Another model takes over in the running flow, there and back, while inputs come over a real broker and by HTTP."""

from __future__ import annotations

import itertools
import json
import shutil
import signal
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from support.processes import PATIENCE_S, Client, free_port
from support.updating import write_model

from edge.app import loading
from edge.app.build import build
from edge.app.core import Core, Draft
from edge.app.status import Status
from edge.app.swap import RunningModel
from edge.mqtt.session import MqttSession
from edge.settings import layers

SWITCHES = 4
RATE_S = 300


class Switching:
    """In the place of the updates: the models take over from each other, as fast as they load."""

    def __init__(self, settings, files: tuple[Path, Path]) -> None:
        self.settings, self.files = settings, files
        self.leaving = threading.Event()
        self.model: RunningModel | None = None
        self.hindrances: list[str] = []
        self.tell = lambda: None

    def runs(self, core: Core) -> RunningModel:
        self.model = RunningModel(core)
        return self.model

    def join(self, core: Core, draft: Draft, session: MqttSession | None, status: Status) -> None:
        draft.add("switching", stop=self.leaving.set)
        if session is not None:
            self.tell = lambda: session.post(status.information())

    def told(self) -> dict[str, str]:
        return {"state": "idle"}

    def switch(self, number: int) -> None:
        new = self.model.load(self.settings, self.files[number % 2])
        self.hindrances.append(self.model.fixed() or self.model.hindrance(new))
        self.model.swap(new, self.leaving)
        self.tell()


class Service:
    """A service in this process: it runs in the main thread, `work` beside it, and its end is the service's."""

    def __init__(self, folder: Path, *flags: str, **second) -> None:
        self.files = (write_model(folder / "m1.onnx", "1"), write_model(folder / "m2.onnx", "2", **second))
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
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
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


@pytest.mark.skipif(shutil.which("mosquitto") is None, reason="needs mosquitto (apt-get install mosquitto)")
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
            for number in range(1, SWITCHES + 1):
                at = len(listener.of("result"))
                listener.wait_for("result", at + 20)
                service.switching.switch(number)
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
