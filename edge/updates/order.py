"""What the service asks of the process that speaks with a repository, and what that answers: a JSON line each way."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import msgspec

from edge.errors import ConfigError
from edge.settings.settings import MqttSettings
from edge.updates.release import Release

Fault = Literal["away", "missing", "refused", "clock", "disk", "setup"]
"""`away`: cannot be reached, or is broken off. `missing`: who was asked has no such file. `refused`: what is there is
not what was signed, or is signed wrongly. `clock`: it has run out by a clock that is not synchronised. `disk`: the
state folder takes no more. `setup`: what only a person can mend."""


MQTT = "mqtt:"
"""The repository is retained by the broker that the service speaks with."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """`folder` is the store's. `running` is the sha256 of the model that runs. `synced`: the clock is to be trusted."""

    uri: str
    folder: Path
    model: str
    channel: str
    device: str
    running: str = ""
    refused: tuple[str, ...] = ()
    root: Path | None = None
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    synced: bool = True
    broker: MqttSettings | None = None
    """Where the repository is retained; None: it is at `uri`."""
    prefix: str = ""
    """Of topics."""
    fetch: Release | None = None
    """None: to see what there is; else to fetch that, if it is still signed."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """`release`: what this device is to run, None where nothing is for it. `staged`: its file, verified and synced.

    `freshness` is unknown where the clock is not synchronised: what is signed may be old, never forged.
    """

    fault: Fault | None = None
    reason: str = ""
    release: Release | None = None
    staged: Path | None = None
    freshness: Literal["known", "unknown"] = "known"


def base_url(uri: str) -> str:
    """A `--updates` as what URLs begin with. Raises ConfigError."""
    scheme = urlsplit(uri).scheme
    if uri == MQTT:
        return uri
    if scheme in ("mqtt", "mqtts", "ws", "wss"):
        raise ConfigError("--updates with a broker's address: it is the broker of --mqtt, say --updates mqtt:")
    if scheme == "file":
        path = unquote(urlsplit(uri).path)
        return Path(path).absolute().as_uri() + "/"
    if scheme not in ("http", "https"):
        raise ConfigError(f"--updates {uri}: https://HOST/PATH, file:/FOLDER or mqtt: belongs there")
    return uri.rstrip("/") + "/"


def encode(value: msgspec.Struct) -> bytes:
    """One line."""
    return msgspec.json.encode(value, enc_hook=str) + b"\n"


def decode_order(line: bytes) -> Order:
    """Raises msgspec.MsgspecError."""
    return msgspec.json.decode(line, type=Order, dec_hook=_made)


def decode_answer(line: bytes) -> Answer:
    """Raises msgspec.MsgspecError."""
    return msgspec.json.decode(line, type=Answer, dec_hook=_made)


def _made(kind: type, value: Any) -> Any:
    return kind(value)
