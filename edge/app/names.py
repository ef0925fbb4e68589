"""What runs without a `name` were called when their model could be read last, in a file.

One whose model cannot be read is known by its topics all the same: what the broker still sends for it is kept, and that
it is `offline` is told where it is looked for.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import msgspec

from edge.storage import atomic
from edge.storage.lock import make_folder

log = logging.getLogger("edge.app.service")


class Names:
    """By the model's file. Of the main thread."""

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            self._known = msgspec.json.decode(file.read_bytes(), type=dict[str, str])
        except (OSError, msgspec.DecodeError):
            self._known = {}

    def of(self, model: Path) -> str | None:
        """None: it was never read without a `name`."""
        return self._known.get(str(model.resolve()))

    def remember(self, named: Mapping[Path, str]) -> None:
        """These were read. Where it cannot be written that is told in the log."""
        known = {**self._known, **{str(model.resolve()): name for model, name in named.items()}}
        if known == self._known:
            return
        self._known = known
        try:
            make_folder(self._file.parent)
            atomic.write(self._file, msgspec.json.encode(known))
        except OSError as exc:
            log.info("what runs are called is not remembered", extra={"reason": str(exc)})
