"""Time: the system's clocks, and whether the kernel calls its clock synchronised."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edge.data.units import SECOND_NS

if TYPE_CHECKING:  # it brings numpy, which the doctor has not tried yet
    from edge.plugins.protocols import Clock

STA_UNSYNC = 0x0040
TIME_ERROR = 5
CACHED_NS = 5 * SECOND_NS
WAITED = Path("/proc/thread-self/schedstat")


class SystemClock:
    """The clock of `edge.plugins.protocols`, from the system."""

    monotonic_ns = staticmethod(time.monotonic_ns)
    """Nanoseconds that never jump."""

    time_ns = staticmethod(time.time_ns)
    """Nanoseconds since 1970, which may jump."""


def own_ns() -> int:
    """Nanoseconds that pass while the calling thread has a core, or waits for something else than one: what others on a
    busy machine take is left out where Linux counts it; else this is the time of a clock on the wall."""
    waited_ns, again_ns = -1, _waited_ns()
    while waited_ns != again_ns:  # a wait between the two clocks would stand in one of them alone
        waited_ns, now_ns, again_ns = again_ns, time.perf_counter_ns(), _waited_ns()
    return now_ns - waited_ns


def _waited_ns() -> int:
    """For a core, since the thread began; 0 where it is not counted."""
    try:
        return int(WAITED.read_bytes().split()[1])  # between the time with a core, and how many turns
    except (OSError, IndexError, ValueError):
        return 0


class Timex(ctypes.Structure):
    """`struct timex` of Linux, whose members are C longs: 8 bytes wide on arm64 and amd64, 4 on 32-bit Arm.

    A 32-bit system with a 64-bit `time_t` has wider ones; there the answer's `status` would be read from the wrong
    place, so `kernel_status` does not ask where a C long is not 8 bytes wide.
    """

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time_s", ctypes.c_long),
        ("time_us", ctypes.c_long),
        ("tick", ctypes.c_long),
        ("ppsfreq", ctypes.c_long),
        ("jitter", ctypes.c_long),
        ("shift", ctypes.c_int),
        ("stabil", ctypes.c_long),
        ("jitcnt", ctypes.c_long),
        ("calcnt", ctypes.c_long),
        ("errcnt", ctypes.c_long),
        ("stbcnt", ctypes.c_long),
        ("tai", ctypes.c_int),
        ("reserved", ctypes.c_int * 11),
    )


def kernel_status() -> tuple[int, int] | None:
    """What `adjtimex` returns and the `status` it fills in; None where it cannot be asked."""
    if ctypes.sizeof(ctypes.c_long) != 8:
        return None
    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return None
    adjtimex.argtypes = (ctypes.POINTER(Timex),)
    adjtimex.restype = ctypes.c_int
    timex = Timex()  # modes 0: only ask
    state = adjtimex(ctypes.byref(timex))
    return None if state < 0 else (state, timex.status)


class ClockSync:
    """`clock_synced` of a result: asks the kernel now and then. From any thread."""

    def __init__(self, clock: Clock | None = None, ask: Callable[[], tuple[int, int] | None] = kernel_status) -> None:
        self._clock = clock or SystemClock()
        self._ask = ask
        self._lock = threading.Lock()
        self._asked_ns: int | None = None
        self._synced = False

    def __call__(self) -> bool:
        """True where the kernel's clock is disciplined, as of the last few seconds; False where it cannot be known."""
        now = self._clock.monotonic_ns()
        with self._lock:
            if self._asked_ns is None or now - self._asked_ns >= CACHED_NS:
                self._asked_ns = now
                answer = self._ask()
                self._synced = answer is not None and answer[0] != TIME_ERROR and not answer[1] & STA_UNSYNC
            return self._synced


clock_synced = ClockSync()
