"""`edge-fleet collect`: kept samples of devices come to a folder."""

# Not `from __future__ import annotations`: `options.of` reads the annotations.
import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

from edge import progress
from edge.cli.fleet_arguments import BrokerArguments, broker_of, say, word
from edge.errors import UnavailableError
from edge.settings import arguments, parsers
from edge.settings.arguments import Program
from edge.settings.options import Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from edge.tools.fleet.collect import Fetched


class CollectArguments(BrokerArguments, frozen=True, kw_only=True):
    out: Annotated[Path, Flag("where to; a folder for each device is made in it", parsers.path, "OUT", positional=True)]
    device: Annotated[tuple[str, ...], Flag("only these [all that permit it]", metavar="NAME", many=True)] = ()
    name: Annotated[str | None, Flag("only of this model", word, "NAME")] = None
    most: Annotated[int, Flag("bytes that are fetched at most, in all", parsers.size, "SIZE")] = 1_000_000_000
    rate: Annotated[int, Flag("bytes in a second", parsers.size, "SIZE")] = 1_000_000
    timeout: Annotated[float, Flag("seconds for an answer, asked for three times", parsers.seconds, "S")] = 10.0


def run(argv: Sequence[str], program: Program) -> None:
    """Raises ConfigError; UnavailableError where it is not all; OSError."""
    args = arguments.read(CollectArguments, program, argv)
    broker = broker_of(args)
    from edge.tools.fleet import collect

    limits = collect.Limits(args.most, max(1, args.rate), args.timeout)
    devices = collect.chosen(collect.devices(broker, args.prefix), args.device, args.name)
    if not devices:
        raise UnavailableError(
            f"{broker.url}: no device permits it below {args.prefix}/; edge-run --capture RULES --capture-collect does"
        )
    collector = collect.Collector(broker, limits)
    try:
        collector.open()
        reasons = []
        for device in devices:
            with _progress(device.folder) as tell:
                done = collector.collect(device, args.out, tell)
            say(_told(args.out / device.folder, done))
            if done.reason:
                reasons.append(done.reason)
        if reasons:
            raise UnavailableError("; ".join(reasons))
    finally:
        collector.close()


@contextlib.contextmanager
def _progress(folder: str) -> "Iterator[Callable[[Fetched], None]]":
    with progress.line() as show:

        def tell(done: "Fetched") -> None:
            if show is not None:
                show(f"{folder}: {done.there} files seen, {done.bytes / 1e6:.1f} MB fetched")

        yield tell


def _told(folder: Path, done: "Fetched") -> str:
    gone = f", {done.gone} were dropped there meanwhile" if done.gone else ""
    return f"{folder}: {done.files} new files, {done.bytes:,} bytes; {done.there} are there{gone}"
