"""The topics of one service, each named in this file only."""

from __future__ import annotations

import msgspec

from edge.data.names import DISCOVERY

OUTPUTS = ("result", "error", "answer", "status", "info", "stats", "mask", "image", "update", "drift", "trial")
"""Last parts of the topics on which a service publishes."""


class Topics(msgspec.Struct, frozen=True):
    """Below `base`: prefix, device and model."""

    base: str

    @property
    def input(self) -> str:
        return f"{self.base}/input"

    @property
    def result(self) -> str:
        return f"{self.base}/result"

    @property
    def error(self) -> str:
        return f"{self.base}/error"

    @property
    def status(self) -> str:
        return f"{self.base}/status"

    @property
    def info(self) -> str:
        return f"{self.base}/info"

    @property
    def stats(self) -> str:
        return f"{self.base}/stats"

    @property
    def mask(self) -> str:
        return f"{self.base}/mask"

    @property
    def image(self) -> str:
        return f"{self.base}/image"

    @property
    def all(self) -> str:
        """A filter of all of them."""
        return f"{self.base}/#"


class ReplyFence(msgspec.Struct, frozen=True):
    """Where no reply may go: an asker names its Response Topic freely, and would speak there with our rights.

    `discovery`: prefixes under which Home Assistant is told of devices.
    """

    base: str
    discovery: tuple[str, ...] = (DISCOVERY,)

    def reason(self, topic: str) -> str | None:
        """Whose the topic is; None where a reply may go there."""
        if topic.startswith("$"):
            return "it is the broker's own"
        if any(topic == prefix or topic.startswith(f"{prefix}/") for prefix in self.discovery):
            return "Home Assistant is told of devices there"
        if any(topic == own or topic.startswith(f"{own}/") for own in self._own()):
            return "it is this service's own"
        prefix = self.base.rsplit("/", 2)[0]
        parts = topic.removeprefix(f"{prefix}/").split("/")
        if topic.startswith(f"{prefix}/") and len(parts) == 3 and parts[2] in ("input", "status"):
            return "it is another service's"
        return None

    def _own(self) -> list[str]:
        return [f"{self.base}/{name}" for name in ("input", *OUTPUTS)]
