"""A person has a version installed that waits on a device: the command `install`, and what the device answers."""

from __future__ import annotations

import secrets
import threading
from typing import Any

import msgspec
import paho.mqtt.client as paho

from edge.errors import UnavailableError
from edge.mqtt.messages import MqttOptions
from edge.mqtt.plain_client import begin, end, plain_client
from edge.mqtt.topics import Topics
from edge.tools.fleet.retained import read

ANSWER_S = 10.0


class Answer(msgspec.Struct, frozen=True):
    """Of a device to a command; more is in it than is read here."""

    ok: bool
    id: Any = None
    reason: str = ""


def install(broker: MqttOptions, base: str, version: str | None) -> None:
    """Returns once the device `base` has begun. Raises ConfigError, and UnavailableError where it refuses, or does not
    answer."""
    topics, told = Topics(base), secrets.token_hex(8)
    command = {"command": "install", "id": told, **({"value": version} if version is not None else {})}
    answers: list[Answer] = []
    came = threading.Event()

    def on_subscribe(client: paho.Client, _userdata: Any, _mid: int, _codes: Any, _properties: Any) -> None:
        client.publish(topics.set, msgspec.json.encode(command), qos=1)

    def on_message(_client: paho.Client, _userdata: Any, message: paho.MQTTMessage) -> None:
        answer = read(bytes(message.payload), Answer)
        if answer is not None and answer.id == told:
            answers.append(answer)
            came.set()

    client = plain_client(broker)
    client.on_subscribe, client.on_message = on_subscribe, on_message
    begin(client, broker, lambda: client.subscribe(topics.answer, qos=0))
    came.wait(ANSWER_S)
    end(client)
    if not answers:
        raise UnavailableError(
            f"{base}: no answer within {ANSWER_S:.0f} s; is it on this broker, and started with --updates-manual?"
        )
    if not answers[0].ok:
        raise UnavailableError(f"{base}: {answers[0].reason}")
