"""A client of a broker without a session's work around it: for tools, and for a repository that a broker holds."""

from __future__ import annotations

import select
import ssl
import time
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge.errors import UnavailableError, one_line
from edge.mqtt import tls
from edge.mqtt.messages import MqttOptions

CONNECT_S = 10.0
TICK_S = 0.1


def plain_client(broker: MqttOptions) -> paho.Client:
    """One of MQTT 3.1.1 that is not connected yet: with user and password, certificates and the way over websockets.

    Raises ConfigError for certificates that cannot be used."""
    url = broker.url
    client = paho.Client(
        CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311, transport="websockets" if url.websockets else "tcp"
    )
    if url.username is not None:
        client.username_pw_set(url.username, url.password)
    context = tls.tls_context(broker)
    if context is not None:
        client.tls_set_context(context)
    if url.websockets:
        client.ws_set_options(url.request)
    return client


def dial(client: paho.Client, broker: MqttOptions) -> None:
    """Opens the connection. Raises UnavailableError in a user's words where there is none."""
    url = broker.url
    try:
        client.connect(url.host, url.port)
    except ssl.SSLCertVerificationError as exc:
        raise UnavailableError(tls.untrusted(broker, exc)) from exc
    except ssl.SSLError as exc:
        raise UnavailableError(tls.failed(broker, f"SSL {exc.reason or exc}") or f"{url}: {one_line(exc)}") from exc
    except (OSError, ValueError) as exc:  # a name that is none of a host is a ValueError
        raise UnavailableError(f"{url}: {one_line(exc)}; is the broker there?") from exc


def begin(client: paho.Client, broker: MqttOptions, joined: Callable[[], object] = lambda: None) -> None:
    """Connects, and goes on in a thread of the client's. `joined` is called each time that the broker takes us: first
    in the caller's thread, for that of a client which was refused sleeps for a second before it ends, then in that one.
    Raises UnavailableError in a user's words where the broker is away, refuses, hangs up or is silent."""
    answers: list[str] = []
    url = broker.url

    def on_connect(_client: paho.Client, _userdata: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if code.is_failure:
            answers.append(f"{url}: the broker refuses: {code}; say --mqtt mqtt://user@host, with its password")
        else:
            joined()
            answers.append("")

    def on_disconnect(*_: Any) -> None:
        answers.append(tls.hung_up(broker) if url.tls else tls.silent(broker))

    client.on_connect, client.on_disconnect = on_connect, on_disconnect
    dial(client, broker)
    until = time.monotonic() + CONNECT_S
    while not answers and time.monotonic() < until:
        sock: Any = client.socket()
        select.select([sock], [], [], TICK_S)
        client.loop_read()  # and `loop` would leave a pair of sockets behind where `loop_start` follows
        client.loop_write()
    wrong = answers[0] if answers else f"{url}: no answer within {CONNECT_S:.0f} s; is a broker there?"
    if wrong:
        end(client)
        raise UnavailableError(wrong)
    client.on_disconnect = None
    client.loop_start()


def end(client: paho.Client) -> None:
    """May be called twice, and before `begin`."""
    client.disconnect()
    client.loop_stop()
