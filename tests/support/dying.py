"""A process that dies while it works on inputs, as far as its marks tell."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LIFE = """
import ctypes, os, signal, sys, threading, time
from pathlib import Path
from edge.storage import death_cause
from edge.storage.crash_marks import CrashMarks
state, name, volatile, dies, works, vmstat, *digests = sys.argv[1:]
if vmstat:
    death_cause.VMSTAT = Path(vmstat)
volatile = Path(volatile) if volatile else None
marks = CrashMarks(Path(state), name, volatile, works=works or None, workers=["<string>"], model="one")
marks.open()
slot = marks.slot()
for together in digests:
    slot.mark(*[bytes.fromhex(digest) for digest in together.split(",") if digest])

def in_thread(*target):
    threading.Thread(target=target[0], args=target[1:]).start()
    time.sleep(60)

def in_native_thread():
    abort = ctypes.cast(libc.abort, ctypes.c_void_p)
    libc.pthread_create(ctypes.byref(ctypes.c_ulong()), None, abort, None)
    time.sleep(60)

libc = ctypes.CDLL(None)
{
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda: in_thread(lambda: ctypes.string_at(0)),
    "abort": lambda: in_thread(lambda: libc.abort()),
    "abort elsewhere": lambda: in_thread(libc.abort),
    "abort in a native thread": in_native_thread,
}[dies]()
"""


def die(
    state: Path,
    name: str,
    *together: tuple[bytes, ...],
    volatile: Path | None = None,
    dies: str = "kill",
    works: str = "",
    vmstat: Path | None = None,
) -> int:
    """One life, and what it exits with. Each of `together` are the digests that it began with at once; the last were
    under way when it `dies`. `works` as of `CrashMarks`; `vmstat` takes the place of the kernel's."""
    words = [",".join(digest.hex() for digest in digests) for digests in together]
    command = [sys.executable, "-c", LIFE, state, name, volatile or "", dies, works, vmstat or "", *words]
    done = subprocess.run([str(word) for word in command], check=False)
    assert done.returncode < 0
    return done.returncode
