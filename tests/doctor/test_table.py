"""How the doctor speaks: to people, to grep, to programs."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess

import pytest
from support.processes import BINARIES

from edge.tools import doctor
from edge.tools.doctor import table
from edge.tools.doctor.row import fail, ok, skip, warn

ROWS = [
    ok("python", "3.11.2, aarch64, 64-bit"),
    warn("power", "under-voltage now", "the board's own power supply, and a short, thick cable, not a phone's charger"),
    fail("model", "digits.onnx: there is no such file", "check --model", 3),
    skip("golden", "there is no model to try"),
    fail("state", "/s is not a folder", "say --state-dir", 4),
]


def test_columns_are_aligned_and_a_fix_stands_below_its_problem():
    text = "".join(table.line(r, table.Style()) for r in ROWS)
    assert text.splitlines() == [
        "ok    python       3.11.2, aarch64, 64-bit",
        "warn  power        under-voltage now",
        "                   fix: the board's own power supply, and a short, thick cable, not a phone's charger",
        "fail  model        digits.onnx: there is no such file",
        "                   fix: check --model",
        "skip  golden       there is no model to try",
        "fail  state        /s is not a folder",
        "                   fix: say --state-dir",
    ]


def test_on_a_narrow_terminal_long_lines_are_folded_below_themselves():
    lines = table.line(ROWS[1], table.Style(60)).splitlines()
    assert max(map(len, lines)) <= 60
    assert len(lines) > 2
    assert lines[2].startswith(" " * 24)


def test_the_exit_code_is_the_first_failing_parts():
    assert table.exit_code(ROWS) == 3
    assert table.exit_code(ROWS[:2]) == 0


def test_json_says_the_same(pi):
    pi.says(0x10000)
    out = io.StringIO()
    code = doctor.examine(pi.settings(), pi.host, out, as_json=True)
    said = json.loads(out.getvalue())
    rows = {r["part"]: r for r in said["rows"]}
    assert (said["schema"], said["exit_code"], code) == (1, 0, 0)
    assert rows["power"]["verdict"] == "warn"
    assert rows["power"]["facts"]["bits"] == 0x10000
    assert rows["power"]["fix"]
    assert rows["temperature"]["facts"] == {"celsius": 48.2}


@pytest.mark.parametrize(
    ("more", "coloured"),
    [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_colours_are_for_terminals_that_want_them(tmp_path, more, coloured):
    ours, theirs = pty.openpty()
    env = {
        **{k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TERM")},
        "XDG_STATE_HOME": str(tmp_path),
        **more,
    }
    command = [str(BINARIES / "edge-run"), "--model", "none.onnx", "--mqtt", "none", "--source", "-", "--check"]
    done = subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL, env=env, cwd=tmp_path)
    os.close(theirs)
    said = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # the terminal's other end is closed
            break
        said += piece
    os.close(ours)
    assert done.wait(150) == 3
    assert (b"\x1b[" in said) is coloured
    assert b"fail" in said


def test_json_without_check_is_refused(tmp_path):
    done = subprocess.run([str(BINARIES / "edge-run"), "--model", "m.onnx", "--json"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "--check --json" in done.stderr
