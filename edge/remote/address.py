"""The value of `--sink` for another system, or of `--source`: `//user@host:port/path?query`, and behind # what is
for ourselves.

What stands before the # is the other system's; `#maxlen=5000&password_file=/etc/edge/redis` is ours. A fragment never
goes over a network, so the two cannot be mixed up.
"""

from __future__ import annotations

import ipaddress
import re
import typing
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from edge.data import small_file
from edge.errors import ConfigError, nearest, reason

Options = TypeVar("Options", bound=msgspec.Struct)

PORTS = {"http": 80, "https": 443}
"""Of servers that speak HTTP."""


class Address(msgspec.Struct, frozen=True):
    """`hosts` is `host`, `host:port` or several of them with commas; `path` and `query` are as they were said.

    The password is kept out of `str`, and so out of logs; so are path and query, which may hold a token.
    """

    scheme: str
    hosts: str
    path: str = ""
    query: str = ""
    username: str = ""
    password: str = ""
    flag: str = "--sink"
    """The flag that it was said with, for messages."""

    def host_port(self, default: int) -> tuple[str, int]:
        """Of the only host. Raises ConfigError."""
        parts = urlsplit(f"//{self.hosts}")
        try:
            port = parts.port
        except ValueError as exc:
            raise ConfigError(f"{self.flag} {self}: {exc}; say {self.scheme}://host:{default}") from exc
        return parts.hostname or "", default if port is None else port

    def __str__(self) -> str:
        return f"{self.scheme}://{self.hosts}"

    __repr__ = __str__


def is_loopback(host: str) -> bool:
    """True where only this machine can reach it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def parse(scheme: str, rest: str, kind: type[Options], usage: str, flag: str = "--sink") -> tuple[Address, Options]:
    """What follows the scheme of a sink; `usage` is how it is said. Raises ConfigError, never showing a password."""
    url, _, fragment = rest.partition("#")
    try:
        parts = urlsplit(url)
    except ValueError as exc:
        raise ConfigError(f"{flag} {scheme}: {exc}; say {usage}") from exc
    login, at, hosts = parts.netloc.rpartition("@")
    if not at and "@" in rest and (_is_cut(hosts) or "@" in fragment.partition("=")[0]):
        raise ConfigError(
            f"{flag} {scheme}: the address cannot be read; in a user or a password write / ? # @ as %2F %3F %23 %40; "
            f"say {usage}"
        )
    username, _, password = login.partition(":")
    if not hosts:
        raise ConfigError(f"{flag} {scheme}: has no host; say {usage}")
    login_said = (unquote(username), unquote(password))
    address = Address(parts.scheme or scheme, hosts, parts.path, parts.query, *login_said, flag)
    return address, options_of(f"{flag} {scheme}:", fragment, kind)


def _is_cut(hosts: str) -> bool:
    """Whether a password that holds a / or the like was taken for the port."""
    port = hosts.rpartition(":")[2]
    return port != hosts and not port.endswith("]") and not port.isdigit()


def options_of(what: str, fragment: str, kind: type[Options]) -> Options:
    """The fields of a struct from what stands behind a #; `what` is what it stands behind. Raises ConfigError."""
    types = typing.get_type_hints(kind)
    said: dict[str, str] = {}
    for name, value in parse_qsl(fragment, keep_blank_values=True):
        if name not in types:
            raise ConfigError(f"{what} has no option {name!r}{nearest(name, types)}; known: {', '.join(sorted(types))}")
        said[name] = "true" if value == "" and types[name] is bool else value
    try:
        return msgspec.convert(said, kind, strict=False)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"{what} #{fragment}: {exc}") from exc


def password_of(sink: str, file: str, address: Address) -> str:
    """That of `#password_file` where one is named, else that of the address. Raises ConfigError."""
    return secret(f"--sink {sink}: #password_file", file) or address.password


def secret(what: str, file: str) -> str:
    """The text of a file, without the end of its line; "" where none is named. Raises ConfigError."""
    if not file:
        return ""
    try:
        return small_file.text(Path(file)).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{what}: {file}: {reason(exc)}; check the path and its rights") from exc


def without_credentials(uri: str) -> str:
    """A source as it may stand in a log: of an address only scheme, host, port and path, for a query may hold a
    password, too."""
    scheme, mark, rest = uri.partition("://")
    if not mark or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+._-]+", scheme):
        return uri
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" not in authority and "@" in rest and not re.fullmatch(r"[^:]*(:\d+)?|\[[^]]*\](:\d+)?", authority):
        return f"{scheme}://..."  # a password with a / in it, most likely
    path = re.split(r"[?#]", rest[len(authority) :], maxsplit=1)[0]
    return f"{scheme}://{authority.rpartition('@')[2]}{path}"
