"""`edge-run --check`: looks at every part, prints a table, ends with the first failing part's exit code.

What could end the process comes first, and in a child: nothing here imports numpy or an engine before `packages` has
seen that it loads on this board. Each room below looks at one thing and yields rows; none of them prints.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import TextIO

from edge import __version__
from edge.settings.settings import Settings
from edge.tools.doctor import boards, packages, storage, table
from edge.tools.doctor.host import Host
from edge.tools.doctor.row import Row, skip

NEED_NUMPY = ("model", "golden", "latency", "source", "broker")


def examine(settings: Settings, host: Host | None = None, out: TextIO | None = None, *, as_json: bool = False) -> int:
    """Prints the table, or JSON, and returns the exit code."""
    host = host or Host()
    out = out or sys.stdout
    rows = []
    style = table.Style.of(out, host.environ)
    with _quiet():
        for row in look(settings, host):
            rows.append(row)
            if not as_json:
                out.write(table.line(row, style))
                out.flush()
    out.write(table.as_json(rows, __version__) if as_json else table.summary(rows, style))
    return table.exit_code(rows)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without logs: the table says it."""
    log = logging.getLogger("edge")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


def look(settings: Settings, host: Host) -> Iterator[Row]:
    """Every row, as soon as it is known."""
    named = settings
    if settings.updates.uri is not None:
        from edge.app import updating

        settings = updating.current(settings)
    yield packages.python(host)
    yield from packages.installed(settings, host)
    broken: set[str] = set()
    yield from packages.engines(settings, host, broken)
    yield from boards.rows(host)
    yield from boards.memory(settings, host)
    if "numpy" in broken:
        yield from (skip(part, "numpy does not load") for part in NEED_NUMPY)
    else:
        from edge.tools.doctor import runs

        yield from runs.rows(settings, host, broken, named)
    yield from storage.rows(settings, host)
    yield boards.clock(host)
