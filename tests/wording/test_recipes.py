"""The recipes of docs/WORDS.md give the messages that those systems take."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from edge.data import codec
from edge.data.result import ModelRef, Result
from edge.wording import examples
from edge.wording.wording import Said, Wording

PAGE = Path(__file__).parents[2] / "docs" / "WORDS.md"
BASE = "edge/line3/digits"
RECIPES = {
    name: tomllib.loads(toml)
    for name, toml in re.findall(r"^### (.+?)\n.*?```toml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
}
GOLDEN = {
    "ThingsBoard": (
        "v1/devices/me/telemetry",
        b'{"ts": 1767323045678, "values": {"label": "cat, big", "score": 0.9}}',
    ),
    "AWS IoT Core": (
        "$aws/things/line3/shadow/update",
        b'{"state": {"reported": {"label": "cat, big", "score": 0.9, "seq": 1}}}',
    ),
    "Azure Event Grid": ("sites/berlin/line3/results", None),
    "Home Assistant, by hand": ("house/line3/what", b'{"state": "cat, big", "confidence": 90.0}'),
    "Node-RED": (
        "nodered/line3",
        b'{"id": "line3/digits/00000000/1", "count": 1, "labels": {"cat, big":1}}',
    ),
    "Telegraf and InfluxDB": (
        "telegraf/line3",
        rb"edge,device=line3,label=cat\,\ big score=0.9,seq=1i 1767323045678901000",
    ),
}


def results(task: str) -> list[Result]:
    return examples.results(task, ("cat, big",), (), BASE, ModelRef("digits", "1", "a" * 64))


@pytest.mark.parametrize("name", GOLDEN)
def test_a_recipe_gives_its_golden_message(name: str) -> None:
    said = RECIPES[name]
    made = Wording(Said(BASE, said["topic"], said.get("payload"), said.get("format")), "classify")
    made.check(results("classify"))
    result = results("classify")[1]
    words = made.result(result, codec.encode(result))
    topic, payload = GOLDEN[name]
    assert words.topic == topic
    assert payload is None or words.payload == payload


def test_every_recipe_of_the_page_is_here_and_fits_a_detector_too() -> None:
    assert set(RECIPES) == set(GOLDEN)
    for said in RECIPES.values():
        Wording(Said(BASE, said["topic"], said.get("payload"), said.get("format")), "detect").check(results("detect"))
