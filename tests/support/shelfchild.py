"""A run that shares its connection, worked at random from a seed, so that a test can stand between it and the disk.

In the file `marks` stands what had happened: `acked N` once the broker was told of input N, `safe N` before its result
is said to be.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

from support.shelving import Run, Shared

from edge.storage.sqlite import SqliteSpool
from edge.testing.fakes import FakeClock

TOPIC = "one"


def life(session: Shared, clock: FakeClock, path: Path) -> Run:
    spool = SqliteSpool(path, 50_000_000, clock=clock, forgets_at_once=True)
    return Run(session, clock, spool, TOPIC, 0.0, shares=True).begin()


def payload(number: int) -> bytes:
    """Of many sizes, so that rows share pages and overflow them."""
    return b"%d " % number + b"x" * (number * 7919 % 6000 if number % 5 == 0 else number % 300)


def main(path: str, marks: str, seed: str, steps: str) -> None:
    rng, fd = random.Random(int(seed)), os.open(marks, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    session, clock = Shared(), FakeClock()
    run, number, told = life(session, clock, Path(path)), 0, 0
    for _ in range(int(steps)):
        roll = rng.random()
        if roll < 0.5:
            for _ in range(rng.choice((1, 1, 3, 20))):
                number += 1
                session.give(payload(number), number, topic=TOPIC)
        elif roll < 0.75 and (sample := run.source.read(0)) is not None:
            os.write(fd, b"safe %d\n" % int(sample.payload.split()[0]))
            run.source.ack(sample)
        elif roll < 0.85:
            clock.advance(rng.choice((0.05, 1.5)))
        session.turn()
        for mid in session.acked[told:]:
            os.write(fd, b"acked %d\n" % mid)
        told = len(session.acked)


if __name__ == "__main__":
    main(*sys.argv[1:])
