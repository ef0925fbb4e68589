"""`python -m stores [STORE...]`: results a second through an outbox and a sink into a real server, and their cost.

make bench-stores [ARGS="postgres redis"]

The outbox keeps what waits on disk as `edge-run` does; PostgreSQL syncs each commit, Redis its append-only file each
second. Processor time is the sink's side: that of the server is its own.
"""

from __future__ import annotations

import argparse
import http.client
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from flow.machine import busy, description
from support.delivering import Delivery, result
from support.marks import write_between
from support.stores import STORES, PostgresServer, Server

COUNT = 20_000
SLOW = {"webhook": 4_000}
"""Results in a round where one goes after the other."""
BARE = ", a loop of `http.client` instead"
MORE = {"webhook": ("", BARE, "#batch=50")}
"""Ways into one store."""


def measure(server: Server, options: str, count: int, folder: Path) -> tuple[float, float]:
    """Results a second, and microseconds of processor a result."""
    messages = [result(n) for n in range(1, count + 1)]
    folder.mkdir()
    delivery = Delivery(f"{server.uri}{options}", folder)
    try:
        delivery.put(messages[0])
        while not delivery.count("confirmed:store"):  # connected, and the table is made
            time.sleep(0.01)
        began, used = time.perf_counter(), time.process_time()
        delivery.put(*messages[1:])
        delivery.finish()
        passed, used = time.perf_counter() - began, time.process_time() - used
    finally:
        delivery.stop()
    assert not delivery.refused
    return (count - 1) / passed, used / (count - 1) * 1e6


def bare(server: Server, count: int) -> tuple[float, float]:
    """The same of a loop with the standard library's client, which keeps nothing and tries nothing again."""
    messages = [result(n) for n in range(1, count + 1)]
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.connect()
    began, used = time.perf_counter(), time.process_time()
    for message in messages:
        headers = {"Content-Type": "application/json", "Idempotency-Key": str(message.seq)}
        connection.request("POST", "/hook", message.payload, headers)
        connection.getresponse().read()
    passed, used = time.perf_counter() - began, time.process_time() - used
    connection.close()
    return count / passed, used / count * 1e6


def rows(names: Sequence[str], rounds: int, count: int, place: Path, shares: list[float]) -> list[str]:
    """A line of the table for each way into a store."""
    found = []
    for name in names:
        for options in MORE.get(name, ("",)):
            taken = []
            for n in range(rounds):
                shares.append(busy())
                folder = place / f"{name}{len(found)}.{n}"
                server = STORES[name](folder)
                server.start()
                try:
                    few = min(count, SLOW.get(name, count))
                    if options == BARE:
                        taken.append(bare(server, few))
                    else:
                        taken.append(measure(server, options, few, folder / "spool"))
                finally:
                    server.end()
            rate, cost = (statistics.median(column) for column in zip(*taken, strict=True))
            told = f"{name}{options}" if options == BARE else f"`{name}{options}`"
            found.append(f"| {told} | {rate:,.0f} | {cost:.0f} |")
            print(found[-1], flush=True)
    return found


def main() -> None:
    """Parses the options."""
    parser = argparse.ArgumentParser(prog="stores", description=__doc__)
    parser.add_argument("stores", metavar="STORE", nargs="*", help=f"of {', '.join(STORES)} [all]")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything: to see that it works")
    parser.add_argument("--write", type=Path, metavar="README.md", help="puts the table between its marks")
    options = parser.parse_args()
    PostgresServer.fsync = "on"
    shares: list[float] = []
    with tempfile.TemporaryDirectory(prefix="edge-run-bench-") as place:
        count, rounds = (COUNT // 10, 1) if options.quick else (COUNT, options.rounds)
        lines = rows(options.stores or list(STORES), rounds, count, Path(place), shares)
    head = "| `--sink` | results a second | us of processor a result |\n|-|-:|-:|"
    text = "\n".join([head, *lines, "", description(shares)])
    if options.write is not None:
        write_between(options.write, "<!-- stores: begin -->", "<!-- stores: end -->", text)


if __name__ == "__main__":
    main()
