"""How much memory there is for one thing more."""

from __future__ import annotations

import contextlib
import ctypes
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path("/")
KEPT = 64 * 2**20
"""Bytes that a process keeps at most of what it freed, where it keeps them."""
SINGLE = 4 * 2**20
"""What is as large is taken from the system by itself, and given back."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Of <malloc.h>."""


def available(root: Path = ROOT) -> int | None:
    """Bytes that may be taken before the system, the control group or the process's own limit says no; None where
    nothing is known. `root` is where /proc and /sys lie."""
    limits = [*_system(root), *_groups(root), *_own(root)]
    return max(0, min(limits)) if limits else None


def _system(root: Path) -> Iterator[int]:
    for line in _text(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024


class _Version(NamedTuple):
    """Where a version of control groups keeps what."""

    mount: str
    most: str
    used: str
    cache: str


_V2 = _Version("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file ")
_V1 = _Version("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ")


def _groups(root: Path) -> Iterator[int]:
    """What each control group from the process's own up to the root's has left."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, controllers, name = line.split(":", 2)
        version = _V2 if number == "0" else _V1
        if version is _V1 and "memory" not in controllers.split(","):
            continue
        mount = root / version.mount
        folder = mount / name.strip().lstrip("/")
        for group in (folder, *folder.parents):
            most, used = _text(group / version.most).strip(), _text(group / version.used).strip()
            if most.isdigit() and used.isdigit():
                yield int(most) - int(used) + _cache(group, version)
            if group == mount:
                break


def _cache(group: Path, version: _Version) -> int:
    """Of what a group uses: pages of files, which the system takes back where it has to."""
    for line in _text(group / "memory.stat").splitlines():
        if line.startswith(version.cache):
            return int(line.split()[1])
    return 0


def _own(root: Path) -> Iterator[int]:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    pages = _text(root / "proc/self/statm").split()
    if limit != resource.RLIM_INFINITY and pages:
        yield limit - int(pages[0]) * resource.getpagesize()


def _text(path: Path) -> str:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="ascii")
    return ""


def give_back() -> None:
    """What was freed goes back to the system, as far as the C library does that: glibc's would keep it, and the process
    would look as if it held two models. From any thread; takes milliseconds, without the interpreter's lock."""
    with contextlib.suppress(OSError, AttributeError):  # of another C library
        ctypes.CDLL(None).malloc_trim(0)


def keep_freed() -> None:
    """Some megabytes that are taken and freed over and over stay with the process, where the C library is glibc: it
    would give them back each time, and the kernel clears each page anew. For what goes through much data; from any
    thread."""
    with contextlib.suppress(OSError, AttributeError):  # of another C library
        library = ctypes.CDLL(None)
        library.mallopt(_M_TRIM_THRESHOLD, KEPT)
        library.mallopt(_M_MMAP_THRESHOLD, SINGLE)
