"""The machine as the doctor sees it. Tests lay one of their own: every outside thing is a field here."""

from __future__ import annotations

import importlib.util
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from edge.telemetry.board import Board, pointer_bits
from edge.telemetry.clock import kernel_status


def installed_version(distribution: str) -> str | None:
    """None where it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def importable(module: str) -> bool:
    """Whether it is there, whatever brought it: pip, or a package of the system. Nothing is imported."""
    return importlib.util.find_spec(module.partition(".")[0]) is not None


@dataclass(frozen=True, slots=True)
class Host:
    """`root` holds /proc and /sys; `environ` is what child processes and tools get, PATH and PYTHONPATH among it.

    `perf_ns` measures latency; `kernel_clock` is what `adjtimex` says.
    """

    root: Path = Path("/")
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    machine: str = field(default_factory=platform.machine)
    bits: int = field(default_factory=pointer_bits)
    version: Callable[[str], str | None] = installed_version
    importable: Callable[[str], bool] = importable
    perf_ns: Callable[[], int] = time.perf_counter_ns
    kernel_clock: Callable[[], tuple[int, int] | None] = kernel_status

    @property
    def board(self) -> Board:
        return Board(self.root, self.environ.get("PATH", os.defpath))

    def text(self, name: str) -> str:
        """A file's text below the root; "" where it cannot be read."""
        return self.board.text(name)
