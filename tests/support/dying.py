"""A process that is killed while it works on inputs, as far as its marks tell."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LIFE = """
import os, signal, sys
from pathlib import Path
from edge.storage.crash_marks import CrashMarks
state, name, volatile, *digests = sys.argv[1:]
marks = CrashMarks(Path(state), name, Path(volatile) if volatile else None)
marks.open()
slot = marks.slot()
for together in digests:
    slot.begin(*[bytes.fromhex(digest) for digest in together.split(",") if digest])
os.kill(os.getpid(), signal.SIGKILL)
"""


def die(state: Path, name: str, *together: tuple[bytes, ...], volatile: Path | None = None) -> None:
    """One life, killed. Each of `together` are the digests that it began with at once; the last were under way."""
    words = [",".join(digest.hex() for digest in digests) for digests in together]
    command = [sys.executable, "-c", LIFE, state, name, volatile or "", *words]
    done = subprocess.run([str(word) for word in command], check=False)
    assert done.returncode == -9
