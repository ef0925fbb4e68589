"""How a command ends that prints for people."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

from edge.errors import printable
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


def failed(name: str, what: object, code: int) -> int:
    """Says in one line why a command ends, of which a terminal obeys nothing, whoever named it. Its exit code."""
    sys.stderr.write(printable(f"{name}: error: {what}".replace("\n", " ")) + "\n")
    return code


class _Signalled(BaseException):
    """As Ctrl-C is a KeyboardInterrupt. `args` holds the exit code."""


def _signalled(number: int, _frame: object) -> None:
    raise _Signalled(128 + number)


def main(command: Callable[[], int], interrupted: str) -> None:
    """The whole process. SIGTERM is an exception, too, and SIGHUP without `nohup`: what is half written is removed on
    its way up, and other processes end. `interrupted` is said then and after Ctrl-C; the exit code is 128 and the
    signal's number, 130 after Ctrl-C."""
    ending.listen(_signalled, ending.ALL - {signal.SIGINT})
    said = interrupted
    try:
        code, said = printing(command), ""
    except KeyboardInterrupt:
        code = 130
    except _Signalled as exc:
        (code,) = exc.args
    if said:
        with suppress(OSError):  # after SIGHUP the terminal may be away
            sys.stderr.write(f"{said}\n")
    gc.freeze()  # else all modules are looked through once more: 0.04 s with numpy and pyarrow
    sys.exit(code)
