"""Standard streams that are closed, full, or read by nobody."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess

import pytest
from support.processes import BINARIES, until


@pytest.fixture
def shell(tmp_path, flowers):
    """`edge-run` with the flowers, as a shell would start it; `$RUN` stands for it in the command."""

    def run(command: str) -> subprocess.CompletedProcess[bytes]:
        env = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
        env["RUN"] = f"{BINARIES / 'edge-run'} --model {flowers.path} --mqtt none"
        return subprocess.run(["sh", "-c", command], capture_output=True, env=env, cwd=tmp_path, timeout=150)

    return run


def test_a_closed_standard_output_is_none_of_the_sinks_business(shell, tmp_path):
    done = shell("$RUN --source synthetic:5 --sink file:out.jsonl --sink console >&-")
    assert done.returncode == 0, done.stderr.decode()
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 5


@pytest.mark.parametrize("given", ["- <&-", "- </dev/null", "empty.csv", "header.csv", "empty.jsonl"])
def test_a_source_that_holds_nothing_ended_in_error(shell, tmp_path, given):
    for name, text in (("empty.csv", ""), ("header.csv", "a,b,c,d\n"), ("empty.jsonl", "\n\n")):
        (tmp_path / name).write_text(text)
    done = shell(f"$RUN --source {given}")
    assert (done.returncode, done.stdout) == (5, b""), done.stderr.decode()
    assert b"there was nothing to read: it is empty, or holds a header alone" in done.stderr


def test_with_standard_error_closed_an_error_does_not_land_among_the_results(shell):
    done = shell("$RUN --source missing.csv 2>&-")
    assert (done.returncode, done.stdout) == (2, b"")


def test_the_spool_never_becomes_a_standard_stream(shell, tmp_path):
    """A closed descriptor would be the next file's number, and a library's warning would be written into it."""
    done = shell(
        "$RUN --source synthetic:200 --sink file:/dev/full --grace 0.1 --state-dir state 2>&- >&- & pid=$!;"
        " i=0; while [ ! -e state/*.spool ] && [ $i -lt 1500 ]; do sleep 0.1; i=$((i+1)); done;"
        " readlink /proc/$pid/fd/0 /proc/$pid/fd/1 /proc/$pid/fd/2; kill $pid; wait $pid"
    )
    assert done.stdout.split()[1:] == [b"/dev/null", b"/dev/null"]
    assert done.returncode == 0


def test_two_file_sinks_both_get_every_result(shell, tmp_path):
    done = shell("$RUN --source synthetic:5 --sink file:a.jsonl --sink file:b.jsonl")
    assert done.returncode == 0, done.stderr.decode()
    a, b = (
        [json.loads(line)["id"] for line in (tmp_path / f).read_text().splitlines()] for f in ("a.jsonl", "b.jsonl")
    )
    assert a == b
    assert len(a) == 5


@pytest.mark.long  # a watchdog's patience, six times
@pytest.mark.long  # the end gives a sink twelve seconds
def test_a_reader_that_stops_reading_is_noticed_and_does_not_hold_up_the_end(edge_run, flowers, tmp_path):
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(150)
    process = edge_run(
        *("--model", flowers.path, "--mqtt", "none", "--source", "synthetic:", "--grace", "0.1"),
        environ={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000"},
    )
    in_a_row = 0
    while in_a_row < 6:  # on a busy machine it is late for a moment at first, and others are, too
        heard = manager.recv(4096)
        in_a_row = in_a_row + 1 if b"hangs: " in heard and b"outbox-console" in heard else 0
        if in_a_row == 2:
            told = process.said().count("hung=outbox-console")
    assert process.said().count("hung=outbox-console") == told >= 1
    process.process.send_signal(signal.SIGTERM)
    until(lambda: process.process.poll() is not None, "the end")
    manager.close()
    assert process.process.returncode == 1
    assert "Traceback" not in process.said()
    assert "outbox-console did not end; what was held there is not delivered" in process.said()
