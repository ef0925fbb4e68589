"""Pages of docs/ are typed from top to bottom, each in the folder that `edge-run demo` leaves, as a reader would.

`docs/CONTRIBUTING.md` says which pages, and what of them is not run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.netcam import Netcam
from support.processes import BINARIES, PATIENCE_S
from support.reader import ROOT, Reader, commands

DOCS = ROOT / "docs"
WITH_THE_README = ("index", "convert", "run", "SCORE", "COMPARE")
"""`test_readme.py` types them; the first is how the README begins."""
TYPED = ("http", "runs", "speed", "SPARKPLUG", "TRACKING", "topics", "service", "sources", "home-assistant", "CAPTURE")


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> Path:
    """The folder that the README's first command leaves."""
    folder = tmp_path_factory.mktemp("source")
    environ = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
    subprocess.run([BINARIES / "edge-run", "demo"], cwd=folder, env=environ, check=True, timeout=PATIENCE_S * 3)
    return folder / "edge-demo"


@pytest.fixture(scope="session")
def camera(tmp_path_factory) -> Iterator[str]:
    """What stands in for cameras: Motion JPEG of the drawn street."""
    folder = tmp_path_factory.mktemp("camera")
    subprocess.run([BINARIES / "python", DOCS / "tools" / "street.py"], cwd=folder, check=True)
    part = b"--x\r\nContent-Type: image/jpeg\r\n\r\n" + (folder / "street.jpg").read_bytes() + b"\r\n"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=x\r\n\r\n"

    def answer(_request: str) -> Iterator[bytes]:
        yield head
        while True:
            yield part

    with Netcam(answer) as made:
        yield f"http://127.0.0.1:{made.port}/stream.mjpg"


@pytest.fixture
def reader(tmp_path, broker, demo, camera) -> Iterator[Reader]:
    made = Reader(tmp_path / "source", broker.port, camera)
    made.cwd = shutil.copytree(demo, tmp_path / "source" / "edge-demo")
    yield made
    made.close()


@pytest.mark.long  # some seconds each
@pytest.mark.usefixtures("curl_is_here")
@pytest.mark.parametrize("name", TYPED)
def test_a_page_can_be_typed_from_top_to_bottom(reader, name):
    lines = commands(DOCS / f"{name}.md")
    assert lines
    for typed in lines:
        reader.type(*typed)


def test_the_pages_that_nobody_types_are_told_with_the_reason():
    left = [page.name for page in DOCS.glob("*.md") if page.stem not in TYPED + WITH_THE_README and commands(page)]
    assert not left, "their blocks have neither a test nor a mark that says why: <!-- not run: ... -->"
    said = [
        f"| `{page.name}` | {reason} |"
        for page in DOCS.glob("*.md")
        for reason in re.findall(r"^<!-- not run: (.*) -->$", page.read_text(), re.MULTILINE)
    ]
    told = re.findall(r"^\| `[\w-]+\.md` \| .* \|$", (DOCS / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert set(told) == set(said)
