"""Which broker the settings mean, with the password from its file."""

from __future__ import annotations

from msgspec.structs import replace

from edge.errors import ConfigError
from edge.mqtt.url import BrokerUrl, parse
from edge.remote.address import secret
from edge.settings.settings import MqttSettings


def broker_url(settings: MqttSettings) -> BrokerUrl:
    """`--mqtt` with the password from its file. Raises ConfigError."""
    url = parse(settings.url)
    file = settings.password_file
    if file is None:
        return url
    if url.username is None:
        raise ConfigError(f"--mqtt-password-file {file}: whose password? say --mqtt {url.scheme}://user@{url.host}")
    return replace(url, password=secret("--mqtt-password-file", str(file)))
