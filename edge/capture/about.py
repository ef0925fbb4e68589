"""What a folder of kept samples says of all of them: the task, and the labels in class order."""

from __future__ import annotations

import msgspec


class About(msgspec.Struct, frozen=True):
    """The content of `about.json`."""

    task: str = "raw"
    labels: tuple[str, ...] = ()
    schema: int = 1
