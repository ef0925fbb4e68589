"""`python -m edge.updates`: an order on standard input, the answer on standard output."""

from __future__ import annotations

import resource
import signal
import sys
from pathlib import Path

from edge.updates import order

MORE_BYTES = 32_000_000


def main() -> None:
    """Exit 0 with an answer, 1 where it is to end; what else goes wrong is a bug."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(1))  # so that what it works in goes, and what it verified is kept
    asked = order.decode_order(sys.stdin.buffer.read())
    try:
        from edge.updates import trust
    except ImportError as exc:
        reason = f"--updates needs tuf ({exc}): pip install 'edge-run[updates]'"
        answer = order.Answer(fault="setup", reason=reason)
    else:
        if asked.broker is not None:
            _bound_memory()
        answer = trust.ask(asked)
    sys.stdout.buffer.write(order.encode(answer))


def _bound_memory() -> None:
    """A message is as large as a broker says, and read whole: one that nobody of ours made ends in a MemoryError."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
    most = pages * resource.getpagesize() + MORE_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


if __name__ == "__main__":
    main()
