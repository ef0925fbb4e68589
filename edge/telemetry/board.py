"""What the board says of itself: model, temperature, under-voltage and throttling.

Where the files lie and which PATH tools are sought on are parameters: tests lay a board of their own.
"""

from __future__ import annotations

import os
import platform
import struct
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edge.telemetry.clock import SystemClock

if TYPE_CHECKING:  # the doctor reads the board before it trusts numpy to load
    from edge.plugins.protocols import Clock

MODEL = "proc/device-tree/model"
THERMAL = "sys/class/thermal"
# A Pi 5 calls the same device soc@107c000000:firmware: the driver's folder has it under any name.
THROTTLED = (
    "sys/devices/platform/soc/soc:firmware/get_throttled",
    "sys/bus/platform/drivers/raspberrypi-firmware/*/get_throttled",
)
VOLTAGE = "sys/class/hwmon"
CACHED_NS = 10_000_000_000
"""How old the firmware's word may be: asking costs a process, and its bits do not hurry."""

# Bits of `vcgencmd get_throttled`: 0 to 3 now, 16 to 19 since the start.
# https://www.raspberrypi.com/documentation/computers/os.html#get_throttled
BITS = {
    0: "under-voltage now",
    1: "frequency capped now",
    2: "throttled now",
    3: "soft temperature limit now",
    16: "under-voltage since the start",
    17: "frequency was capped since the start",
    18: "throttled since the start",
    19: "soft temperature limit since the start",
}
UNDER_VOLTAGE = 1 << 0 | 1 << 16


class Board(msgspec.Struct, frozen=True):
    """The board whose files lie below `root`; `path` is the PATH on which `vcgencmd` is sought (None: the process's).

    Each call asks anew.
    """

    root: Path = Path("/")
    path: str | None = None

    def model(self) -> str:
        """`Raspberry Pi 5 Model B Rev 1.0`, or the machine's architecture where it is none."""
        return self.text(MODEL) or f"{platform.machine()} {platform.system()}"

    def text(self, name: str) -> str:
        """A file's text below the root, without the zero byte of the device tree; "" where it cannot be read."""
        try:
            return (self.root / name).read_text(errors="replace").strip("\0\n ")
        except OSError:
            return ""

    def temperature_celsius(self) -> float | None:
        """Of the processor; None where the board does not tell."""
        zones = sorted((self.root / THERMAL).glob("thermal_zone*"))
        # A Pi 5 has zones for other chips too; elsewhere the first zone is as good a guess as there is.
        zones.sort(key=lambda zone: not self.text(str(zone.relative_to(self.root) / "type")).startswith("cpu"))
        for zone in zones:
            try:
                return int((zone / "temp").read_text()) / 1000
            except (OSError, ValueError):
                continue
        return None

    def throttled(self) -> int | None:
        """The firmware's bits (`BITS`), or None where there is no such firmware.

        The tool comes first: some kernels show 0 in sysfs whatever happens. It starts a process: see `Firmware`.
        """
        for ask in (self._ask_tool, self._ask_sysfs, self._ask_voltage):
            bits = ask()
            if bits is not None:
                return bits
        return None

    def _ask_tool(self) -> int | None:
        import shutil  # both once the service runs
        import subprocess

        tool = shutil.which("vcgencmd", path=self.path)
        if tool is None:
            return None

        try:
            process = subprocess.run([tool, "get_throttled"], capture_output=True, text=True, timeout=2, check=True)
            return int(process.stdout.strip().partition("=")[2], 16)
        except (OSError, ValueError, subprocess.SubprocessError):
            return None  # no right to use it: sysfs may know

    def _ask_sysfs(self) -> int | None:
        for pattern in THROTTLED:
            for file in sorted(self.root.glob(pattern)):
                try:
                    return int(file.read_text().strip(), 16)
                except (OSError, ValueError):
                    continue
        return None

    def _ask_voltage(self) -> int | None:
        """The kernel's under-voltage alarm, all that some kernels have.

        https://docs.kernel.org/hwmon/raspberrypi-hwmon.html
        """
        for folder in sorted((self.root / VOLTAGE).glob("hwmon*")):
            where = str(folder.relative_to(self.root))
            if self.text(f"{where}/name") == "rpi_volt":
                alarm = self.text(f"{where}/in0_lcrit_alarm")
                return int(alarm == "1") if alarm else None
        return None


class Firmware:
    """The firmware's bits, asked at most every ten seconds however often somebody wants them. From any thread."""

    def __init__(self, board: Board | None = None, clock: Clock | None = None) -> None:
        self._board = board or Board()
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._asked_ns: int | None = None
        self._bits: int | None = None

    def __call__(self) -> int | None:
        """As `Board.throttled`, up to ten seconds old."""
        with self._lock:
            now = self._clock.monotonic_ns()
            if self._asked_ns is None or now - self._asked_ns >= CACHED_NS:
                self._bits = self._board.throttled()
                self._asked_ns = now
            return self._bits


HERE = Board()
throttled = Firmware(HERE)


def temperature_celsius() -> float | None:
    """Of this board's processor; None where it does not tell."""
    return HERE.temperature_celsius()


def pointer_bits() -> int:
    """32 or 64: of the running Python."""
    return struct.calcsize("P") * 8


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def problems(bits: int) -> list[str]:
    """The bits in words."""
    return [text for bit, text in BITS.items() if bits & 1 << bit]
