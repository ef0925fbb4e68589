"""A process that works a spool as it is told, a JSON object a line, so that a test can stand between it and the disk.

{"do": "append", "first": 10, "count": 3} -> {"keys": [...]}    {"do": "after"} -> {"seqs": [...]}
{"do": "remove", "keys": [...]} -> {}    {"do": "reopen"} -> {}    {"do": "tell"} -> {"len": .., "dropped_by": ..}
An EdgeError is answered {"error": "UnavailableError: ..."}. Before and after each order the line goes to the
file `marks`, so that a record of the disk's changes tells which orders had begun and which were done.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from edge.data.message import Message
from edge.errors import EdgeError
from edge.storage.sqlite import SqliteSpool


def payload(number: int) -> bytes:
    """Of many sizes, so that rows share pages and overflow them."""
    return b'{"n":%d,"x":"%s"}' % (number, b"x" * (number * 7919 % 6000 if number % 5 == 0 else number % 300))


def work(spool: SqliteSpool, order: dict[str, Any]) -> dict[str, Any]:
    match order["do"]:
        case "append":
            numbers = range(order["first"], order["first"] + order["count"])
            return {"keys": spool.append([Message("result", payload(n), n) for n in numbers])}
        case "after":
            return {"seqs": [e.message.seq for e in spool.after(0, 1_000_000)]}
        case "remove":
            spool.remove(order["keys"])
            return {}
        case "reopen":
            spool.close()
            spool.open()
            return {}
        case _:
            return {"len": len(spool), "dropped_by": spool.dropped_by, "damaged": spool.damaged}


def main(path: str, max_bytes: str, marks: str) -> None:
    fd = os.open(marks, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    spool = SqliteSpool(Path(path), int(max_bytes))
    for line in sys.stdin:
        os.write(fd, b"begin " + line.encode())
        try:
            answer = work(spool, json.loads(line))
        except EdgeError as exc:
            answer = {"error": f"{type(exc).__name__}: {exc}"}
        os.write(fd, b"done " + json.dumps(answer).encode() + b"\n")
        print(json.dumps(answer), flush=True)
    spool.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
