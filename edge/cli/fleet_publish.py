"""`edge-fleet publish`: a repository into retained messages of a broker."""

# Not `from __future__ import annotations`: `options.of` reads the annotations.
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from edge.cli.fleet_arguments import BrokerArguments, mqtt_settings, say
from edge.errors import ConfigError, needs
from edge.settings import arguments, parsers
from edge.settings.arguments import Program
from edge.settings.options import Flag


class PublishArguments(BrokerArguments, frozen=True, kw_only=True):
    dir: Annotated[Path, Flag("the repository's folder", parsers.path, "DIR", positional=True)]
    replace: Annotated[bool, Flag("also in the place of another repository, or of a newer state of this one")] = False


def run(argv: Sequence[str], program: Program) -> None:
    """As `publish`."""
    publish(arguments.read(PublishArguments, program, argv))


def publish(args: PublishArguments) -> None:
    """Raises ConfigError, UnavailableError."""
    settings = mqtt_settings(args)
    if not (args.dir / "public" / "metadata" / "timestamp.json").exists():
        raise ConfigError(f"{args.dir}: no repository is there; edge-fleet init {args.dir} makes one")
    try:
        from edge.tools.fleet.publish import Publisher
    except ImportError as exc:
        raise needs("edge-fleet", f"tuf and cryptography ({exc})", "fleet") from exc
    from edge.updates.broker import Connection

    connection = Connection(settings, args.prefix)
    try:
        done = Publisher(args.dir, connection, args.prefix).publish(replace=args.replace)
    finally:
        connection.close()
    say(
        f"{args.prefix}/_updates: {done.messages} messages are retained, {done.length / 1e6:.1f} MB; "
        f"{done.new} of them new, {done.gone} old ones removed"
    )
