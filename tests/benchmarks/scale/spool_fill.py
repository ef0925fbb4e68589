"""A process that fills a spool as a lane does while the broker is away: `spool_fill.py FILE PAYLOAD DEPTH...`

It stops at each depth, tells in a line of JSON what the last groups cost, and goes on at a line on standard input.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from edge.data.message import Message
from edge.storage.sqlite import SqliteSpool

GROUP = 64
"""As many as a lane saves at once."""
COARSE = 2048
MEASURED = 40
"""Groups before a depth whose cost is told."""


def main(file: str, payload: str, *depths: str) -> None:
    path, body = Path(file), Path(payload).read_bytes()

    def append(count: int) -> tuple[float, float]:
        messages = [Message("result", body, n) for n in range(count)]
        wall, cpu = time.perf_counter(), time.thread_time()
        spool.append(messages)
        return (time.perf_counter() - wall) / count * 1e6, (time.thread_time() - cpu) / count * 1e6

    with tempfile.TemporaryDirectory() as place:  # what is done for the first time costs more than what grows
        spool = SqliteSpool(Path(place) / "warm", 8 << 30)
        for _ in range(MEASURED):
            append(GROUP)
        spool.close()
    spool = SqliteSpool(path, 8 << 30)
    spool.open()
    for depth in map(int, depths):
        while len(spool) + MEASURED * GROUP < depth:
            append(min(COARSE, depth - MEASURED * GROUP - len(spool)))
        spent = [append(min(GROUP, max(1, depth - len(spool)))) for _ in range(MEASURED) if len(spool) < depth]
        print(json.dumps({
            "append_us": statistics.median(w for w, _ in spent) if spent else None,
            "append_cpu_us": statistics.median(c for _, c in spent) if spent else None,
            "disk_mb": sum(p.stat().st_size for p in path.parent.glob(f"{path.name}*")) / 1e6,
            "memory_mb": _resident_mb(),
        }), flush=True)  # fmt: skip
        sys.stdin.readline()
    spool.close()


def _resident_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1e3 for line in lines if line.startswith("VmRSS:"))


if __name__ == "__main__":
    main(*sys.argv[1:])
