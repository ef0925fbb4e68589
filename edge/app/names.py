"""What runs without a `name` were called when their model could be read last, in a file.

One whose model cannot be read is known by its topics all the same: what the broker still sends for it is kept, and that
it is `offline` is told where it is looked for.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from edge.storage import state_file

log = logging.getLogger("edge.app.service")


class Names:
    """By the model's file. Of the main thread."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known = state_file.read(file, dict[str, str]) or {}

    def of(self, model: Path) -> str | None:
        """None: it was never read without a `name`."""
        return self._known.get(str(model.resolve()))

    def remember(self, named: Mapping[Path, str]) -> None:
        """These were read. Where it cannot be written that is told in the log."""
        known = {**self._known, **{str(model.resolve()): name for model, name in named.items()}}
        if known != self._known:
            self._known = known
            state_file.write(self._file, known, log, "what runs are called is not remembered")
