"""The value of `--mqtt`."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import msgspec

from edge.errors import ConfigError

PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}


class BrokerUrl(msgspec.Struct, frozen=True):
    """Where the broker is. The password is kept out of `repr`, and so out of logs."""

    scheme: str
    host: str
    port: int
    path: str = ""
    username: str | None = None
    password: str | None = None
    query: str = ""
    """Of a websocket: may hold a token, and is kept out of `repr` and logs too."""

    @property
    def tls(self) -> bool:
        return self.scheme in ("mqtts", "wss")

    @property
    def websockets(self) -> bool:
        return self.scheme in ("ws", "wss")

    @property
    def request(self) -> str:
        """What a websocket asks for: path and query."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}{self.path}"

    __repr__ = __str__


def parse(text: str) -> BrokerUrl:
    """`mqtt://[user[:password]@]host[:port]`, or mqtts, ws, wss. Raises ConfigError, never showing a password."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as exc:
        raise ConfigError(f"--mqtt {_without_secret(text)}: {exc}; say mqtt://host:1883") from exc
    if parts.scheme not in PORTS or not parts.hostname:
        raise ConfigError(
            f"--mqtt {_without_secret(text)}: not the address of a broker; say mqtt://host:1883, mqtts://, ws://, "
            "wss://, embedded or none"
        )
    return BrokerUrl(
        scheme=parts.scheme,
        host=parts.hostname,
        port=PORTS[parts.scheme] if port is None else port,
        query=parts.query,
        path=parts.path or ("/mqtt" if parts.scheme in ("ws", "wss") else ""),
        username=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
    )


def _without_secret(text: str) -> str:
    login, at, rest = text.rpartition("@")
    scheme = login.partition("://")[0] + "://" if "://" in login else ""
    return f"{scheme}...@{rest}" if at else text
