"""MediaPipe's .task bundles: zip archives that hold the .tflite files of one or more models."""

from __future__ import annotations

import zipfile
from pathlib import Path


def contents(path: Path) -> list[str]:
    """The .tflite files of an archive; empty where it holds none or is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [n for n in archive.namelist()[:100] if n.endswith(".tflite")]
    except (zipfile.BadZipFile, OSError, ValueError):
        return []
