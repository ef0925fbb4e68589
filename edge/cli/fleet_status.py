"""`edge-fleet status`: once, again and again in a terminal, as JSON, or as a page."""

# Not `from __future__ import annotations`: `options.of` reads the annotations.
import datetime
import sys
import time
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Struct

from edge.cli.fleet_arguments import BrokerArguments, Where, broker_of, open_repository, say, warn
from edge.errors import ConfigError, UnavailableError
from edge.settings import parsers
from edge.settings.options import Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from edge.tools.fleet.repository import Repository
    from edge.tools.fleet.status import Heard, Offered

HOME_AND_CLEAR = "\x1b[H\x1b[2J"


class StatusArguments(BrokerArguments, frozen=True, kw_only=True):
    dir: Annotated[Path, Flag("the repository's folder", parsers.path, "DIR", positional=True)]
    as_json: Annotated[bool, Flag("as JSON", name="json")] = False
    html: Annotated[Path | None, Flag("as a page, into this file", parsers.path, "FILE")] = None
    every: Annotated[
        float | None, Flag("tell it again every so many seconds, until Ctrl-C", parsers.seconds, "S", alone="5")
    ] = None


class _Now(Struct, frozen=True):
    """`heard` None: no broker was asked."""

    offered: "list[Offered]"
    heard: "list[Heard] | None"
    expires: dict[str, datetime.datetime]


def status(args: StatusArguments) -> None:
    """Raises FatalError, UnavailableError."""
    if args.as_json and args.html is not None:
        raise ConfigError("--json and --html: say one of the two")
    repository = open_repository(Where(dir=args.dir))
    if args.every is None:
        _tell(args, _ask(args, repository))
        return
    away = ""
    while True:
        try:
            _tell(args, _ask(args, repository))
            away = ""
        except UnavailableError as exc:  # of a broker that is away: it comes back
            if str(exc) != away:
                away = str(exc)
                warn(f"{away} It is asked again.")
        time.sleep(max(1.0, args.every))


def _ask(args: StatusArguments, repository: "Repository") -> _Now:
    from edge.tools.fleet import status

    heard = status.listen(broker_of(args), args.prefix) if args.mqtt is not None else None
    return _Now(status.offered(repository), heard, dict(repository.expiries()))


def _tell(args: StatusArguments, now: _Now) -> None:
    from edge.tools.fleet import page, status

    at = datetime.datetime.now(datetime.UTC)
    if args.as_json:
        ends = {role: when.isoformat() for role, when in now.expires.items()}
        say(msgspec.json.encode({"offered": now.offered, "heard": now.heard, "expires": ends}).decode())
    elif args.html is not None:
        from edge.storage.atomic import replacing

        text = page.page(args.dir.resolve().name, now.offered, now.heard, now.expires, at, args.every)
        try:
            with replacing(args.html) as file:
                file.write(text.encode())
        except OSError as exc:
            raise ConfigError(f"--html {args.html}: {exc.strerror}; name a file in a folder that is there") from exc
        if args.every is None:
            say(f"{args.html} was written")
    else:
        if args.every is not None and sys.stdout.isatty():
            sys.stdout.write(HOME_AND_CLEAR)
        for line in status.lines(now.offered, now.heard):
            say(line)
        say("")
        for line in status.endings(now.expires, at):
            say(line)
