"""`python -m integration.faults`: the campaigns by hand, for minutes or for hours, with the table at the end."""

from __future__ import annotations

import argparse
import platform
import random
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from integration.faults.brokers import BROKERS
from integration.faults.campaign import Account, Campaign, table
from integration.faults.fed import FedCampaign
from support.marks import write_between

BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"


def main() -> int:
    """0 where nothing was lost, nothing wrong, and edge-run never ended by itself."""
    parser = argparse.ArgumentParser(prog="integration.faults", description=__doc__)
    parser.add_argument("--hours", type=float, default=0.0, help="how long, both campaigns together")
    parser.add_argument("--faults", type=int, default=200, help="at least so many, in the first campaign")
    parser.add_argument("--broker", choices=BROKERS, default="mosquitto")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--write", type=Path, metavar="README.md", help="puts the table between its marks")
    options = parser.parse_args()
    seconds = options.hours * 3600 / (2 if options.broker == "mosquitto" else 1)
    accounts: list[Account] = []
    place = Path(tempfile.mkdtemp(prefix="edge-run-faults-"))
    print(f"seed {options.seed}, in {place}", file=sys.stderr)
    more = {"faults": options.faults, "seconds": seconds}
    for folder in ("mqtt", "fed"):
        (place / folder).mkdir()
    accounts.append(Campaign(place / "mqtt", options.seed, broker=options.broker, **more).run())
    print(table(accounts[-1:]))
    if options.broker == "mosquitto":
        more["faults"] = options.faults // 2
        accounts.append(FedCampaign(place / "fed", options.seed, **more).run())
        print(table(accounts[-1:]))
    if options.write is not None:
        of = "faults" if options.broker == "mosquitto" else f"faults on {options.broker}"  # a table of its own
        begin, end = (mark.replace("faults", of) for mark in (BEGIN, END))
        write_between(options.write, begin, end, measured(table(accounts)))
    for account in accounts:
        for what in (account.lost[:20], account.wrong[:5], account.errors[:5], account.bad_exits):
            if what:
                print(f"{account.title}: {what}", file=sys.stderr)
    return 1 if any(account.faulty() for account in accounts) else 0


def measured(text: str) -> str:
    """The table, and what it was measured on."""
    return (
        f"{text}\nMeasured on {platform.machine()}, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}."
    )


if __name__ == "__main__":
    sys.exit(main())
