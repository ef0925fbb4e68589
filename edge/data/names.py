"""Names that may stand in a topic."""

from __future__ import annotations

import re

DISCOVERY = "homeassistant"
"""What Home Assistant's own discovery topics begin with, where nobody has told it otherwise."""


TOPIC_BYTES = 65_535


def no_topic(topic: str) -> str:
    """Why nothing can be published on a topic, whatever the broker; "" where it can. Some brokers end the connection of
    a client that tries."""
    if any(c in topic for c in "+#") or not topic.isprintable():
        return "+, # and what cannot be seen belong in no topic that is published on"
    if not topic or len(topic.encode()) > TOPIC_BYTES:
        return "a topic has 1 to 65,535 bytes"
    return ""


def topic_part(name: str) -> str:
    """`[A-Za-z0-9_-]`; anything else becomes "-"."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", name) or "-"
