"""The discovery document, by the fields that Home Assistant asks for; test_peer.py asks itself."""

from __future__ import annotations

import re

import pytest
from support.homes import COCO, made, said

EVERYTHING = {"pictures": True, "temperature": True, "throttling": True}
TASKS = {
    "classify": {"labels": ("cat", "dog")},
    "detect": {"labels": COCO},
    "keypoints": {"labels": ("person",)},
    "regress": {"values": (("power", "kW"), ("flow [l/s]", ""))},
    "anomaly": {},
    "segment": {"labels": ("road", "sky")},
    "raw": {},
}


@pytest.fixture(params=TASKS)
def document(request):
    return made(request.param, **TASKS[request.param], **EVERYTHING)


def test_the_topic_and_the_required_keys_are_those_of_device_discovery(document):
    assert document.topic == "homeassistant/device/edge-run_line3_m/config"
    found = said(document)
    assert found["device"] == {
        "identifiers": ["edge-run_line3_m"], "name": "line3 m", "manufacturer": "Raspberry Pi",
        "model": "Raspberry Pi 5 Model B Rev 1.0", "sw_version": "edge-run 1.0, m 2", "serial_number": "10000000abcdef",
    }  # fmt: skip
    assert found["origin"]["name"] == "edge-run"
    assert found["availability_topic"] == "edge/line3/m/status"
    assert document.message().retain


def test_every_component_has_a_platform_and_ids_of_its_own_and_none_the_deprecated_one(document):
    found = said(document)["components"]
    assert all(c["platform"] in ("sensor", "binary_sensor", "image") for c in found.values())
    for unique in ("unique_id", "default_entity_id"):
        assert len({c[unique] for c in found.values()}) == len(found)
    assert all(re.fullmatch(r"(sensor|binary_sensor|image)\.line3_m_[a-z0-9_]+", c["default_entity_id"])
               for c in found.values())  # fmt: skip
    assert all(c["default_entity_id"].startswith(c["platform"] + ".") for c in found.values())
    assert "object_id" not in str(said(document))


def test_every_device_tells_latency_heat_throttling_and_shows_its_picture(document):
    found = said(document)["components"]
    assert {"latency", "temperature", "throttling", "image"} <= set(found)
    assert found["image"]["image_topic"] == "edge/line3/m/image"
    assert {found[k]["entity_category"] for k in ("latency", "temperature", "throttling")} == {"diagnostic"}


def test_a_board_that_tells_nothing_has_no_entities_for_it():
    assert set(made("raw").components) == {"latency"}


@pytest.mark.parametrize(
    ("task", "ids"),
    [
        ("classify", {"label", "score"}),
        ("detect", {"presence", "label", "score", "objects", "count_person", "count_katze", "count_fire_hydrant_5"}),
        ("regress", {"value_power", "value_flow_l_s"}),
        ("anomaly", {"anomaly", "score"}),
        ("segment", {"label", "area"}),
    ],
)
def test_each_task_has_its_own_entities(task, ids):
    assert ids <= set(made(task, **TASKS[task]).components)


def test_a_number_carries_its_unit():
    values = made("regress", **TASKS["regress"]).components
    assert values["value_power"]["unit_of_measurement"] == "kW"
    assert "unit_of_measurement" not in values["value_flow_l_s"]


def test_one_number_is_the_value():
    assert "value" in made("regress", values=(("power", "kW"),)).components


def test_many_classes_are_there_but_switched_off_apart_from_people():
    found = made("detect", labels=("person", *(f"thing {i}" for i in range(60)))).components
    shown = [k for k, c in found.items() if k.startswith("count_") and c.get("enabled_by_default", True)]
    assert shown == ["count_person"]
    assert sum(k.startswith("count_") for k in found) == 61


def test_hundreds_of_classes_have_no_entities_each():
    found = made("detect", labels=("person", *(f"thing {i}" for i in range(600)))).components
    assert [k for k in found if k.startswith("count_")] == ["count_person"]


def test_what_is_gone_is_said_with_its_platform_alone():
    found = made("raw").message({"count_cat": "sensor"})
    assert b'"count_cat":{"platform":"sensor"}' in found.payload


def test_drift_is_a_problem_that_names_its_features_where_it_is_watched_for():
    found = said(made("classify", drift=True))["components"]["drift"]
    assert (found["platform"], found["device_class"], found["state_topic"]) == (
        "binary_sensor", "problem", "edge/line3/m/drift",
    )  # fmt: skip
    assert found["value_template"] == "{{ 'ON' if value_json.state == 'drifted' else 'OFF' }}"
    assert found["json_attributes_topic"] == found["state_topic"]
    assert "drift" not in said(made("classify"))["components"]


def test_each_zone_is_a_count_with_the_labels_that_are_in_it():
    found = made("detect", zones=("door", "Door")).components
    assert {key for key in found if key.startswith("zone_")} == {"zone_door", "zone_door_1"}
    assert found["zone_door"]["name"] == "In door"
    assert '["Door"]' in found["zone_door_1"]["value_template"]
    assert found["zone_door"]["json_attributes_topic"] == found["zone_door"]["state_topic"]


def test_with_commands_there_are_a_switch_a_button_and_a_number():
    found = made("detect", commands=True, lowest=0.1).components
    assert [found[key]["platform"] for key in ("running", "read", "threshold")] == ["switch", "button", "number"]
    assert {found[key]["command_topic"] for key in ("running", "read", "threshold")} == {"edge/line3/m/set"}
    assert (found["threshold"]["min"], found["threshold"]["max"]) == (0.1, 1)
    assert "threshold" not in made("regress", commands=True).components
    assert "running" not in made("detect").components


def test_a_device_that_follows_a_repository_has_an_update_entity_and_a_button_where_a_person_decides():
    by_hand = said(made("classify", updates=True, by_hand=True))["components"]["update"]
    by_itself = said(made("classify", updates=True))["components"]["update"]

    assert (by_hand["platform"], by_hand["state_topic"]) == ("update", "edge/line3/m/update")
    assert (by_hand["command_topic"], by_hand["payload_install"]) == ("edge/line3/m/set", '{"command":"install"}')
    assert {"command_topic", "payload_install"}.isdisjoint(by_itself)
    assert "update" not in said(made("classify"))["components"]


def test_of_several_runs_the_status_of_the_process_is_asked_too():
    found = said(made("raw", process_status="edge/line3/status"))
    assert found["availability"] == [{"topic": "edge/line3/m/status"}, {"topic": "edge/line3/status"}]
    assert found["availability_mode"] == "all"
    assert "availability_topic" not in found
