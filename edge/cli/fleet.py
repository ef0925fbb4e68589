"""`edge-fleet`: which model which devices get."""

# Not `from __future__ import annotations`: `options.of` reads the annotations.
import datetime
import functools
import http.server
import importlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Struct

from edge import __version__
from edge.cli import ending
from edge.cli.fleet_arguments import (
    WHOLE,
    BrokerArguments,
    Where,
    broker_of,
    only_model,
    open_repository,
    parts,
    released,
    say,
    word,
)
from edge.errors import ConfigError, FatalError, SourceError, UnavailableError, printable
from edge.settings import arguments, parsers
from edge.settings.arguments import Program
from edge.settings.options import Flag
from edge.settings.parsers import one_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from edge.tools.fleet.repository import Repository
    from edge.tools.fleet.status import Heard
    from edge.updates.release import Channel, Release

Command = Literal["init", "add", "rollout", "promote", "pause", "withdraw", "renew", "serve", "status", "wait", "keys",
                  "publish", "install", "follow", "drift", "collect"]  # fmt: skip
COMMANDS: Mapping[Command, str] = {
    "init": "make keys and an empty repository",
    "add": "put a model file into a channel, for no device yet",
    "follow": "add what an alias of the MLflow registry names, again and again",
    "rollout": "give a version to a share of the devices",
    "promote": "give it to all",
    "pause": "let no further device begin it",
    "withdraw": "take it back: devices go to what the channel holds beside it",
    "renew": "sign the time stamp anew; for cron, once a week",
    "serve": "publish the repository on a port, for trying out",
    "publish": "publish it as retained messages of a broker, for small fleets",
    "install": "have a version installed that waits (--updates-manual)",
    "status": "say what is offered, and what devices say",
    "wait": "wait until a share of the devices has confirmed a version",
    "keys": "list the keys, or put new ones in their place",
    "drift": "say how many devices drift, and which differ from the others",
    "collect": "fetch kept samples from devices that permit it",
}
AGAIN_S = 1.0


class FleetArguments(Struct, frozen=True):
    command: Annotated[Command, Flag("what to do", one_of(COMMANDS), "COMMAND", positional=True)]


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


class WaitArguments(BrokerArguments, frozen=True, kw_only=True):
    version: Annotated[str, Flag("the version", word, "V")]
    name: Annotated[str | None, Flag("the model [all]", word, "NAME")] = None
    share: Annotated[int, Flag("of the devices, as 95%", parts, "P%", shown="100%")] = WHOLE
    devices: Annotated[int, Flag("how many there are [those that are heard]", parsers.count, "N")] = 0
    timeout: Annotated[float, Flag("seconds to wait for it", parsers.seconds, "S")] = 600.0
    abort_share: Annotated[
        int,
        Flag("give up where such a share of the devices that took it, as 10%, has rolled it back", parts, "P%",
             shown="10%"),
    ] = 1000  # fmt: skip
    abort_number: Annotated[int, Flag("and at least so many of them; 0: never", parsers.count, "N")] = 3
    pause: Annotated[
        Path | None, Flag("where it gives up, pause the version in this repository", parsers.path, "DIR")
    ] = None
    channel: Annotated[str, Flag("with --pause: the channel", word, "NAME")] = "stable"
    passphrase_file: Annotated[
        Path | None,
        Flag("with --pause: a file that holds the passphrase of the keys [asked for]", parsers.path, "FILE"),
    ] = None


def main() -> None:
    """Exit codes: 0 done, 1 bug, 2 usage, 3 model, 4 disk, 5 nothing heard, or not what was waited for; 130 after
    Ctrl-C."""
    ending.main(lambda: run(sys.argv[1:]), "edge-fleet: interrupted")


def run(argv: Sequence[str]) -> int:
    """`edge-fleet` with these arguments; returns the exit code."""
    try:
        command = arguments.read(FleetArguments, _program(), argv[:1]).command
        _do(command, argv[1:])
    except FatalError as exc:
        return _fail(exc, exc.exit_code)
    except UnavailableError as exc:
        return _fail(exc, SourceError.exit_code)  # the broker is where this is read from
    except OSError as exc:
        return _fail(f"{exc.filename}: {exc.strerror}" if exc.filename and exc.strerror else exc, 4)
    return 0


def _fail(what: object, code: int) -> int:
    sys.stderr.write(printable(f"edge-fleet: error: {what}".replace("\n", " ")) + "\n")
    return code


def _program(command: Command | None = None) -> Program:
    if command is None:
        return Program("edge-fleet", "Which model which devices get.", __version__, commands=tuple(COMMANDS.items()))
    # `--version` names a model's version here.
    about = f"To {COMMANDS[command]}."
    return Program(f"edge-fleet {command}", about, __version__, version_flag="--edge-fleet-version")


def _do(command: Command, argv: Sequence[str]) -> None:
    if command in ELSEWHERE:
        importlib.import_module(f"edge.cli.{ELSEWHERE[command]}").run(argv, _program(command))
    else:
        kind, do = HERE[command]
        do(arguments.read(kind, _program(command), argv))


def _init(where: InitArguments) -> None:
    if where.root_threshold > where.root_keys:
        raise ConfigError(f"--root-threshold {where.root_threshold}: root has {where.root_keys} keys; more --root-keys")
    open_repository(where).init(where.root_keys, where.root_threshold)
    say(f"{where.dir / 'root.json'}: give it to each device once, as --updates-root")
    say(f"{where.dir / 'public'}: publish it; {where.dir / 'keys'}: never publish it, and keep a copy")


def _renew(where: Where) -> None:
    repository = open_repository(where)
    repository.require()
    from edge.tools.fleet import status

    repository.renew()
    say(f"signed for {where.timestamp_days} days")
    ends = {role: when for role, when in repository.expiries() if role not in ("snapshot", "timestamp")}
    for line in status.endings(ends, datetime.datetime.now(datetime.UTC)):
        sys.stderr.write(printable(f"edge-fleet: {line}") + "\n")  # cron tells it, for nothing else of it will


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
    repository.require()
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


def _heard(args: BrokerArguments) -> "list[Heard]":
    """Raises ConfigError, UnavailableError."""
    from edge.tools.fleet import status

    return status.listen(broker_of(args), args.prefix)


def _wait(args: WaitArguments) -> None:
    """Asks until it is so; a broker that is away is asked again. Raises ConfigError, and UnavailableError where it does
    not come in time."""
    from edge.tools.fleet import status

    stop = _stopping(args)
    end, told = time.monotonic() + args.timeout, ""
    while True:
        try:
            heard = [h for h in _heard(args) if args.name in (None, h.model)]
        except UnavailableError as exc:
            if time.monotonic() + AGAIN_S > end:
                raise
            if str(exc) != told:
                told = str(exc)
                sys.stderr.write(f"edge-fleet: {told} It is asked again.\n")
            time.sleep(AGAIN_S)
            continue
        done, of = status.reached(heard, args.version, args.devices)
        if of and done * WHOLE >= args.share * of:
            say(f"version {args.version}: {done} of {of} devices, {len(heard)} heard")
            return
        back, took = status.rolled_back(heard, args.version)
        if args.abort_number and back >= args.abort_number and back * WHOLE >= args.abort_share * took:
            raise UnavailableError(
                f"version {args.version}: {back} of {took} devices that took it have rolled it back; {stop()}"
            )
        if time.monotonic() > end:
            went_back = sum(h.state == "rolled-back" for h in heard)
            raise UnavailableError(
                f"version {args.version}: {done} of {of} devices within {args.timeout:g} s, {len(heard)} heard, "
                f"{went_back} rolled back; edge-fleet status says why"
            )


def _stopping(args: WaitArguments) -> Callable[[], str]:
    """What stops the rollout, and says so. What a person has to mend is told now, not when it is too late. Raises
    ConfigError."""
    if args.pause is None:
        return lambda: "edge-fleet pause stops the rollout, edge-fleet status says why"
    from edge.tools.fleet import repository as changes

    repository = open_repository(Where(dir=args.pause, passphrase_file=args.passphrase_file))
    repository.require()
    model = args.name or only_model(repository)
    if repository.release_of(model, args.version, args.channel) is None:
        raise ConfigError(f"--pause {args.pause}: {model} has no version {args.version} in the channel {args.channel}")
    repository.require_keys(model)

    def stop() -> str:
        repository.change(model, args.channel, args.version, changes.pause)
        return "the rollout is paused, publish the repository; edge-fleet status says why"

    return stop


HERE: Mapping[Command, tuple[type[Struct], Callable[[Any], None]]] = {
    "init": (InitArguments, _init),
    "rollout": (RolloutArguments, _rollout),
    "promote": (ChangeArguments, _promote),
    "pause": (ChangeArguments, _pause),
    "withdraw": (ChangeArguments, _withdraw),
    "renew": (Where, _renew),
    "serve": (ServeArguments, _serve),
    "wait": (WaitArguments, _wait),
}
ELSEWHERE: Mapping[Command, str] = {
    "add": "fleet_add",
    "status": "fleet_status",
    "follow": "fleet_follow",
    "publish": "fleet_publish",
    "install": "fleet_install",
    "keys": "fleet_keys",
    "drift": "fleet_drift",
    "collect": "fleet_collect",
}
"""Modules that bring more than is needed for the others: `run(argv, program)`."""


if __name__ == "__main__":
    main()
