"""The clock: a Raspberry Pi before the 5 has no battery for one, so without a network its time is yesterday's."""

from __future__ import annotations

from edge.telemetry.clock import ClockSync
from edge.tools.doctor.host import Host
from edge.tools.doctor.row import Row, ok, warn


def clock(host: Host) -> Row:
    """Whether the kernel calls its clock synchronised."""
    if ClockSync(ask=host.kernel_clock)():
        return ok("clock", "synchronised")
    text = "not synchronised: results say so (clock_synced), their times may be wrong"
    return warn("clock", text, "sudo timedatectl set-ntp true; without a network a clock with a battery")
