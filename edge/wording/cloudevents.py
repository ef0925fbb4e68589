"""Results and events as CloudEvents 1.0, by the binding for MQTT (cloudevents.io, version 1.0.2).

Structured: one JSON object, our own message under `data`. Binary: our own message as it is, the attributes as user
properties, which MQTT 3.1.1 has not.
"""

from __future__ import annotations

from collections.abc import Mapping

from edge.data import codec
from edge.data.message import Words
from edge.data.result import SCHEMA, EventMessage, Result

STRUCTURED = "application/cloudevents+json; charset=utf-8"
JSON = "application/json"
TYPES: Mapping[type, str] = {Result: "edge-run.result", EventMessage: "edge-run.event"}


def attributes(told: Result | EventMessage, base: str) -> dict[str, str]:
    """`id` and `source` together are unique, so a consumer drops repeats by them."""
    known = {
        "specversion": "1.0",
        "id": told.id,
        "source": base,
        "type": TYPES[type(told)],
        "time": told.time,
        "subject": told.source,
    }
    return {name: value for name, value in known.items() if value}


def structured(told: Result | EventMessage, base: str, payload: bytes, topic: str) -> Words:
    """`payload` is the message, encoded."""
    head = codec.encode({**attributes(told, base), "datacontenttype": JSON})
    return Words(topic, head[:-1] + b',"data":' + payload + b"}", STRUCTURED, {"schema": str(SCHEMA)})


def binary(told: Result | EventMessage, base: str, topic: str) -> Words:
    """The payload is the message's own."""
    return Words(topic, None, JSON, {**attributes(told, base), "schema": str(SCHEMA)})
