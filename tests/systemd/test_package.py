"""What the Debian package lays beside the wheel: its commands, and the template unit that `service install` writes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from edge.tools.systemd import unit

DEBIAN = Path(__file__).parents[2] / "deploy" / "debian"


@pytest.fixture
def tree(tmp_path) -> Path:
    subprocess.run([sys.executable, DEBIAN / "programs.py", tmp_path], check=True)
    return tmp_path


def test_every_command_of_the_wheel_is_a_program_with_a_page_of_the_manual(tree):
    names = {point.name for point in metadata.distribution("edge-run").entry_points.select(group="console_scripts")}
    programs = {path.name: path for path in (tree / "usr/bin").iterdir() if os.access(path, os.X_OK)}
    assert programs.keys() == names
    for name, path in programs.items():
        said = subprocess.run([sys.executable, path, "--version"], capture_output=True, text=True, check=True).stdout
        assert said.startswith(f"{name} ")
        assert f"debian/{name}.1\n" in (DEBIAN / "edge-run.manpages").read_text()
        assert (DEBIAN / f"{name}.1").exists()


def test_its_unit_is_the_one_that_install_writes(tree):
    packaged = (tree / "usr/lib/systemd/system/edge-run@.service").read_text()
    written = unit.template(unit.Program(("/usr/bin/edge-run",)), 257)
    first, *lines = packaged.splitlines()
    assert first.startswith("# Of the package edge-run.")
    assert [line for line in lines if line != "Documentation=man:edge-run(1)"] == written.splitlines()[1:]


def test_it_asks_for_what_the_wheel_asks_for():
    asked = {re.match(r"[\w-]+", line)[0] for line in metadata.requires("edge-run") if "extra ==" not in line}
    control = (DEBIAN / "control").read_text()
    assert {name for name in asked if f"python3-{name} (>= " not in control} == set()
