"""The commands of `edge-fleet` that speak with devices, or with the broker between: publish, install, wait, drift and
collect."""

# Not `from __future__ import annotations`: `options.of` reads the annotations.
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from edge import progress
from edge.cli.fleet_arguments import (
    WHOLE,
    BrokerArguments,
    Where,
    broker_of,
    mqtt_settings,
    only_model,
    open_repository,
    parts,
    say,
    warn,
    word,
)
from edge.errors import ConfigError, UnavailableError
from edge.settings import parsers
from edge.settings.options import Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from edge.tools.fleet.collect import Fetched
    from edge.tools.fleet.drift import Fleet

AGAIN_S = 1.0
DAY_S = 86_400.0
MANY = 1000


class PublishArguments(BrokerArguments, frozen=True, kw_only=True):
    dir: Annotated[Path, Flag("the repository's folder", parsers.path, "DIR", positional=True)]
    replace: Annotated[bool, Flag("also in the place of another repository, or of a newer state of this one")] = False


def publish(args: PublishArguments) -> None:
    """Raises ConfigError, UnavailableError."""
    settings = mqtt_settings(args)
    if not (args.dir / "public" / "metadata" / "timestamp.json").exists():
        raise ConfigError(f"{args.dir}: no repository is there; edge-fleet init {args.dir} makes one")
    from edge.tools.fleet.publish import Publisher
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


class InstallArguments(BrokerArguments, frozen=True, kw_only=True):
    device: Annotated[str, Flag("the device, as its topics call it", parsers.word, "DEVICE", positional=True)]
    name: Annotated[str, Flag("the model, as the device's topics call it", word, "MODEL", positional=True)]
    version: Annotated[str | None, Flag("the version [whatever waits]", word, "V")] = None


def install(args: InstallArguments) -> None:
    """Raises ConfigError, UnavailableError."""
    broker = broker_of(args)
    from edge.tools.fleet import install as asking

    asking.install(broker, f"{args.prefix}/{args.device}/{args.name}", args.version)
    say(
        f"{args.device}: {args.name} {args.version or 'as it waits'} is being installed; edge-fleet status says how far"
    )


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


def wait(args: WaitArguments) -> None:
    """Asks until it is so; a broker that is away is asked again. Raises ConfigError, and UnavailableError where it does
    not come in time."""
    from edge.tools.fleet import status

    stop = _stopping(args)
    end, told = time.monotonic() + args.timeout, ""
    while True:
        try:
            heard = [h for h in status.listen(broker_of(args), args.prefix) if args.name in (None, h.model)]
        except UnavailableError as exc:
            if time.monotonic() + AGAIN_S > end:
                raise
            if str(exc) != told:
                told = str(exc)
                warn(f"{told} It is asked again.")
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
    model = args.name or only_model(repository)
    if repository.release_of(model, args.version, args.channel) is None:
        raise ConfigError(f"--pause {args.pause}: {model} has no version {args.version} in the channel {args.channel}")
    repository.require_keys(model)

    def stop() -> str:
        repository.change(model, args.channel, args.version, changes.pause)
        return "the rollout is paused, publish the repository; edge-fleet status says why"

    return stop


class DriftArguments(BrokerArguments, frozen=True, kw_only=True):
    name: Annotated[str | None, Flag("the model [all]", word, "NAME")] = None
    alarm_share: Annotated[
        int, Flag("it is an alarm where such a share of the devices drifts, as 5%", parts, "P%", shown="5%")
    ] = 500  # fmt: skip
    alarm_number: Annotated[int, Flag("and at least so many of them", parsers.positive, "N")] = 3
    devices: Annotated[int, Flag("how many there are: fewer that are heard are an alarm, too", parsers.count, "N")] = 0
    max_age: Annotated[
        float, Flag("seconds after which what a device has said counts no more", parsers.seconds, "S")
    ] = DAY_S  # fmt: skip
    as_json: Annotated[bool, Flag("as JSON, with all counts", name="json")] = False


def drift(args: DriftArguments) -> None:
    """Raises ConfigError, and UnavailableError where nothing is heard, or it is an alarm."""
    from edge.mqtt.topics import Topics
    from edge.tools.fleet import drift as reports
    from edge.tools.fleet import retained

    found = retained.listen(broker_of(args), args.prefix, Topics.drift)
    if found.unlisted >= MANY:
        warn(
            f"{found.unlisted:,} devices retain no status, and a broker drops some of so many messages: "
            "others may be missing; --devices N tells how many there are"
        )
    devices = reports.heard(found.payloads)
    devices = [d for d in devices if args.name in (None, d.model)]
    if not devices:
        raise UnavailableError(f"{args.prefix}/+/+/drift: nothing is retained there; devices tell of it with --drift")
    limits = reports.Limits(args.alarm_share, args.alarm_number, args.max_age)
    fleets = reports.added_up(devices, limits, time.time())
    if args.as_json:
        say(msgspec.json.encode(fleets).decode())
    else:
        for line in reports.lines(fleets):
            say(line)
    _judge(fleets, args)


def _judge(fleets: "Sequence[Fleet]", args: DriftArguments) -> None:
    alarms = [f"{f.model}: {f.states['drifted']:,} of {f.devices:,} devices drift" for f in fleets if f.alarm]
    alarms += [
        f"{f.model}: {f.devices:,} of {args.devices:,} devices are heard" for f in fleets if f.devices < args.devices
    ]
    if alarms:
        raise UnavailableError("; ".join(alarms))


class CollectArguments(BrokerArguments, frozen=True, kw_only=True):
    out: Annotated[Path, Flag("where to; a folder for each device is made in it", parsers.path, "OUT", positional=True)]
    device: Annotated[tuple[str, ...], Flag("only these [all that permit it]", metavar="NAME", many=True)] = ()
    name: Annotated[str | None, Flag("only of this model", word, "NAME")] = None
    most: Annotated[int, Flag("bytes that are fetched at most, in all", parsers.size, "SIZE")] = 1_000_000_000
    rate: Annotated[int, Flag("bytes in a second", parsers.size, "SIZE")] = 1_000_000
    timeout: Annotated[float, Flag("seconds for an answer, asked for three times", parsers.seconds, "S")] = 10.0


def collect(args: CollectArguments) -> None:
    """Raises ConfigError; UnavailableError where it is not all; OSError."""
    broker = broker_of(args)
    from edge.tools.fleet import collect as fetching

    limits = fetching.Limits(args.most, max(1, args.rate), args.timeout)
    devices = fetching.chosen(fetching.devices(broker, args.prefix), args.device, args.name)
    if not devices:
        raise UnavailableError(
            f"{broker.url}: no device permits it below {args.prefix}/; edge-run --capture RULES --capture-collect does"
        )
    collector = fetching.Collector(broker, limits)
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
