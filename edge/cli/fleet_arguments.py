"""What the commands of `edge-fleet` share: where the repository and the broker are, and how words are read."""

# Not `from __future__ import annotations`: `options.of` reads the annotations.
import sys
from pathlib import Path
from typing import Annotated

from msgspec import Struct

from edge.data.names import topic_part
from edge.errors import ConfigError, printable
from edge.settings import parsers
from edge.settings.options import Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from edge.mqtt.messages import MqttOptions
    from edge.settings.settings import MqttSettings
    from edge.tools.fleet.repository import Repository
    from edge.updates.release import Release

WHOLE = 10_000


def parts(text: str) -> int:
    """Ten-thousandths from `5%` or `0.05`. Raises ValueError."""
    number = parsers.real(text.removesuffix("%").strip())
    parts = number * 100 if text.endswith("%") else number * WHOLE
    if not 0 <= parts <= WHOLE or abs(parts - round(parts)) > 1e-6:
        raise ValueError("a share from 0% to 100%, to a hundredth of a percent, belongs there")
    return round(parts)


def word(text: str) -> str:
    """What a model, a version or a channel may be called: it becomes part of a URL. Raises ValueError."""
    if not text or topic_part(text.replace(".", "-").replace("+", "-")) != text.replace(".", "-").replace("+", "-"):
        raise ValueError("letters, digits, - _ . and + belong there")
    return text


class Where(Struct, frozen=True, kw_only=True):
    """The repository, and who signs."""

    dir: Annotated[Path, Flag("the repository's folder", parsers.path, "DIR", positional=True)]
    passphrase_file: Annotated[
        Path | None, Flag("a file that holds the passphrase of the keys [asked for]", parsers.path, "FILE")
    ] = None
    timestamp_days: Annotated[
        int, Flag("how long devices may go without a new time stamp; a stick wants more", parsers.positive, "N")
    ] = 14


class BrokerArguments(Struct, frozen=True, kw_only=True):
    mqtt: Annotated[str | None, Flag("the broker that devices speak with, as edge-run's --mqtt", metavar="URL")] = None
    mqtt_password_file: Annotated[Path | None, Flag("holds its password", parsers.path, "FILE")] = None
    mqtt_ca: Annotated[Path | None, Flag("the CA that signed its certificate", parsers.path, "FILE")] = None
    mqtt_cert: Annotated[Path | None, Flag("our certificate, where it asks for one", parsers.path, "FILE")] = None
    mqtt_key: Annotated[Path | None, Flag("its key [in the same file]", parsers.path, "FILE")] = None
    prefix: Annotated[str, Flag("what topics begin with", parsers.word, "TEXT")] = "edge"


def open_repository(where: Where, *, new: bool = False) -> "Repository":
    """Raises ConfigError where none is there and it is not `new`, ImportError without the libraries of [fleet]."""
    from edge.tools.fleet.keys import Keys, passphrase
    from edge.tools.fleet.repository import Repository

    keys = Keys(where.dir / "keys", passphrase(where.passphrase_file))
    repository = Repository(where.dir, keys, timestamp_days=where.timestamp_days)
    if not new:
        repository.require()
    return repository


def only_model(repository: "Repository") -> str:
    models = repository.models()
    if len(models) != 1:
        there = ", ".join(models) or "none, edge-fleet add puts one in"
        raise ConfigError(f"--name NAME: which model? there is: {there}")
    return models[0]


def released(model: str, channel: str, release: "Release") -> str:
    from edge.tools.fleet.status import percent

    whom = "no device yet; edge-fleet rollout" if not release.share else f"{percent(release.share)} of the devices"
    return f"{model} {release.version} in {channel}: for {'nobody new, paused' if release.paused else whom}"


def broker_of(args: BrokerArguments) -> "MqttOptions":
    """Raises ConfigError."""
    from edge.mqtt.messages import MqttOptions
    from edge.mqtt.options import broker_url

    mqtt = mqtt_settings(args)
    return MqttOptions(broker_url(mqtt), "", ca=mqtt.ca, cert=mqtt.cert, key=mqtt.key)


def mqtt_settings(args: BrokerArguments) -> "MqttSettings":
    """Raises ConfigError."""
    from edge.settings.settings import MqttSettings

    if args.mqtt is None:
        raise ConfigError("--mqtt URL: which broker do the devices speak with?")
    return MqttSettings(
        url=args.mqtt,
        password_file=args.mqtt_password_file,
        ca=args.mqtt_ca,
        cert=args.mqtt_cert,
        key=args.mqtt_key,
    )


def warn(text: str) -> None:
    """A line for people beside what a command prints; a terminal obeys nothing in it."""
    sys.stderr.write(printable(f"edge-fleet: {text}") + "\n")


def say(text: str) -> None:
    """Lines of text; of what devices say in them a terminal obeys nothing."""
    sys.stdout.write("\n".join(map(printable, text.split("\n"))) + "\n")
    sys.stdout.flush()
