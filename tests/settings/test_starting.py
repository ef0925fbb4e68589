"""A Ctrl-C while a command imports what it needs: the first second of most."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.cli.starting import PLACES

BINARIES = Path(sys.executable).parent
INTERRUPTED = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nraise ImportError('it went on')\n"


@pytest.mark.parametrize("name", PLACES)
def test_a_ctrl_c_during_the_imports_is_an_end_in_order(name, tmp_path):
    (tmp_path / "msgspec.py").write_text(INTERRUPTED)  # each of them imports it
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ended = subprocess.run([BINARIES / name, "--help"], env=environ, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", f"{name}: interrupted\n")


@pytest.mark.parametrize("name", PLACES)
def test_a_command_in_the_background_of_a_script_does_not_hear_the_scripts_ctrl_c(name, tmp_path):
    (tmp_path / "msgspec.py").write_text(INTERRUPTED)
    script = f'trap "" INT; exec {BINARIES / name} --help'
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ended = subprocess.run(["sh", "-c", script], env=environ, capture_output=True, text=True, check=False)
    assert ended.stderr.endswith("ImportError: it went on\n")
