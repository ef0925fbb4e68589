"""What the life before died of, where that can be told: of a fault in native code, or for want of memory.

Python's faulthandler writes the stack of each thread behind the marks at the moment of such a fault, and hands the
signal on: exit status and core dump are what they were. The thread that it calls the current one is the one at fault. A
signal from outside (`kill -ABRT`, systemd's watchdog) goes to the main thread, which works on no input; of a thread
that is none of Python's, such as an engine makes, there is no current one.

The kernel counts whom it killed for want of memory (`oom_kill` in /proc/vmstat), of the whole machine and of each
container and service with a limit. The process notes that count every `LOOK_S`: what it grew by since is its own death,
or one that came within those seconds of it, or before the next start.
"""

from __future__ import annotations

import faulthandler
import os
import re
from collections.abc import Sequence
from pathlib import Path

VMSTAT = Path("/proc/vmstat")
LOOK_S = 5.0
TEXT_MOST = 65_536
"""Bytes of a fault's text that are read."""
_CURRENT = re.compile(r"^Current thread .*\n((?:  .*\n?)*)", re.MULTILINE)
_HEAD = re.compile(r"^Fatal Python error: (.*)$", re.MULTILINE)
_FRAME = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+) in (?P<name>.*)$', re.MULTILINE)
_FRAMES_SAID = 3


class Fault:
    """What faulthandler wrote at the end of a life."""

    def __init__(self, text: str) -> None:
        head = _HEAD.search(text)
        current = _CURRENT.search(text)
        self.signal = head[1] if head is not None else "a fatal signal"
        self.native = current is None
        """Whether it was in a thread that is none of Python's."""
        self._frames = list(_FRAME.finditer(current[1])) if current is not None else []

    @property
    def place(self) -> str:
        """Where it was, the innermost call first."""
        frames = self._frames[:_FRAMES_SAID]
        said = [f"{frame['name']} ({'/'.join(Path(frame['file']).parts[-2:])}:{frame['line']})" for frame in frames]
        return " < ".join(said) or ("a thread of a native library" if self.native else "unknown")

    def within(self, files: Sequence[str]) -> bool:
        """Whether the thread at fault was in a call of one of these source files."""
        return any(frame["file"] in files for frame in self._frames)


def begin(file: Path, size: int) -> int | None:
    """From now on a fault is written behind the first `size` bytes of this file, and what stood there is gone. The
    descriptor for `end`; None where the application that edge-run is a part of has faulthandler for itself. Raises
    OSError."""
    fd = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
    os.ftruncate(fd, size)
    if faulthandler.is_enabled() and not os.environ.get("PYTHONFAULTHANDLER"):
        os.close(fd)
        return None
    faulthandler.enable(fd)
    return fd


def end(fd: int) -> None:
    """A fault is told to nobody any more."""
    faulthandler.disable()
    os.close(fd)


def fault(file: Path, size: int) -> Fault | None:
    """What stands behind the first `size` bytes; None where nothing does. Raises OSError."""
    with file.open("rb") as opened:
        opened.seek(size)
        text = opened.read(TEXT_MOST).decode("ascii", "replace")
    return Fault(text) if text else None


def memory_kills() -> int:
    """Processes that the kernel killed for want of memory since the machine started; 0 where it does not say."""
    try:
        found = re.search(rb"^oom_kill (\d+)$", VMSTAT.read_bytes(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found is not None else 0
