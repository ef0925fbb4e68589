"""`edge-fleet install`: a version that waits on a device with --updates-manual."""

# Not `from __future__ import annotations`: `options.of` reads the annotations.
from collections.abc import Sequence
from typing import Annotated

from edge.cli.fleet_arguments import BrokerArguments, broker_of, say, word
from edge.settings import arguments, parsers
from edge.settings.arguments import Program
from edge.settings.options import Flag


class InstallArguments(BrokerArguments, frozen=True, kw_only=True):
    device: Annotated[str, Flag("the device, as its topics call it", parsers.word, "DEVICE", positional=True)]
    name: Annotated[str, Flag("the model, as the device's topics call it", word, "MODEL", positional=True)]
    version: Annotated[str | None, Flag("the version [whatever waits]", word, "V")] = None


def run(argv: Sequence[str], program: Program) -> None:
    """As `install`."""
    install(arguments.read(InstallArguments, program, argv))


def install(args: InstallArguments) -> None:
    """Raises ConfigError, UnavailableError."""
    broker = broker_of(args)
    from edge.tools.fleet import install as asking

    asking.install(broker, f"{args.prefix}/{args.device}/{args.name}", args.version)
    say(
        f"{args.device}: {args.name} {args.version or 'as it waits'} is being installed; edge-fleet status says how far"
    )
