"""How a command ends that prints for people."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable


def printing(command: Callable[[], int]) -> int:
    """Runs it; its exit code. A reader that leaves early (`| head`) is no error."""
    try:
        code = command()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def main(command: Callable[[], int], interrupted: str) -> None:
    """The whole process. SIGTERM is an exception, too: what is half written is removed on its way up, and other
    processes end. `interrupted` is said after Ctrl-C, where the exit code is 130."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        code = printing(command)
    except KeyboardInterrupt:
        sys.stderr.write(f"{interrupted}\n")
        code = 130
    sys.exit(code)
