"""What the board says of itself: model, temperature, under-voltage and throttling."""

from __future__ import annotations

import platform
import struct
import subprocess
from pathlib import Path

MODEL = Path("/proc/device-tree/model")
THERMAL = Path("/sys/class/thermal/thermal_zone0/temp")
THROTTLED = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")

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


def model() -> str:
    """`Raspberry Pi 5 Model B Rev 1.0`, or the machine's architecture where it is none."""
    try:
        return MODEL.read_text(errors="replace").strip("\0\n ")
    except OSError:
        return f"{platform.machine()} {platform.system()}"


def pointer_bits() -> int:
    """32 or 64: of the running Python."""
    return struct.calcsize("P") * 8


def temperature_celsius() -> float | None:
    """Of the processor; None where the board does not tell."""
    try:
        return int(THERMAL.read_text()) / 1000
    except (OSError, ValueError):
        return None


def throttled() -> int | None:
    """The firmware's bits (`BITS`), or None where there is no such firmware.

    The tool comes first: some kernels show 0 in sysfs whatever happens.
    """
    try:
        said = subprocess.run(["vcgencmd", "get_throttled"], capture_output=True, text=True, timeout=2, check=True)
        return int(said.stdout.strip().partition("=")[2], 16)
    except (OSError, ValueError, subprocess.SubprocessError):
        pass  # no such tool, or no right to use it: sysfs may know
    try:
        return int(THROTTLED.read_text().strip(), 16)
    except (OSError, ValueError):
        return None


def problems(bits: int) -> list[str]:
    """The bits in words."""
    return [text for bit, text in BITS.items() if bits & 1 << bit]
