"""Videos to read, made by ffmpeg."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def film(tmp_path) -> Callable[..., Path]:
    """A test picture that moves, 30 pictures of 64 x 48, in the container and codec of the name's suffix."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg on this machine: apt-get install ffmpeg")

    def make(name: str, *options: str) -> Path:
        path = tmp_path / name
        source = ["-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=3", "-pix_fmt", "yuv420p"]
        subprocess.run(["ffmpeg", "-v", "error", "-y", *source, *options, str(path)], check=True, timeout=150)
        return path

    return make
