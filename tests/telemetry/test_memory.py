"""What a process keeps of the memory that it freed."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """import resource, sys
from edge.telemetry import memory
if sys.argv[1] == "kept":
    memory.keep_freed()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    some = [b"x" * 3_000_000 for _ in range(4)]
    del some
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def cleared(how):
    """Pages that the kernel had to clear anew."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library keeps what it likes")
def test_what_is_taken_and_freed_over_and_over_is_cleared_once():
    pages = 4 * 3_000_000 // 4096
    assert cleared("kept") < 3 * pages < cleared("given back")
