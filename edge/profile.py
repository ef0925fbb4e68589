"""What `edge-bench --tune` found best for a model on this board, kept in the state folder for `edge-run`.

A file for each model, `profiles/<the model's sha256>.json`. It counts only where the engine, its version and the
processor are those it was measured with: an SD card that went into another board, or an upgrade, asks for a new one.
Losing it costs speed, never a result.
"""

from __future__ import annotations

from pathlib import Path

from edge.telemetry import board


def processor(root: Path = Path("/")) -> str:
    """The board, or the processor where it is no board, and how many cores this process may use."""
    here = board.Board(root)
    name = here.text(board.MODEL)
    if not name:
        said = (line.partition(":") for line in here.text("proc/cpuinfo").splitlines())
        name = next((value.strip() for key, _, value in said if key.strip() == "model name"), here.model())
    return f"{name}, {board.cores()} cores"
