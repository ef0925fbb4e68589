"""`edge-fleet keys`: which keys sign for what, and new ones in their place."""

# Not `from __future__ import annotations`: `options.of` reads the annotations.
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Struct

from edge import __version__
from edge.cli.fleet_arguments import Where, open_repository, say
from edge.settings import arguments, parsers
from edge.settings.arguments import Program
from edge.settings.options import Flag
from edge.settings.parsers import one_of

Command = Literal["list", "rotate"]
COMMANDS: Mapping[Command, str] = {
    "list": "which key signs for what, until when, and whether it is here",
    "rotate": "new keys; devices follow by themselves, old ones count no more",
}


class KeysArguments(Struct, frozen=True):
    command: Annotated[Command, Flag("what to do", one_of(COMMANDS), "COMMAND", positional=True)]


class ListArguments(Struct, frozen=True, kw_only=True):
    dir: Annotated[Path, Flag("the repository's folder", parsers.path, "DIR", positional=True)]
    as_json: Annotated[bool, Flag("as JSON", name="json")] = False


class RotateArguments(Where, frozen=True, kw_only=True):
    roles: Annotated[
        tuple[str, ...],
        Flag("root, targets, snapshot, timestamp or a model's name [all]", metavar="ROLE", positional=True, many=True),
    ] = ()
    lost: Annotated[bool, Flag("also those whose old key is not here; never root")] = False


def run(argv: Sequence[str]) -> None:
    """It has commands of its own. Raises ConfigError; OSError."""
    program = Program("edge-fleet keys", "The keys of a repository.", __version__, commands=tuple(COMMANDS.items()))
    command = arguments.read(KeysArguments, program, argv[:1]).command
    program = Program(f"edge-fleet keys {command}", f"{COMMANDS[command]}.".capitalize(), __version__)
    if command == "list":
        _list(arguments.read(ListArguments, program, argv[1:]))
    else:
        _rotate(arguments.read(RotateArguments, program, argv[1:]))


def _list(args: ListArguments) -> None:
    repository = open_repository(Where(dir=args.dir))
    from edge.tools.fleet import status

    rows = repository.key_rows()
    if args.as_json:
        say(msgspec.json.encode(rows).decode())
        return
    for line in status.key_lines(rows):
        say(line)


def _rotate(args: RotateArguments) -> None:
    repository = open_repository(args)
    for line in repository.rotate(args.roles, lost=args.lost):
        say(line)
    say(f"publish {args.dir / 'public'}, keep a copy of {args.dir / 'keys'}; devices follow at their next check")
    say(f"new devices are given {args.dir / 'root.json'}")
