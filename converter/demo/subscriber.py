"""A subscriber in a process of its own: prints each result as a JSON line, with the time of its arrival."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion


def main() -> None:
    """Arguments: host, port, topic. Ends when its standard output is closed or it is told to; where no broker is,
    at once and without a word: whoever started it knows more."""
    host, port, topic = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    client = paho.Client(CallbackAPIVersion.VERSION2)

    def say(value: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(value) + "\n")
        sys.stdout.flush()

    def on_connect(c: paho.Client, *_: Any) -> None:
        c.subscribe(topic, qos=1)

    def on_subscribe(*_: Any) -> None:
        say({"subscribed": topic})

    def on_message(_c: paho.Client, _u: Any, message: paho.MQTTMessage) -> None:
        say({"topic": message.topic, "arrived": time.time(), "payload": json.loads(message.payload)})

    client.on_connect, client.on_subscribe = on_connect, on_subscribe
    # Of this topic only: amqtt hands a new client what is retained on every topic that any client has subscribed to.
    client.message_callback_add(topic, on_message)
    try:
        client.connect(host, port)
    except OSError:
        sys.exit(1)
    client.loop_forever()


if __name__ == "__main__":
    main()
