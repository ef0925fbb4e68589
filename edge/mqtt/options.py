"""Which broker the settings mean, with the password from its file."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from edge.errors import ConfigError, reason
from edge.mqtt.url import BrokerUrl, parse
from edge.settings.settings import MqttSettings


def broker_url(settings: MqttSettings) -> BrokerUrl:
    """`--mqtt` with the password from its file. Raises ConfigError."""
    url = parse(settings.url)
    file = settings.password_file
    if file is None:
        return url
    if url.username is None:
        raise ConfigError(f"--mqtt-password-file {file}: whose password? say --mqtt {url.scheme}://user@{url.host}")
    return replace(url, password=_secret(file))


def _secret(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"--mqtt-password-file {file}: {reason(exc)}; check the path and its rights") from exc
