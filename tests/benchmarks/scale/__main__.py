"""`python -m scale [PART...]`: cost as the work grows, drawn into scale/plots and written as tables beside them.

make bench-scale [ARGS="spool-depth sources"]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from flow.machine import description
from integration.faults.broker import Broker
from support.marks import write_between

from scale import connections, model_time, queued, sources, spool_depth
from scale.quiet import Quiet

PARTS = {
    "model-time": model_time.measure,
    "spool-depth": spool_depth.measure,
    "connections": connections.measure,
    "sources": sources.measure,
    "queued-inputs": queued.measure,
}

# Else it holds a small message back while the one before is not acknowledged, up to 40 ms: with several publishers that
# would be all that a subscriber's clock shows.
NO_DELAY = "set_tcp_nodelay true\n"


def run(name: str, few: int, write: Path | None) -> None:
    """One part: prints its table; with `write`, draws it too, and puts the table between its marks."""
    began, quiet = time.monotonic(), Quiet() if few == 1 else Quiet(tries=0)
    with tempfile.TemporaryDirectory(prefix="edge-run-bench-") as place:
        folder = Path(place)
        broker = Broker(folder / "broker", NO_DELAY)
        broker.start()
        try:
            plot = PARTS[name](folder, broker.port, few, quiet)
        finally:
            broker.close()
    text = f"{plot.table()}\n\n{description(quiet.shares)}"
    print(f"\n{text}\n")
    print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    if write is not None:
        plot.save(write.parent / "scale" / "plots")
        write_between(write, f"<!-- scale {name}: begin -->", f"<!-- scale {name}: end -->", text)


def main() -> None:
    """Parses the options."""
    parser = argparse.ArgumentParser(prog="scale", description=__doc__)
    parser.add_argument("parts", metavar="PART", nargs="*", help=f"of {', '.join(PARTS)} [all]")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything: to see that it works")
    parser.add_argument("--write", type=Path, metavar="README.md", help="draws, and puts tables between marks")
    options = parser.parse_args()
    unknown = sorted(set(options.parts) - set(PARTS))
    if unknown:
        parser.error(f"there is no part {unknown[0]}; there are {', '.join(PARTS)}")
    for name in options.parts or PARTS:
        run(name, 10 if options.quick else 1, options.write)


if __name__ == "__main__":
    main()
