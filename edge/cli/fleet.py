"""`edge-fleet`: which model which devices get."""

# Not `from __future__ import annotations`: `options.of` reads the annotations.
import datetime
import functools
import http.server
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from msgspec import Struct

from edge import __version__
from edge.cli import ending, fleet_add, fleet_devices, fleet_follow, fleet_keys, fleet_status
from edge.cli.fleet_arguments import WHOLE, Where, only_model, open_repository, parts, released, say, warn, word
from edge.errors import ConfigError, FatalError, SourceError, UnavailableError, needs
from edge.settings import arguments, parsers
from edge.settings.arguments import Program
from edge.settings.options import Flag
from edge.settings.parsers import one_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from edge.tools.fleet.repository import Repository
    from edge.updates.release import Channel, Release

LIBRARIES = ("tuf", "securesystemslib", "cryptography")
"""Of `[fleet]`: each command imports those that it needs where it needs them."""


class ChangeArguments(Where, frozen=True, kw_only=True):
    name: Annotated[str | None, Flag("the model [the only one]", word, "NAME")] = None
    version: Annotated[str | None, Flag("the version [the newest]", word, "V")] = None
    channel: Annotated[str, Flag("the channel", word, "NAME")] = "stable"


class RolloutArguments(ChangeArguments, frozen=True, kw_only=True):
    share: Annotated[int, Flag("of the devices, as 5%", parts, "P%")]


class InitArguments(Where, frozen=True, kw_only=True):
    root_keys: Annotated[int, Flag("how many keys root has: give each to another person", parsers.positive, "N")] = 1
    root_threshold: Annotated[int, Flag("how many of them have to sign together", parsers.positive, "N")] = 1


class ServeArguments(Struct, frozen=True, kw_only=True):
    dir: Annotated[Path, Flag("the repository's folder", parsers.path, "DIR", positional=True)]
    port: Annotated[int, Flag("on loopback", parsers.up_to(65535), "N")] = 8081


def _init(where: InitArguments) -> None:
    if where.root_threshold > where.root_keys:
        raise ConfigError(f"--root-threshold {where.root_threshold}: root has {where.root_keys} keys; more --root-keys")
    open_repository(where, new=True).init(where.root_keys, where.root_threshold)
    say(f"{where.dir / 'root.json'}: give it to each device once, as --updates-root")
    say(f"{where.dir / 'public'}: publish it; {where.dir / 'keys'}: never publish it, and keep a copy")


def _renew(where: Where) -> None:
    repository = open_repository(where)
    from edge.tools.fleet import status

    repository.renew()
    say(f"signed for {where.timestamp_days} days")
    ends = {role: when for role, when in repository.expiries() if role not in ("snapshot", "timestamp")}
    for line in status.endings(ends, datetime.datetime.now(datetime.UTC)):
        warn(line)  # cron tells it, for nothing else of it will


def _withdraw(args: ChangeArguments) -> None:
    repository, model = _of_model(args)
    gone = repository.withdraw(model, args.channel, args.version)
    say(f"{model} {gone.version} is no longer in {args.channel}: {_after(repository.held(model, args.channel))}")


def _after(channel: "Channel") -> str:
    """What devices do whose version was withdrawn: a release that is for nobody takes none of them."""
    from edge.tools.fleet.status import percent

    offers = [f"{r.version} (for {percent(r.share)} of the devices)" for r in channel.releases if r.share]
    if offers:
        return f"devices that run it go to what is there beside it, {', '.join(offers)}"
    return "nothing else there is rolled out, so devices that run it stay with it; edge-fleet rollout"


def _pause(args: ChangeArguments) -> None:
    from edge.tools.fleet import repository as changes

    _change(args, changes.pause)


def _promote(args: ChangeArguments) -> None:
    from edge.tools.fleet import repository as changes

    _change(args, changes.rollout(WHOLE))


def _rollout(args: RolloutArguments) -> None:
    from edge.tools.fleet import repository as changes

    _change(args, changes.rollout(args.share))


def _change(args: ChangeArguments, change: "Callable[[Release], Release]") -> None:
    repository, model = _of_model(args)
    say(released(model, args.channel, repository.change(model, args.channel, args.version, change)))


def _of_model(args: ChangeArguments) -> "tuple[Repository, str]":
    """Raises ConfigError."""
    repository = open_repository(args)
    return repository, args.name or only_model(repository)


def _serve(args: ServeArguments) -> None:
    folder = args.dir / "public"
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not there; edge-fleet init {args.dir} makes it")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", args.port), handler)
    except OSError as exc:
        raise ConfigError(f"--port {args.port}: {exc.strerror}; another --port, maybe") from exc
    with server:
        say(f"http://127.0.0.1:{server.server_address[1]} until Ctrl-C; for trying out only")
        server.serve_forever()


COMMANDS: Mapping[str, tuple[str, type[Struct] | None, Callable[[Any], None]]] = {
    "init": ("make keys and an empty repository", InitArguments, _init),
    "add": ("put a model file into a channel, for no device yet", fleet_add.AddArguments, fleet_add.add),
    "follow": (
        "add what an alias of the MLflow registry names, again and again",
        fleet_follow.FollowArguments,
        fleet_follow.follow,
    ),
    "rollout": ("give a version to a share of the devices", RolloutArguments, _rollout),
    "promote": ("give it to all", ChangeArguments, _promote),
    "pause": ("let no further device begin it", ChangeArguments, _pause),
    "withdraw": ("take it back: devices go to what the channel holds beside it", ChangeArguments, _withdraw),
    "renew": ("sign the time stamp anew; for cron, once a week", Where, _renew),
    "serve": ("publish the repository on a port, for trying out", ServeArguments, _serve),
    "publish": (
        "publish it as retained messages of a broker, for small fleets",
        fleet_devices.PublishArguments,
        fleet_devices.publish,
    ),
    "install": (
        "have a version installed that waits (--updates-manual)",
        fleet_devices.InstallArguments,
        fleet_devices.install,
    ),
    "status": ("say what is offered, and what devices say", fleet_status.StatusArguments, fleet_status.status),
    "wait": (
        "wait until a share of the devices has confirmed a version",
        fleet_devices.WaitArguments,
        fleet_devices.wait,
    ),
    "keys": ("list the keys, or put new ones in their place", None, fleet_keys.run),
    "drift": (
        "say how many devices drift, and which differ from the others",
        fleet_devices.DriftArguments,
        fleet_devices.drift,
    ),
    "collect": (
        "fetch kept samples from devices that permit it",
        fleet_devices.CollectArguments,
        fleet_devices.collect,
    ),
}
"""By name what each is for, its arguments, and what it does; one that has commands of its own reads them itself."""


class FleetArguments(Struct, frozen=True):
    command: Annotated[str, Flag("what to do", one_of(COMMANDS), "COMMAND", positional=True)]


def main() -> None:
    """Exit codes: 0 done, 1 bug, 2 usage, 3 model, 4 disk, 5 nothing heard, or not what was waited for; 130 after
    Ctrl-C."""
    ending.main(lambda: run(sys.argv[1:]), "edge-fleet: interrupted")


def run(argv: Sequence[str]) -> int:
    """`edge-fleet` with these arguments; returns the exit code."""
    try:
        _do(arguments.read(FleetArguments, _program(), argv[:1]).command, argv[1:])
    except FatalError as exc:
        return ending.failed("edge-fleet", exc, exc.exit_code)
    except UnavailableError as exc:
        return ending.failed("edge-fleet", exc, SourceError.exit_code)  # the broker is where this is read from
    except ImportError as exc:  # also of one that finds no library of the system
        if (exc.name or "").partition(".")[0] not in LIBRARIES:
            raise
        missing = needs("edge-fleet", f"tuf and cryptography ({exc})", "fleet")
        return ending.failed("edge-fleet", missing, missing.exit_code)
    except OSError as exc:
        what = f"{exc.filename}: {exc.strerror}" if exc.filename and exc.strerror else exc
        return ending.failed("edge-fleet", what, 4)
    return 0


def _program() -> Program:
    commands = [(name, about) for name, (about, _, _) in COMMANDS.items()]
    return Program("edge-fleet", "Which model which devices get.", __version__, commands=commands)


def _do(command: str, argv: Sequence[str]) -> None:
    about, kind, do = COMMANDS[command]
    # `--version` names a model's version here.
    program = Program(f"edge-fleet {command}", f"To {about}.", __version__, version_flag="--edge-fleet-version")
    do(argv if kind is None else arguments.read(kind, program, argv))


if __name__ == "__main__":
    main()
