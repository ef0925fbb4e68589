"""A real systemd, booted in a container of this machine's own /usr: the unit is started, asked, and removed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import need
from support.processes import BINARIES

BOOT_S = 280
UNIT = "edge-run@flowers.service"
pytestmark = [pytest.mark.long, pytest.mark.timeout(2 * BOOT_S)]
# /run is a tmpfs of the container's own: systemd-nspawn wants one, and nothing of it reaches this machine.
NSPAWN = """\
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd && exec systemd-nspawn --quiet --directory=/ --volatile=yes --boot \
  --register=no --keep-unit --console=pipe --private-network --machine=edge-run-test-$$ "$@" \
  systemd.unit=try.service systemd.firstboot=off systemd.mask=systemd-networkd-wait-online.service
"""
TRY = """\
[Unit]
Wants=dbus.socket
After=dbus.socket
[Service]
Type=oneshot
ExecStart={python} /mnt/inside.py
ExecStopPost=systemctl poweroff --force --force
TimeoutStartSec={timeout}
"""
INSIDE = """\
import json, os, shutil, signal, subprocess, time, urllib.request
from pathlib import Path

EDGE_RUN = {edge_run!r}
UNIT = {unit!r}
found = {{}}

def run(*words):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return f"{{done.returncode}}\\n{{done.stdout}}"

def show(name):
    return run("systemctl", "show", f"--property={{name}}", "--value", UNIT).split()[1]

def wait_for_another():
    until = time.monotonic() + 100
    while (show("NRestarts") == "0" or show("ActiveState") != "active") and time.monotonic() < until:
        time.sleep(0.1)

try:
    secret = Path("/root/password")
    secret.write_text("s3cr3t-w0rd")
    secret.chmod(0o600)
    found["install"] = run(
        *(EDGE_RUN, "service", "install", "--model", "/mnt/flowers.onnx", "--mqtt", "mqtt://pi@127.0.0.1"),
        *("--mqtt-password-file", str(secret), "--http", "8080", "--sink", "file:results.jsonl"),
    )
    found["log"] = run("journalctl", "--no-pager", "--unit", UNIT)
    found["properties"] = run("systemctl", "show", UNIT)
    pid = show("MainPID")
    for name in ("status", "environ", "cmdline"):
        found[name] = Path(f"/proc/{{pid}}/{{name}}").read_bytes().replace(b"\\0", b"\\n").decode()
    url = "http://127.0.0.1:8080/predict"
    found["answer"] = urllib.request.urlopen(url, {row!r}, 60).read().decode()
    found["shown"] = run(EDGE_RUN, "service", "status", "flowers")
    # A process that hangs; the times are shorter than the unit's, so that nobody waits.
    Path(f"/etc/systemd/system/{{UNIT}}.d/20-short.conf").write_text(
        "[Service]\\nWatchdogSec=4\\nRestartSec=0\\nTimeoutAbortSec=1\\nTimeoutStopSec=5\\n"
    )
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", UNIT)
    os.kill(int(show("MainPID")), signal.SIGSTOP)
    wait_for_another()
    found["after the hang"] = show("ActiveState")
    found["watchdog log"] = run("journalctl", "--no-pager", "--unit", UNIT)
    found["remove"] = run(EDGE_RUN, "service", "remove", "--purge")
    # Several runs: a file of their own, the names of their models.
    UNIT = "edge-run@house.service"
    text = 'mqtt = "mqtt://127.0.0.1"\\nhttp = "8080"\\n'
    for name in ("one", "two"):
        shutil.copy("/mnt/flowers.onnx", f"/root/{{name}}.onnx")
        text += f'[[run]]\\nname = "{{name}}"\\nmodel = "/root/{{name}}.onnx"\\n'
    Path("/root/house.toml").write_text(text)
    Path(f"/etc/systemd/system/{{UNIT}}.d").mkdir()
    Path(f"/etc/systemd/system/{{UNIT}}.d/20-short.conf").write_text("[Service]\\nRestartSec=0\\n")
    found["install house"] = run(EDGE_RUN, "service", "install", "--config", "/root/house.toml")
    asked = [urllib.request.urlopen(f"{{url}}?model={{name}}", {row!r}, 60) for name in ("one", "two")]
    found["answers"] = [answer.read().decode() for answer in asked]
    healthy = (EDGE_RUN, "--healthy", "--state-dir", "/var/lib/edge-run/house")
    found["healthy"] = run(*healthy)
    Path("/etc/edge-run/house/two.onnx").write_bytes(b"no model")
    os.kill(int(show("MainPID")), signal.SIGKILL)
    wait_for_another()
    found["with a broken one"] = run(*healthy)
    found["answers on"] = urllib.request.urlopen(f"{{url}}?model=one", {row!r}, 60).read().decode()
    found["stop house"] = run("systemctl", "stop", UNIT)
    found["stopped"] = run("systemctl", "show", "--property=ActiveState,Result,ExecMainStatus", UNIT)
    found["remove house"] = run(EDGE_RUN, "service", "remove", "--purge")
    found["left"] = run("sh", "-c", "ls /etc/systemd/system/edge-run* /etc/edge-run /var/lib/private/edge-run")
except Exception as exc:
    found["error"] = repr(exc)
finally:
    Path("/mnt/found.json").write_text(json.dumps(found))
"""


@pytest.fixture(scope="module")
def booted(tmp_path_factory, flowers):
    """What was seen inside; one boot, some seconds."""
    need("systemd-nspawn", "systemd-container")
    need("dbus-daemon", "dbus")  # systemctl clean asks over it
    if os.geteuid() != 0:
        pytest.skip("booting a container takes root")
    shared = tmp_path_factory.mktemp("shared")
    (shared / "flowers.onnx").write_bytes(flowers.path.read_bytes())
    (shared / "machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    (shared / "try.service").write_text(TRY.format(python=sys.executable, timeout=BOOT_S - 20))
    row = json.dumps(flowers.rows[0]).encode()
    (shared / "inside.py").write_text(INSIDE.format(edge_run=str(BINARIES / "edge-run"), unit=UNIT, row=row))
    binds = [f"--bind={shared}:/mnt", *(f"--bind-ro={folder}" for folder in program_folders())]
    binds += [f"--bind-ro={shared / name}:/etc/{where}" for name, where in
              (("machine-id", "machine-id"), ("try.service", "systemd/system/try.service"))]  # fmt: skip
    command = ["unshare", "--mount", "--propagation", "private", "bash", "-c", NSPAWN, "nspawn", *binds]
    with (shared / "boot.log").open("wb") as log:
        container = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            container.wait(BOOT_S)
        except subprocess.TimeoutExpired:
            container.terminate()
            container.wait(150)
        finally:
            container.kill()
            container.wait()
    file = shared / "found.json"
    assert file.exists(), (shared / "boot.log").read_text(errors="replace")[-3000:]
    found = json.loads(file.read_text())
    assert "error" not in found, "\n".join(found.get(k, "") for k in ("error", "install", "log"))
    return found


def program_folders():
    """What the program is made of beside /usr, which the container has."""
    named = (Path(p) for p in (sys.prefix, sys.base_prefix, *sys.path) if p)
    folders = {p for p in named if p.is_dir() and not p.is_relative_to("/usr") and "tests" not in p.parts}
    return sorted(f for f in folders if not any(f != o and f.is_relative_to(o) for o in folders))


def properties(booted):
    return dict(line.split("=", 1) for line in booted["properties"].splitlines() if "=" in line)


def test_it_is_installed_started_and_ready(booted):
    assert booted["install"].startswith("0\n"), booted["install"] + booted["log"]
    assert "started  now and at each boot" in booted["install"]
    said = properties(booted)
    assert (said["ActiveState"], said["SubState"], said["Type"]) == ("active", "running", "notify")
    assert said["StatusText"] == "flowers runs"
    assert said["UnitFileState"] == "enabled"
    assert said["WatchdogUSec"] == "1min"


def test_it_answers_out_of_its_sandbox(booted, flowers):
    answer = json.loads(booted["answer"])
    assert answer["predictions"][0]["label"] == flowers.answers[0]


def test_it_runs_as_nobody_with_no_right_at_all(booted):
    status = dict(line.split(":", 1) for line in booted["status"].splitlines() if ":" in line)
    assert int(status["Uid"].split()[0]) > 60000
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert (status["NoNewPrivs"].strip(), status["Seccomp"].strip()) == ("1", "2")


def test_the_password_is_in_no_environment_and_no_process_list(booted):
    assert "EDGE_MQTT_PASSWORD_FILE=/run/credentials/" in booted["environ"]
    assert "s3cr3t" not in booted["environ"] + booted["cmdline"] + booted["properties"] + booted["log"]


def test_a_process_that_hangs_is_started_again(booted):
    assert booted["after the hang"] == "active", booted["watchdog log"]
    assert "Watchdog timeout" in booted["watchdog log"]
    assert "Scheduled restart job" in booted["watchdog log"]


def test_status_shows_it_and_remove_leaves_nothing(booted):
    assert booted["shown"].startswith("0\n")
    assert "active (running)" in booted["shown"]
    assert booted["remove"].startswith("0\n"), booted["remove"]
    assert "flowers" not in booted["left"]


def test_several_runs_are_one_service_that_goes_on_without_the_one_that_breaks(booted, flowers):
    assert booted["install house"].startswith("0\n"), booted["install house"]
    assert [json.loads(answer)["model"]["name"] for answer in booted["answers"]] == ["one", "two"]
    assert booted["healthy"].startswith("0\n"), booted["healthy"]
    assert booted["healthy"].count("\nhealthy: ") == 2
    assert booted["with a broken one"].startswith("1\n")
    assert "two" in booted["with a broken one"].partition("unhealthy: ")[2]
    assert json.loads(booted["answers on"])["predictions"][0]["label"] == flowers.answers[0]
    assert booted["stop house"].startswith("0\n"), booted["stop house"]
    assert "ActiveState=failed" in booted["stopped"]
    assert "ExecMainStatus=3" in booted["stopped"]
    assert booted["remove house"].startswith("0\n"), booted["remove house"]
