"""The clock: a Raspberry Pi before the 5 has no battery for one, so without a network its time is yesterday's."""

from __future__ import annotations

from edge.doctor.host import Host
from edge.doctor.row import Row, ok, warn
from edge.telemetry.clock import ClockSync


def clock(host: Host) -> Row:
    """Whether the kernel calls its clock synchronised."""
    if ClockSync(ask=host.kernel_clock)():
        return ok("clock", "synchronised")
    text = "not synchronised: results say so (clock_synced), their times may be wrong"
    return warn("clock", text, "sudo timedatectl set-ntp true; without a network a clock with a battery")
