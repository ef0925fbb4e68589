"""Home Assistant itself, from PyPI, in an environment of its own: its MQTT integration reads what we publish."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from support import homes, onnxmodels, peers
from support.processes import Client, until
from wording.test_recipes import GOLDEN, PAGE

from edge.data.result import Anomaly, Classification, Detection, Regression, Segmentation

VERSION = "2026.2.3"
# It asks for Python 3.13.2; what it needs of that is not here. paho-mqtt is what its MQTT integration asks for.
PACKAGES = ("--ignore-requires-python", f"homeassistant=={VERSION}", "paho-mqtt==2.1.0")

pytestmark = [
    pytest.mark.peers,
    pytest.mark.timeout(900),  # the first run installs some hundred megabytes
    pytest.mark.skipif(sys.version_info >= (3, 13), reason="one Python is enough for other people's packages"),
]


def python313() -> str:
    """The Python that Home Assistant needs: on the path, or one of pyenv's."""
    found = shutil.which("python3.13")
    if found and subprocess.run([found, "--version"], capture_output=True).returncode == 0:
        return found
    others = sorted(Path(sys.base_prefix).parent.glob("3.13*/bin/python3.13"))
    if not others:
        pytest.skip("python3.13 is not installed: Home Assistant needs it")
    return str(others[-1])


class HomeAssistant:
    """Its core, its MQTT integration, our broker."""

    def __init__(self, port: int) -> None:
        bins = peers.environment(peers.CACHE, f"homeassistant-{VERSION}", *PACKAGES, python=python313())
        script = Path(homes.__file__).with_name("homeassistant_core.py")
        # -P: beside the script lies a module that is named like one of Python's own.
        self.process = subprocess.Popen(
            [bins / "python", "-P", script, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        greeting = self.process.stdout.readline()
        assert f"{VERSION} ConfigEntryState.LOADED" in greeting, self.end()

    def ask(self, value: Any) -> dict[str, Any]:
        self.process.stdin.write(json.dumps(value) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def knows(self) -> dict[str, Any]:
        return self.ask(None)

    def until(self, **states: str) -> dict[str, Any]:
        """Waits for these states (`sensor__name`) and returns all it knows."""
        wanted = {name.replace("__", ".", 1): state for name, state in states.items()}
        seen: dict[str, Any] = {}

        def so() -> bool:
            seen.update(self.knows())
            return wanted.items() <= seen["states"].items()

        until(so, f"{wanted} in {seen.get('states')}" if seen else str(wanted))
        return seen

    def end(self) -> str:
        _, errors = self.process.communicate(timeout=150)
        return errors


@pytest.fixture
def home(broker) -> Iterator[HomeAssistant]:
    started = HomeAssistant(broker.port)
    yield started
    assert started.end() == "", "Home Assistant complains"


@pytest.fixture
def board(client, broker):
    """Publishes documents and results as a device would."""
    connection: Client = client(broker.port, "homeassistant/status")

    class Board:
        def announce(self, document, gone=None):
            message = document.message(gone)
            connection.publish(f"{document.base}/status", "online", retain=True)
            connection.publish(message.topic, message.payload, retain=True)

        def tell(self, document, *predictions):
            task = document.base.rpartition("/")[2]
            connection.publish(f"{document.base}/result", homes.result(task, *predictions))

        publish = staticmethod(connection.publish)

    return Board()


ALL = {"pictures": True, "temperature": True, "throttling": True}
DOCUMENTS = [
    homes.made("classify", labels=("cat",), **ALL),
    homes.made("detect", labels=homes.COCO, **ALL),
    homes.made("detect", labels=tuple(f"thing {i}" for i in range(90)), **ALL),
    homes.made("keypoints", labels=("person",), **ALL),
    homes.made("regress", values=(("power", "kW"), ("2nd", "°")), **ALL),
    homes.made("anomaly", **ALL),
    homes.made("segment", labels=("road", "sky"), **ALL),
    homes.made("raw", **ALL, updates=True, by_hand=True),
]


def test_its_own_schemas_take_every_document_and_know_every_key(home):
    for document in DOCUMENTS:
        assert home.ask(homes.said(document)) == {key: [] for key in document.components}


def test_its_templates_read_our_results(home, board):
    documents = {
        "classify": homes.made("classify", model="classify", labels=("7",)),
        "detect": homes.made("detect", model="detect", labels=(*homes.COCO, 'a "b" {{ c }}')),
        "regress": homes.made("regress", model="regress", values=(("power", "kW"), ("flow", "l/s"))),
        "anomaly": homes.made("anomaly", model="anomaly"),
        "segment": homes.made("segment", model="segment"),
    }
    for document in documents.values():
        board.announce(document)
    home.until(sensor__line3_classify_label="unknown", sensor__line3_segment_label="unknown")
    box = (1.0, 2.0, 3.0, 4.0)
    board.tell(documents["classify"], Classification(7, "7", 0.98), Classification(1, "1", 0.01))
    board.tell(
        documents["detect"], Detection(2, "car", 0.5, box), Detection(0, "person", 0.91, box),
        Detection(2, "car", 0.4, box), Detection(8, 'a "b" {{ c }}', 0.3, box),
    )  # fmt: skip
    board.tell(documents["regress"], Regression("power", 1.25, "kW"), Regression("flow", -3.0))
    board.tell(documents["anomaly"], Anomaly(2.5, True))
    board.tell(documents["segment"], Segmentation(["road", "sky"], [0.3, 0.7]))
    known = home.until(
        sensor__line3_classify_label="7", sensor__line3_classify_score="98.0", sensor__line3_classify_latency="2.75",
        binary_sensor__line3_detect_presence="on", sensor__line3_detect_label="person",
        sensor__line3_detect_score="91.0", sensor__line3_detect_objects="4", sensor__line3_detect_count_car="2",
        sensor__line3_detect_count_person="1", sensor__line3_detect_count_dog="0",
        sensor__line3_detect_count_a_b_c="1",
        sensor__line3_regress_value_power="1.25", sensor__line3_regress_value_flow="-3.0",
        binary_sensor__line3_anomaly_anomaly="on", sensor__line3_anomaly_score="2.5",
        sensor__line3_segment_label="sky", sensor__line3_segment_area="70.0",
    )  # fmt: skip
    attributes = known["attributes"]
    assert attributes["sensor.line3_detect_objects"]["counts"] == {"car": 2, "person": 1, 'a "b" {{ c }}': 1}
    assert [p["label"] for p in attributes["sensor.line3_classify_label"]["predictions"]] == ["7", "1"]
    assert attributes["sensor.line3_regress_value_power"]["unit_of_measurement"] == "kW"

    for name, document in documents.items():
        if name != "regress":
            board.tell(document)
    home.until(
        sensor__line3_classify_label="unknown", sensor__line3_classify_score="unknown",
        binary_sensor__line3_detect_presence="off", sensor__line3_detect_label="unknown",
        sensor__line3_detect_objects="0", sensor__line3_detect_count_car="0",
        binary_sensor__line3_anomaly_anomaly="off", sensor__line3_segment_label="unknown",
    )  # fmt: skip


def test_heat_throttling_and_availability(home, board):
    document = homes.made("raw", temperature=True, throttling=True)
    board.announce(document)
    stats = {"board": {"temperature_celsius": 81.5, "throttled": ["under-voltage now"]}}
    home.until(sensor__line3_m_temperature="unknown")
    board.publish("edge/line3/m/stats", stats)
    known = home.until(sensor__line3_m_temperature="81.5", binary_sensor__line3_m_throttling="on")
    assert known["attributes"]["binary_sensor.line3_m_throttling"]["reasons"] == ["under-voltage now"]
    board.publish("edge/line3/m/stats", {"board": {"temperature_celsius": 60.0, "throttled": []}})
    home.until(sensor__line3_m_temperature="60.0", binary_sensor__line3_m_throttling="off")
    board.publish("edge/line3/m/status", "offline", retain=True)
    home.until(sensor__line3_m_temperature="unavailable", sensor__line3_m_latency="unavailable")


def test_components_and_devices_that_are_gone_are_gone_there_too(home, board):
    board.announce(homes.made("detect", labels=("cat", "dog")))
    home.until(sensor__line3_m_count_cat="unknown")
    board.announce(homes.made("detect", labels=("dog",)), gone={"count_cat": "sensor"})
    board.announce(homes.made("detect", labels=("dog",)))
    until(lambda: "sensor.line3_m_count_cat" not in home.knows()["entities"], "the entity is gone")
    assert "sensor.line3_m_count_dog" in home.knows()["entities"]
    board.publish(homes.made("detect").topic, "", retain=True)
    until(lambda: not home.knows()["devices"], "the device is gone")


def test_edge_run_itself_appears_and_its_state_is_known_after_home_assistant_came_back(
    edge_run, broker, client, tmp_path
):
    model = onnxmodels.one_box(tmp_path / "door.onnx")
    (tmp_path / "labels.txt").write_text("cat\nperson\n")
    picture = cv2.imencode(".png", np.zeros((90, 120, 3), np.uint8))[1].tobytes()
    listener = client(broker.port, "edge/pi/door/#")
    edge_run("--model", model, "--mqtt", broker.url, "--device", "pi", "--home-assistant", "--on-change",
             "--image-interval", "0.1")  # fmt: skip
    listener.wait_for_text("edge/pi/door/status", b"online")
    listener.publish("edge/pi/door/input", picture)
    listener.wait_for("result")

    home = HomeAssistant(broker.port)  # its birth is all that it says
    known = home.until(
        binary_sensor__pi_door_presence="on", sensor__pi_door_label="person", sensor__pi_door_count_person="1"
    )
    assert known["devices"] == ["pi door"]
    assert known["states"]["image.pi_door_image"] == "unknown"
    listener.publish("edge/pi/door/input", picture)
    until(lambda: home.knows()["states"]["image.pi_door_image"] not in ("unknown", "unavailable"), "a picture")
    assert home.end() == ""


def test_its_update_entity_reads_where_an_update_stands_and_its_button_has_what_waits_installed(
    home, board, client, broker
):
    document = homes.made("raw", updates=True, by_hand=True)
    commands = client(broker.port, "edge/line3/m/set")
    board.announce(document)
    told = {"state": "idle", "from": "1", "to": "", "latest": "2", "waiting": True, "percent": None, "notes": "Better."}
    board.publish("edge/line3/m/update", told, retain=True)
    waiting = home.until(update__line3_m_update="on")["attributes"]["update.line3_m_update"]
    board.publish("edge/line3/m/update", {**told, "state": "downloading", "waiting": False, "percent": 40}, retain=True)

    def loads() -> bool:
        return home.knows()["attributes"]["update.line3_m_update"]["update_percentage"] == 40

    until(loads, "the download is shown")
    board.publish("edge/line3/m/update", {**told, "state": "confirmed", "from": "2", "waiting": False}, retain=True)
    home.until(update__line3_m_update="off")

    assert (waiting["installed_version"], waiting["latest_version"]) == ("1", "2")
    assert (waiting["release_summary"], waiting["in_progress"]) == ("Better.", False)
    assert commands.of("set") == []


def test_several_runs_of_a_process_are_devices_with_zones_and_switches_of_their_own(
    home, edge_run, broker, client, tmp_path
):
    (tmp_path / "labels.txt").write_text("cat\nperson\n")
    zone = "[run.zones.porch]\npolygon = [[0, 0], [1, 0], [1, 1], [0, 1]]\n"
    runs = "".join(
        f'[[run]]\nname = "{name}"\nmodel = "{onnxmodels.one_box(tmp_path / f"{name}.onnx")}"\n{more}'
        for name, more in (("door", f"track = true\n{zone}"), ("yard", ""))
    )
    (tmp_path / "runs.toml").write_text(
        f'device = "pi"\nmqtt = "{broker.url}"\nstate-dir = "{tmp_path}/state"\ncommands = true\n'
        f'home-assistant = true\nlabels = "{tmp_path}/labels.txt"\n{runs}'
    )
    picture = cv2.imencode(".png", np.zeros((90, 120, 3), np.uint8))[1].tobytes()
    listener = client(broker.port, "edge/pi/#")
    process = edge_run("--config", tmp_path / "runs.toml")
    home.until(switch__pi_door_running="on", switch__pi_yard_running="on")
    for name in ("door", "yard"):
        listener.publish(f"edge/pi/{name}/input", picture)
    listener.publish("edge/pi/door/input", picture)  # the second time it has an id
    known = home.until(
        sensor__pi_door_zone_porch="1", sensor__pi_yard_label="person", binary_sensor__pi_door_presence="on"
    )
    assert sorted(known["devices"]) == ["pi door", "pi yard"]
    assert "sensor.pi_yard_zone_porch" not in known["entities"]

    home.ask({"call": ["switch", "turn_off", {"entity_id": "switch.pi_door_running"}]})
    assert home.until(switch__pi_door_running="off")["states"]["switch.pi_yard_running"] == "on"
    home.ask({"call": ["number", "set_value", {"entity_id": "number.pi_yard_threshold", "value": 0.95}]})
    home.until(number__pi_yard_threshold="0.95")

    process.process.kill()
    home.until(switch__pi_door_running="unavailable", sensor__pi_yard_label="unavailable")


def test_a_sensor_by_hand_reads_what_the_recipe_of_the_page_sends(home, board):
    (written,) = re.findall(r"^# configuration.yaml of Home Assistant\n(.*?)```", PAGE.read_text("utf-8"), re.M | re.S)
    (sensor,) = yaml.safe_load(written)["mqtt"]["sensor"]
    board.publish("homeassistant/sensor/by_hand/config", json.dumps(sensor), retain=True)
    home.until(sensor__what="unknown")
    board.publish(*GOLDEN["Home Assistant, by hand"], retain=True)
    known = home.until(sensor__what="cat, big")
    assert known["attributes"]["sensor.what"]["confidence"] == 90.0


def test_the_states_that_its_statestream_publishes_are_joined_into_rows(home, board, edge_run, flowers, broker, client):
    row, names = flowers.rows[0], list(flowers.rows[0])
    for name in names:
        told = {"name": name, "unique_id": name, "state_topic": f"sensors/{name}"}
        board.publish(f"homeassistant/sensor/{name}/config", told, retain=True)
    home.until(**{f"sensor__{name}": "unknown" for name in names})
    listener = client(broker.port, "edge/pi/flowers/#")
    joined = [part for n in names for part in ("--join", f"{n}=statestream/sensor/{n}/state")]
    edge_run("--model", flowers.path, "--mqtt", broker.url, "--device", "pi", *joined)
    assert "'unknown'; a number belongs there" in listener.wait_for("error")[0]["reason"]
    for name in names:
        board.publish(f"sensors/{name}", str(row[name]), retain=True)  # it may subscribe a moment later
    assert listener.wait_for("result")[0]["predictions"][0]["label"] == flowers.answers[0]
