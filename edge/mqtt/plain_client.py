"""A client of a broker without a session's work around it: for tools, and for a repository that a broker holds."""

from __future__ import annotations

import ssl

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge.errors import UnavailableError, one_line
from edge.mqtt import tls
from edge.mqtt.messages import MqttOptions


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


def unanswered(broker: MqttOptions, seconds: float) -> str:
    """Why a broker that was connected to may not have said whether it takes us."""
    if broker.url.tls:
        return tls.hung_up(broker)
    return f"{broker.url}: no answer within {seconds:.0f} s; is a broker there?"
