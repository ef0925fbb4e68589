"""`python -m edge.updates`: an order on standard input, the answer on standard output."""

from __future__ import annotations

import sys

from edge.updates import order


def main() -> None:
    """Exit 0 with an answer; what else goes wrong is a bug."""
    asked = order.decode_order(sys.stdin.buffer.read())
    try:
        from edge.updates import trust
    except ImportError as exc:
        reason = f"--updates needs tuf ({exc}): pip install 'edge-run[updates]'"
        answer = order.Answer(fault="setup", reason=reason)
    else:
        answer = trust.ask(asked)
    sys.stdout.buffer.write(order.encode(answer))


if __name__ == "__main__":
    main()
