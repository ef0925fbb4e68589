"""What a model's results are in Home Assistant: sensors, binary sensors, a picture. Pure.

Keys and values are those of Home Assistant's MQTT discovery (home-assistant.io/integrations/mqtt, "Discovery
payload"); the templates read our result (`edge/data/result.schema.json`) and our `stats`. A state template that gives
"None" makes a sensor *unknown*, which is what nothing found means. States end at 255 characters there.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from edge.data.vocabulary import OBJECTS
from edge.mqtt.topics import Topics

Component = dict[str, Any]

UNDER_WAY = ("downloading", "verifying", "proving", "trial", "switching", "watching")
"""States of an update that is being installed."""
COUNTS_ENABLED = 20
"""With more labels than this their counts are there, but switched off until somebody wants one."""
COUNTS_MOST = 100
PEOPLE = ("person", "people", "human", "pedestrian", "face")

_BEST = "{% set best = value_json.predictions | sort(attribute='score', reverse=true) | first | default(none) %}"
_FIRST = "{% set best = value_json.predictions | first | default(none) %}"
_LARGEST = (
    "{% set found = value_json.predictions | first | default({'labels': [], 'areas': []}) %}"
    "{% set area = found.areas | max | default(none) %}"
)
_COUNTS = (
    "{% set ns = namespace(counts={}) %}{% for p in value_json.predictions %}"
    "{% set ns.counts = dict(ns.counts, **{p.label: ns.counts.get(p.label, 0) + 1}) %}{% endfor %}"
    "{{ {'counts': ns.counts} | tojson }}"
)


@dataclass(frozen=True, slots=True)
class Results:
    """What is known of a model's results beforehand. `values` are a regression's, by name and unit."""

    task: str
    labels: tuple[str, ...] = ()
    values: tuple[tuple[str, str], ...] = ()
    pictures: bool = False
    temperature: bool = False
    throttling: bool = False
    drift: bool = False
    zones: tuple[str, ...] = ()
    commands: bool = False
    updates: bool = False
    """It follows a repository."""
    by_hand: bool = False
    """An update waits until a person has it installed."""
    lowest: float | None = None
    """The lowest threshold that a command may say, where there is one."""


def slug(text: str) -> str:
    """`[a-z0-9_]`, as in an entity id."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def components(results: Results, base: str) -> dict[str, Component]:
    """By id. Topics are below `base`; unique ids and entity ids are the document's."""
    return dict((*_of_task(results, Topics(base).result), *_of_device(results, base)))


def _of_task(results: Results, topic: str) -> Iterator[tuple[str, Component]]:
    if results.task == "classify":
        attributes = "{{ {'predictions': value_json.predictions, 'id': value_json.id} | tojson }}"
        label = _FIRST + "{{ best.label[:255] if best else none }}"
        yield "label", _text("Label", topic, label, attributes)
        yield "score", _percent("Score", topic, _FIRST + "{{ (best.score * 100) | round(1) if best else none }}")
    elif results.task in OBJECTS:
        yield from _objects(results.labels, topic)
        yield from _zones(results.zones, topic)
    elif results.task == "regress":
        yield from _values(results.values, topic)
    elif results.task == "anomaly":
        on = _FIRST + "{{ 'ON' if best and best.is_anomaly else 'OFF' }}"
        yield "anomaly", _binary("Anomaly", "problem", topic, on)
        yield "score", _number("Score", topic, _FIRST + "{{ best.score if best else none }}", digits=3)
    elif results.task == "text":
        yield "label", _text("Text", topic, _FIRST + "{{ best.text[:255] if best else none }}")
        yield "score", _percent("Score", topic, _FIRST + "{{ (best.score * 100) | round(1) if best else none }}")
    elif results.task == "segment":
        label = _LARGEST + "{{ found.labels[found.areas.index(area)][:255] if found.areas else none }}"
        areas = "{% set p = value_json.predictions | first | default({}) %}{{ {'areas': p} | tojson }}"
        yield "label", _text("Label", topic, label, areas)
        yield "area", _percent("Area", topic, _LARGEST + "{{ (area * 100) | round(1) if found.areas else none }}")


def _objects(labels: Sequence[str], topic: str) -> Iterator[tuple[str, Component]]:
    people = [label for label in labels if label.lower() in PEOPLE]
    seen = f"value_json.predictions | selectattr('label', 'in', {json.dumps(people)}) | list"
    on = "{{ 'ON' if " + (seen if people else "value_json.predictions") + " else 'OFF' }}"
    yield "presence", _binary("Presence", "occupancy", topic, on)
    yield "label", _text("Label", topic, _BEST + "{{ best.label[:255] if best else none }}")
    yield "score", _percent("Score", topic, _BEST + "{{ (best.score * 100) | round(1) if best else none }}")
    objects = _number("Objects", topic, "{{ value_json.predictions | count }}")
    yield "objects", objects | {"json_attributes_topic": topic, "json_attributes_template": _COUNTS}
    named = [label for label, times in Counter(labels).items() if times == 1 and slug(label)]
    for label, key in _keys(named if len(named) <= COUNTS_MOST else people):
        many = f"value_json.predictions | selectattr('label', 'eq', {json.dumps(label)}) | list | count"
        count = _number(label.capitalize(), topic, "{{ " + many + " }}")
        hidden = len(named) > COUNTS_ENABLED and label not in people
        yield f"count_{key}", count | ({"enabled_by_default": False} if hidden else {})


def _zones(names: Sequence[str], topic: str) -> Iterator[tuple[str, Component]]:
    """How many are in each; by label among its attributes."""
    for name, key in _keys(names):
        inside = "(value_json.counts | default({}))[" + json.dumps(name) + "] | default({})"
        count = _number(f"In {name}", topic, "{{ (" + inside + ").values() | sum }}")
        by_label = {"json_attributes_topic": topic, "json_attributes_template": "{{ (" + inside + ") | tojson }}"}
        yield f"zone_{key}", count | by_label


def _values(values: Sequence[tuple[str, str]], topic: str) -> Iterator[tuple[str, Component]]:
    names = [name for name, _ in values[:COUNTS_MOST]]
    for i, (name, key) in enumerate(_keys(names)):
        template = "{{ value_json.predictions[" + str(i) + "].value }}"
        unit = values[i][1]
        value = _number(name, topic, template, digits=2) | ({"unit_of_measurement": unit} if unit else {})
        yield ("value" if len(names) == 1 else f"value_{key}"), value


def _of_device(results: Results, base: str) -> Iterator[tuple[str, Component]]:
    if results.pictures:
        picture = {"platform": "image", "name": "Picture", "content_type": "image/jpeg"}
        yield "image", picture | {"image_topic": Topics(base).image}
    quiet = {"entity_category": "diagnostic"}
    spent = "{% set t = value_json.timing_ms %}{{ (t.preprocess + t.infer + t.postprocess) | round(2) }}"
    latency = _number("Latency", Topics(base).result, spent, digits=1)
    yield "latency", latency | quiet | {"device_class": "duration", "unit_of_measurement": "ms"}
    if results.temperature:
        degrees = _number(
            "Temperature", Topics(base).stats, "{{ value_json.board.temperature_celsius | default(none) }}", digits=1
        )
        yield "temperature", degrees | quiet | {"device_class": "temperature", "unit_of_measurement": "°C"}
    if results.throttling:
        on = "{{ 'ON' if value_json.board.throttled else 'OFF' }}"
        throttling = _binary("Throttling", "problem", Topics(base).stats, on)
        attributes = {
            "json_attributes_topic": Topics(base).stats,
            "json_attributes_template": "{{ {'reasons': value_json.board.throttled} | tojson }}",
        }
        yield "throttling", throttling | quiet | attributes
    if results.commands:
        yield from _commands(results.lowest, Topics(base))
    if results.updates:
        yield "update", _update(Topics(base), by_hand=results.by_hand)
    if results.drift:
        yield "drift", _of_drift(Topics(base).drift) | quiet


def _commands(lowest: float | None, topics: Topics) -> Iterator[tuple[str, Component]]:
    said = {"command_topic": topics.set, "entity_category": "config"}
    running = _state(topics.settings, "{{ 'OFF' if value_json.paused else 'ON' }}")
    states = {"state_on": "ON", "state_off": "OFF"}
    switched = {"payload_on": '{"command":"resume"}', "payload_off": '{"command":"pause"}'}
    yield "running", {"platform": "switch", "name": "Running", **said, **running, **states, **switched}
    yield "read", {"platform": "button", "name": "Read now", **said, "payload_press": '{"command":"read"}'}
    if lowest is not None:
        value = _state(topics.settings, "{{ value_json.threshold }}")
        told = {"command_template": '{"command":"threshold","value":{{ value }}}'}
        limits = {"min": lowest, "max": 1, "step": 0.01, "mode": "box"}
        yield "threshold", {"platform": "number", "name": "Threshold", **said, **value, **told, **limits}


def _update(topics: Topics, *, by_hand: bool) -> Component:
    # Home Assistant throws a state away whole that has another key, or null where a text belongs.
    told = (
        "{{ {'installed_version': value_json['from'], 'latest_version': value_json.latest, "
        "'in_progress': value_json.state in " + json.dumps(UNDER_WAY) + ", "
        "'update_percentage': value_json.percent, 'release_summary': value_json.notes} | tojson }}"
    )
    button = {"command_topic": topics.set, "payload_install": '{"command":"install"}'} if by_hand else {}
    entity = {"platform": "update", "name": "Model", "entity_category": "config" if by_hand else "diagnostic"}
    return {**entity, **_state(topics.update, told), **button}


def _of_drift(topic: str) -> Component:
    on = "{{ 'ON' if value_json.state == 'drifted' else 'OFF' }}"
    told = "{{ dict(value_json, features=value_json.features | map(attribute='name') | unique | list) | tojson }}"
    return _binary("Drift", "problem", topic, on) | {"json_attributes_topic": topic, "json_attributes_template": told}


def _keys(names: Sequence[str]) -> list[tuple[str, str]]:
    """Each name and its own part of an id: the slug, numbered where two are the same."""
    keys: list[tuple[str, str]] = []
    taken: set[str] = set()
    for number, name in enumerate(names):
        key = slug(name) or str(number)
        key = f"{key}_{number}" if key in taken else key
        taken.add(key)
        keys.append((name, key))
    return keys


def _state(topic: str, template: str) -> Component:
    return {"state_topic": topic, "value_template": template}


def _binary(name: str, device_class: str, topic: str, template: str) -> Component:
    return {"platform": "binary_sensor", "name": name, "device_class": device_class, **_state(topic, template)}


def _text(name: str, topic: str, template: str, attributes: str = "") -> Component:
    more = {"json_attributes_topic": topic, "json_attributes_template": attributes} if attributes else {}
    return {"platform": "sensor", "name": name, **_state(topic, template), **more}


def _number(name: str, topic: str, template: str, digits: int | None = None) -> Component:
    more = {} if digits is None else {"suggested_display_precision": digits}
    return {"platform": "sensor", "name": name, "state_class": "measurement", **_state(topic, template), **more}


def _percent(name: str, topic: str, template: str) -> Component:
    return _number(name, topic, template) | {"unit_of_measurement": "%"}
