"""`edge-fleet drift`: how many devices drift, and which differ from the others."""

# Not `from __future__ import annotations`: `options.of` reads the annotations.
import sys
import time
from collections.abc import Sequence
from typing import Annotated

import msgspec

from edge.cli.fleet_arguments import BrokerArguments, broker_of, parts, say, word
from edge.errors import UnavailableError
from edge.settings import arguments, parsers
from edge.settings.arguments import Program
from edge.settings.options import Flag

DAY_S = 86_400.0
MANY = 1000


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


def run(argv: Sequence[str], program: Program) -> None:
    """Raises ConfigError, and UnavailableError where nothing is heard, or it is an alarm."""
    args = arguments.read(DriftArguments, program, argv)
    from edge.tools.fleet import drift, retained

    found = retained.listen(broker_of(args), args.prefix, "drift")
    if found.unlisted >= MANY:
        sys.stderr.write(
            f"edge-fleet: {found.unlisted:,} devices retain no status, and a broker drops some of so many messages: "
            "others may be missing; --devices N tells how many there are\n"
        )
    devices = drift.heard(found.payloads)
    devices = [d for d in devices if args.name in (None, d.model)]
    if not devices:
        raise UnavailableError(f"{args.prefix}/+/+/drift: nothing is retained there; devices tell of it with --drift")
    limits = drift.Limits(args.alarm_share, args.alarm_number, args.max_age)
    fleets = drift.added_up(devices, limits, time.time())
    if args.as_json:
        say(msgspec.json.encode(fleets).decode())
    else:
        for line in drift.lines(fleets):
            say(line)
    _judge(fleets, args)


def _judge(fleets: "Sequence[drift.Fleet]", args: DriftArguments) -> None:
    alarms = [f"{f.model}: {f.states['drifted']:,} of {f.devices:,} devices drift" for f in fleets if f.alarm]
    alarms += [
        f"{f.model}: {f.devices:,} of {args.devices:,} devices are heard" for f in fleets if f.devices < args.devices
    ]
    if alarms:
        raise UnavailableError("; ".join(alarms))


TYPE_CHECKING = False
if TYPE_CHECKING:
    from edge.tools.fleet import drift
