"""How a command ends that prints for people."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable

from edge.runtime import ending


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
    """The whole process. SIGTERM is an exception, too, and SIGHUP without `nohup`: what is half written is removed on
    its way up, and other processes end. `interrupted` is said after Ctrl-C, where the exit code is 130."""
    ending.listen(lambda number, _: sys.exit(128 + number), ending.ALL - {signal.SIGINT})
    try:
        code = printing(command)
    except KeyboardInterrupt:
        sys.stderr.write(f"{interrupted}\n")
        code = 130
    gc.freeze()  # else all modules are looked through once more: 0.04 s with numpy and pyarrow
    sys.exit(code)
