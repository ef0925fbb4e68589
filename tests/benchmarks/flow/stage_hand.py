"""What every contest of the runtime needs around it: a folder, a broker, and its table printed and written."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from integration.faults.broker import Broker as Mosquitto
from integration.faults.brokers import BROKERS
from support.marks import write_between

NO_DELAY = "nodelay"
"""mosquitto as most brokers behave: without `set_tcp_nodelay` it holds a small message back while the one before is not
acknowledged."""
Contest = Callable[[Path, int, argparse.Namespace], str]
"""Of a folder to work in, the broker's port and the options: the table as Markdown."""


def hold(contest: Contest, options: argparse.Namespace, begin: str, end: str, broker_name: str = "mosquitto") -> None:
    """Runs the contest beside a broker of its own, prints the table, writes it where `options.write` asks for it."""
    with tempfile.TemporaryDirectory(prefix="edge-run-bench-") as name:
        folder = Path(name)
        place = folder / "broker"
        broker = Mosquitto(place, "set_tcp_nodelay true\n") if broker_name == NO_DELAY else BROKERS[broker_name](place)
        broker.start()
        try:
            text = contest(folder, broker.port, options)
        finally:
            broker.close()
    print(f"\n{text}")
    if options.write is not None:
        write_between(options.write, begin, end, text)
