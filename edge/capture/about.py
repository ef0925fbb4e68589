"""What a folder of kept samples says of all of them: the task, and the labels in class order."""

from __future__ import annotations

import msgspec

ANOMALY = ("normal", "anomaly")
"""What the two answers of a model that tells anomalies are called."""


class About(msgspec.Struct, frozen=True):
    """The content of `about.json`."""

    task: str = "raw"
    labels: tuple[str, ...] = ()
    schema: int = 1

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes, each once."""
        return ANOMALY if self.task == "anomaly" else tuple(dict.fromkeys(self.labels))
