"""A process of its own for what may take long, or die: its memory goes back, its death is but an answer."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Sequence

POLL_S = 0.2


def run(
    command: Sequence[str],
    given: bytes,
    most_s: float,
    leaving: threading.Event,
    look: Callable[[], None] = lambda: None,
) -> tuple[bytes, str]:
    """What a process answers to what it is `given`, and how it ended. It is ended where the service is `leaving`, or
    after `most_s`. `look` is called now and then while it works."""
    ends_s = time.monotonic() + most_s
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        out, rest = b"", given
        while True:
            try:
                out, _ = child.communicate(rest or None, timeout=POLL_S)
                break
            except subprocess.TimeoutExpired:
                rest = b""
            if leaving.is_set() or time.monotonic() > ends_s:
                child.kill()
            look()
    return out, f"exit {child.returncode}" if child.returncode >= 0 else f"signal {-child.returncode}"
