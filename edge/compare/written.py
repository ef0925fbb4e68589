"""A comparison as the bytes of a file: JSON or a page, by its name."""

from __future__ import annotations

from pathlib import Path

from edge.compare.page import page
from edge.compare.report import Report, as_json
from edge.errors import ConfigError


def require_place(path: Path) -> None:
    """Raises ConfigError for a place, or a kind of file, that the report cannot be written to."""
    if path.suffix.lower() not in (".json", ".html"):
        raise ConfigError(f"--report {path.name}: a comparison is written as .json or .html")
    if not path.parent.is_dir():
        raise ConfigError(f"--report {path}: there is no folder {path.parent}; make it first")


def content(report: Report, path: Path) -> bytes:
    """What belongs into this file."""
    return page(report).encode() if path.suffix.lower() == ".html" else as_json(report)
