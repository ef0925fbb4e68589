"""What people see of a run: a line that is written over while it goes, and what was found at its end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping

from edge import progress as bars
from edge.score.summary import Summary

SHOWN = 8
EVERY_S = 0.1
DRIFTED = 0.25
"""A stability index above this is called a large drift by those who use it."""
ENOUGH = 200
"""Rows from which on it is told: without any drift it is (bins - 1) / rows in the mean, 0.05 for these."""


@contextlib.contextmanager
def progress(total: int, *, counted: bool) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal's stderr: share, rate and time left, of `total` rows, estimated unless `counted`. The
    function that it gives is told how many more rows are done."""
    begun, done, last = time.monotonic(), 0, 0.0
    with bars.line() as show:

        def tell(more: int) -> None:
            nonlocal done, last
            done += more
            if show is not None and time.monotonic() - last >= EVERY_S:
                last = time.monotonic()
                show(line(done, total, last - begun, counted=counted))

        yield tell


def line(done: int, total: int, seconds: float, *, counted: bool) -> str:
    """`█████░░░ 31 %, 310,000 of 1,000,000, 98,000 rows/s, 7 s left`."""
    share = min(1.0, done / max(1, total))
    share = share if counted else min(share, 0.99)
    rate = done / seconds if seconds > 0 else 0.0
    left = f", {_time(max(0.0, total - done) / rate)} left" if rate else ""
    about = "" if counted else "about "
    return f"{bars.bar(share)} {share:.0%}, {done:,} of {about}{total:,}, {rate:,.0f} rows/s{left}"


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def text(summary: Summary, drift: Mapping[str, float], seconds: float | None, *, batch: int) -> str:
    """What was found, for people."""
    skipped = sum(summary.skipped.values())
    rate = f" in {_time(seconds)}, {summary.rows / seconds:,.0f} rows/s" if seconds else ""
    lines = [f"{summary.rows:,} rows{rate}: {summary.results:,} results, {skipped:,} skipped"]
    counts = sorted(summary.skipped.items(), key=lambda item: -item[1])
    lines += [f"  skipped {count:>10,}  {reason}" for reason, count in counts[:SHOWN]]
    if len(counts) > SHOWN:
        lines.append(f"  and {len(counts) - SHOWN} more reasons, in the column error")
    total = max(1, sum(summary.classes.values()))
    classes = sorted(summary.classes.items(), key=lambda item: -item[1])
    lines += [f"  {count / total:>7.2%} {count:>10,}  {label}" for label, count in classes[:SHOWN]]
    if len(classes) > SHOWN:
        lines.append(f"  and {len(classes) - SHOWN} more classes")
    for name, n in [*summary.numbers.items()][:SHOWN]:
        lines.append(f"  {name}: {n.lowest:.6g} to {n.highest:.6g}, mean {n.total / max(1, n.count):.6g}")
    lines += _drift_lines(summary, drift)
    if summary.apart:
        lines.append(
            f"note: {batch} rows in one inference and a row alone differ by up to {summary.apart:.2g}: sums are added "
            "up in another order; --batch 1 gives what a device gives that has one row at a time"
        )
    return "\n".join(lines) + "\n"


def _drift_lines(summary: Summary, drift: Mapping[str, float]) -> list[str]:
    if not drift:
        return []
    if summary.compared < ENOUGH:
        return [f"drift: {summary.compared} of the {ENOUGH} rows that are needed to tell it"]
    far = sum(index > DRIFTED for index in drift.values())
    lines = [
        f"drift against the sample of the conversion ({summary.compared:,} rows looked at): "
        f"{far} of {len(drift)} features above {DRIFTED} (stability index; 0 is none)"
    ]
    return lines + [f"  {index:>7.3f}  {name}" for name, index in [*drift.items()][:5] if index > DRIFTED / 2]
