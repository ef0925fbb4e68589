"""What docs/DRIFT.md asks people to type shows what it says."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from support.processes import BINARIES

PAGE = (Path(__file__).parents[2] / "docs" / "DRIFT.md").read_text()


@pytest.mark.long  # 24 windows of a second have to be learnt
def test_the_stream_that_drifts_on_purpose_is_told(tmp_path):
    demo = re.search(r"<!-- test: drift -->\n```sh\n(.*?)```", PAGE, re.DOTALL)[1]
    environ = os.environ | {"PATH": f"{BINARIES}:{os.environ['PATH']}", "XDG_STATE_HOME": str(tmp_path)}

    done = subprocess.run(["bash", "-ec", demo], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert re.search(r"drift is judged from now on  windows=24", done.stderr)
    (alarm,) = re.findall(r"warning drift .*features=(.*)", done.stderr)
    assert "temperature place up" in alarm
    assert "class share" in alarm

    trial = re.search(r"<!-- test: trial -->\n```sh\n(.*?)```", PAGE, re.DOTALL)[1]
    done = subprocess.run(
        ["bash", "-ec", trial], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    (told,) = re.findall(r"info    trial  model=plant  version=2  verdict=(\w+)", done.stderr)
    assert told in ("equal", "worse")  # by how long the two take on a machine that has other work, too
