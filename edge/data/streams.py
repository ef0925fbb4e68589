"""Which samples follow one another, and how fast where nothing tells it."""

from __future__ import annotations

RATE = 30
"""Pictures a second of a recording that does not tell its times."""


def stream_of(source: str) -> str:
    """What tells the streams of a service apart: topics are sensors of their own; files of a folder, rows of a file and
    frames of a camera are one stream, ""."""
    return source if source.startswith("mqtt:") else ""
