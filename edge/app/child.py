"""A process of its own for what may take long, or die: its memory goes back, its death is but an answer."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence

POLL_S = 0.2
GRACE_S = 2.0
"""For what it tidies up behind itself, once it is to end."""


def run(
    command: Sequence[str],
    given: bytes,
    most_s: float,
    over: Callable[[], bool],
    look: Callable[[], None] = lambda: None,
) -> tuple[bytes, str]:
    """What a process answers to what it is `given`, and how it ended. It is ended where `over` says that nobody waits
    for it, or after `most_s`. `look` is called now and then while it works."""
    began_s, told_s = time.monotonic(), 0.0
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        out, rest, late = b"", given, False
        while True:
            try:
                out, _ = child.communicate(rest or None, timeout=POLL_S)
                break
            except subprocess.TimeoutExpired:
                rest = b""
            now_s = time.monotonic()
            if told_s:
                if now_s - told_s > GRACE_S:
                    child.kill()
            elif (late := now_s - began_s > most_s) or over():
                child.terminate()
                told_s = now_s
            look()
    if late:
        return out, f"it did not end within {most_s:.0f} s"
    return out, f"exit {child.returncode}" if child.returncode >= 0 else f"signal {-child.returncode}"
