"""docs/SCORE.md, as it is typed."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from support.processes import BINARIES

PAGE = (Path(__file__).parents[2] / "docs" / "SCORE.md").read_text()


def block(name):
    return re.search(rf"<!-- test: {name} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)[1]


@pytest.fixture
def folder(flowers, tmp_path):
    (tmp_path / "archive").mkdir()
    rows = pd.DataFrame(flowers.rows).assign(id=range(150))
    rows.to_parquet(tmp_path / "archive" / "2026.parquet")
    (tmp_path / "flowers.onnx").write_bytes(flowers.path.read_bytes())
    return tmp_path


def test_the_page_is_typed_as_it_stands(folder):
    path = f"{BINARIES}{os.pathsep}{os.environ['PATH']}"

    def typed(*command):
        done = subprocess.run(command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    first = typed("bash", "-c", block("first"))
    shown = re.search(r"<!-- test: first -->.*?```\n\n```\n(.*?)```", PAGE, re.DOTALL)[1]
    assert re.sub(r"in \d+ s, [\d,]+ rows", "", first) == re.sub(r"in \d+ s, [\d,]+ rows", "", shown)
    assert "it was done already" in typed("bash", "-c", block("resume"))
    assert typed("python", "-c", block("python")) == "['id', 'label', 'index', 'score', 'error']\n"
