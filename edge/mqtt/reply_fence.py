"""Where replies may go: an asker names its Response Topic freely, and would speak there with our rights."""

from __future__ import annotations

import msgspec

from edge.data.names import DISCOVERY
from edge.mqtt.topics import ASKED, OUTPUTS


class ReplyFence(msgspec.Struct, frozen=True):
    """Around the topics of this service and of other systems; with `allowed`, topic filters, around all but those.

    `base` is what the service's topics begin with; `discovery`: prefixes under which Home Assistant is told of devices.
    """

    base: str
    discovery: tuple[str, ...] = (DISCOVERY,)
    allowed: tuple[str, ...] = ()

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
        if topic.startswith(f"{prefix}/") and len(parts) == 3 and parts[2] in ("input", "set", "status"):
            return "it is another service's"
        return self._not_allowed(topic) if self.allowed else None

    def _not_allowed(self, topic: str) -> str | None:
        from edge.mqtt.connection import Connection  # brings paho, which the session loads in its own way

        if any(Connection.matches(allowed, topic) for allowed in self.allowed):
            return None
        return f"--reply-topics allows {', '.join(self.allowed)}"

    def _own(self) -> list[str]:
        return [f"{self.base}/{name}" for name in ("input", *ASKED, *OUTPUTS)]
