"""The commands whose imports take a second, as processes of their own: a Ctrl-C meanwhile ends them as one does later.
Nothing heavy is imported here. `edge-run` has a start of its own."""

from __future__ import annotations

import importlib
import os
import signal

TYPE_CHECKING = False  # not typing's: it takes longer to import than all of this
if TYPE_CHECKING:
    from collections.abc import Mapping

PLACES: Mapping[str, tuple[str, str]] = {
    "edge-bench": ("edge.cli.bench", "main"),
    "edge-convert": ("converter.cli", "process"),  # by its name alone: the runtime knows nothing of the converter
    "edge-fleet": ("edge.cli.fleet", "main"),
    "edge-score": ("edge.cli.score", "main"),
}
"""The module of each command, and its function that is the whole process."""


def bench() -> None:
    _start("edge-bench")


def convert() -> None:
    _start("edge-convert")


def fleet() -> None:
    _start("edge-fleet")


def score() -> None:
    _start("edge-score")


def _start(name: str) -> None:
    """Nothing has begun while it imports: there is nothing to be put in order."""

    def leave(number: int, frame: object) -> None:
        # Not an exception: a library whose import it interrupts may turn it into one of its own.
        try:
            os.write(2, f"{name}: interrupted\n".encode())
        finally:
            os._exit(130)

    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler:  # else a script has it ignored, for a command in the background
        signal.signal(signal.SIGINT, leave)
    module, function = PLACES[name]
    process = getattr(importlib.import_module(module), function)
    signal.signal(signal.SIGINT, usual)
    process()
