"""The discovery document of one device: a model on a board, as Home Assistant (2024.11 and newer) wants it. Pure.

Topic `<prefix>/device/<object id>/config`, retained. The object id is made of the device's and the model's name, as our
topics are: a new version of the model is the same device there, whose components come and go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge.data import codec
from edge.data.names import DISCOVERY
from edge.homeassistant.components import Component, Results, components, slug
from edge.mqtt.messages import Outgoing
from edge.mqtt.topics import Topics

ORIGIN = "edge-run"


@dataclass(frozen=True, slots=True)
class Device:
    """Who it is: names as in the topics, `board` and `serial` as the board tells them ("" where it does not)."""

    name: str
    model: str
    model_version: str
    prefix: str
    """Of our own topics."""
    version: str
    """Of edge-run."""
    board: str = ""
    serial: str = ""
    process_status: str = ""
    """The status that several runs of a process have in common; "" where it is this one's alone."""

    @property
    def base(self) -> str:
        """What its topics begin with."""
        return f"{self.prefix}/{self.name}/{self.model}"

    @property
    def object_id(self) -> str:
        """`[A-Za-z0-9_-]`, as discovery wants it."""
        return f"{ORIGIN}_{self.name}_{self.model}"


@dataclass(frozen=True, slots=True)
class Document:
    """What is published, and what is published to take components of an earlier one away."""

    topic: str
    device: Mapping[str, Any]
    base: str
    components: Mapping[str, Component]
    process_status: str = ""

    @property
    def platforms(self) -> dict[str, str]:
        """The platform of each component by its id."""
        return {key: str(component["platform"]) for key, component in self.components.items()}

    def message(self, removed: Mapping[str, str] | None = None) -> Outgoing:
        """`gone`: ids and platforms of components that Home Assistant shall forget."""
        stubs = {key: {"platform": platform} for key, platform in (removed or {}).items()}
        content = {
            **self.device,
            **self._availability(),
            "qos": 1,
            "components": {**self.components, **stubs},
        }
        return Outgoing(self.topic, codec.encode(content), retain=True, content_type="application/json")

    def _availability(self) -> Mapping[str, Any]:
        """Of several runs each has a status, and the process one: only that is `offline` where the process has died."""
        own = Topics(self.base).status
        if not self.process_status:
            return {"availability_topic": own}
        return {"availability": [{"topic": own}, {"topic": self.process_status}], "availability_mode": "all"}


def removal(topic: str) -> Outgoing:
    """Takes a whole device away."""
    return Outgoing(topic, b"", retain=True)


def document(device: Device, results: Results, prefix: str = DISCOVERY) -> Document:
    """`prefix` is Home Assistant's discovery prefix."""
    who = f"{slug(device.name)}_{slug(device.model)}"
    named = {
        key: {
            **component,
            "unique_id": f"{device.object_id}_{key}",
            "default_entity_id": f"{component['platform']}.{who}_{key}",
        }
        for key, component in components(results, device.base).items()
    }
    pi = device.board.startswith("Raspberry Pi")
    about = {
        "identifiers": [device.object_id],
        "name": f"{device.name} {device.model}",
        "manufacturer": "Raspberry Pi" if pi else "",
        "model": device.board,
        "sw_version": f"{ORIGIN} {device.version}, {device.model} {device.model_version}",
        "serial_number": device.serial,
    }
    return Document(
        topic=f"{prefix}/device/{device.object_id}/config",
        device={
            "device": {key: value for key, value in about.items() if value},
            "origin": {"name": ORIGIN, "sw_version": device.version},
        },
        base=device.base,
        components=named,
        process_status=device.process_status,
    )
