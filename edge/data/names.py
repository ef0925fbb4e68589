"""Names that may stand in a topic."""

from __future__ import annotations

import re

DISCOVERY = "homeassistant"
"""What Home Assistant's own discovery topics begin with, where nobody has told it otherwise."""


def topic_part(name: str) -> str:
    """`[A-Za-z0-9_-]`; anything else becomes "-"."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", name) or "-"
