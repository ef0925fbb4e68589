"""What is written is what systemd understands, and hardened."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from conftest import need
from msgspec.structs import replace
from support import onnxmodels
from support.processes import PATIENCE_S, free_port

from edge.settings import layers
from edge.tools.systemd import plan, unit
from edge.tools.systemd.unit import Needs, Program

HARDENED = 2.5
TEMPLATE = "etc/systemd/system/edge-run@.service"
DROP_IN = "etc/systemd/system/edge-run@flowers.service.d/10-edge-run.conf"
KINDS = {
    "plain": [],
    "camera": ["--source", "camera:0"],
    "picamera": ["--source", "picamera:"],
    "microphone": ["--source", "microphone:"],
    "http": ["--http", "8080"],
}


def secret(machine, name, text="s3cr3t-w0rd"):
    file = machine.root.parent / name
    file.write_text(text)
    file.chmod(0o600)
    return file


def installed(machine, *flags):
    """The unit below the root, written by the real command; no model is loaded for a source of another kind."""
    from edge.tools.systemd import install

    list(install.write(machine.plan(*flags), machine.systemd))
    return machine.root / "etc/systemd/system/edge-run@flowers.service"


@pytest.fixture
def analyze():
    need("systemd-analyze", "systemd")
    said = subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True).stdout
    version = int(re.match(r"systemd (\d+)", said)[1])

    def run(*words):
        done = subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, timeout=150)
        return done.returncode, done.stdout + done.stderr

    run.version = version
    return run


@pytest.mark.parametrize("kind", KINDS)
def test_systemd_understands_every_line(machine, analyze, kind):
    machine.tool("systemctl", version=analyze.version)
    machine.lay("dev/vcio")
    file = installed(machine, *KINDS[kind], "--mqtt", "mqtt://pi@h", "--mqtt-password-file", secret(machine, "p"))
    assert analyze("verify", str(file)) == (0, "")


def test_a_line_that_systemd_does_not_understand_would_be_noticed(machine, analyze):
    machine.lay("dev/vcio")
    file = installed(machine)
    machine.lay(DROP_IN, machine.text(DROP_IN) + "Bogus=1\n")
    assert "Unknown key 'Bogus'" in analyze("verify", str(file))[1]


@pytest.mark.parametrize("kind", [*KINDS, "raspberry pi"])
def test_the_unit_is_hardened(machine, analyze, kind):
    if kind == "raspberry pi":
        machine.lay("dev/vcio")
    installed(machine, *KINDS.get(kind, KINDS["picamera"]))
    words = ("--offline=true", "security", "--no-pager", "edge-run@flowers.service")
    _, said = analyze("--root", str(machine.root), *words)
    score = float(re.search(r"Overall exposure level for edge-run@flowers.service: ([\d.]+)", said)[1])
    print(f"systemd-analyze security, {kind}: {score}")
    assert score <= HARDENED, said


def test_a_systemd_that_knows_back_off_gets_one_and_an_older_one_no_unknown_key():
    program = Program(("/opt/edge/bin/edge-run",))
    assert "RestartSteps=6\nRestartMaxDelaySec=5min" in unit.template(program, 254)
    assert "RestartSteps" not in unit.template(program, 252)
    assert "RestartSec=20" in unit.template(program, 252)


def test_it_is_watched_restarted_bounded_and_waits_for_no_broker():
    text = unit.template(Program(("/opt/edge/bin/edge-run",)), 252)
    lines = text.splitlines()
    for line in (
        *("Type=notify", "WatchdogSec=1min", "Restart=on-failure", "DynamicUser=yes", "StateDirectory=edge-run/%i"),
        *("MemoryMax=75%", "Wants=network-online.target", "StartLimitIntervalSec=0", "WantedBy=multi-user.target"),
        "ExecStart=/opt/edge/bin/edge-run --config %d/edge-run.toml",
    ):
        assert line in lines, line
    assert not re.search(r"^(Requires|BindsTo|Wants)=.*mosquitto", text, re.MULTILINE)


def test_secrets_are_credentials_and_stand_in_no_unit(machine):
    flags = ("--mqtt", "mqtt://pi@h", "--mqtt-password-file", secret(machine, "p"), "--http", "0.0.0.0:8080")
    installed(machine, *flags, "--http-token-file", secret(machine, "t", "t0k3n-t0k3n"))
    units = machine.text(TEMPLATE) + machine.text(DROP_IN)
    assert "LoadCredential=mqtt-password-file:/etc/edge-run/flowers/mqtt-password-file" in units
    assert "Environment=EDGE_MQTT_PASSWORD_FILE=%d/mqtt-password-file" in units
    assert "Environment=EDGE_HTTP_TOKEN_FILE=%d/http-token-file" in units
    for name in machine.files():
        text, mode = machine.text(name), (machine.root / name).stat().st_mode & 0o777
        if "s3cr3t" in text or "t0k3n" in text:
            assert mode == 0o600, name
            assert "systemd" not in name


def test_a_password_in_an_address_is_in_a_file_that_root_and_the_service_read(machine):
    installed(machine, "--source", "rtsp://pi:s3cr3t@10.0.0.9/stream", "--mqtt", "mqtt://pi:s3cr3t@h")
    holders = {name for name in machine.files() if "s3cr3t" in machine.text(name)}
    assert holders == {"etc/edge-run/flowers/edge-run.toml"}
    assert (machine.root / "etc/edge-run/flowers/edge-run.toml").stat().st_mode & 0o777 == 0o600


def test_the_configuration_reads_as_the_flags_did(machine):
    flags = [
        *(
            "--source",
            "mqtt:a/b c",
            "--mqtt",
            "mqtts://h:8884",
            "--top-k",
            "3",
            "--threshold",
            "0.25",
            "--sink",
            "console",
        ),
        *("--sink", "file:out.jsonl", "--input-size", "320x240", "--mean", "1,2.5,3", "--spool-max", "10MB"),
        *("--ignore-unknown", "--device", 'a "b" \\ c', "--max-temperature", "75"),
    ]
    installed(machine, *flags)
    before = layers.read(["--model", str(machine.model), *flags], {}, "0")
    after = layers.read(["--config", str(machine.root / "etc/edge-run/flowers/edge-run.toml")], {}, "0")
    assert after.model.file == Path("/etc/edge-run/flowers/flowers.onnx")
    moved = replace(before.model, file=after.model.file)
    assert after == replace(before, model=moved, process=after.process)


def test_odd_letters_in_paths_are_escaped():
    needs = Needs(folders=(Path("/home/a b/100%"),))
    assert 'BindReadOnlyPaths="/home/a b/100%%"' in unit.drop_in(needs)
    assert unit.quoted("/opt/a b/$x") == '"/opt/a b/$$x"'


@pytest.mark.parametrize(
    ("source", "devices"),
    [("camera:0", "char-video4linux"), ("picamera:", "char-dma_heap"), ("microphone:", "char-alsa")],
)
def test_a_camera_and_a_microphone_are_let_in_and_nothing_else(machine, source, devices):
    installed(machine, "--source", source)
    assert f"DeviceAllow={devices} rw" in machine.text(DROP_IN)
    assert "PrivateDevices=no" in machine.text(DROP_IN)


def test_without_devices_secrets_and_folders_the_template_is_enough(machine):
    installed(machine)
    assert DROP_IN not in machine.files()
    assert "PrivateDevices=yes" in machine.text(TEMPLATE)


def test_the_firmware_can_be_asked_for_throttling_on_a_raspberry_pi(machine):
    machine.lay("dev/vcio")
    installed(machine)
    assert "DeviceAllow=/dev/vcio rw" in machine.text(DROP_IN)
    assert "SupplementaryGroups=video" in machine.text(DROP_IN)


def test_what_the_unit_starts_tells_systemd_that_it_is_ready(machine, tmp_path):
    # As systemd does it: %d is the folder of credentials, the state folder and the socket are variables.
    port = free_port()
    installed(machine, "--http", str(port), "--mqtt", "none")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    text = machine.text("etc/edge-run/flowers/edge-run.toml").replace("/etc/", f"{machine.root}/etc/")
    (credentials / "edge-run.toml").write_text(text)
    line = re.search(r"^ExecStart=(.*)$", machine.text(TEMPLATE), re.MULTILINE)[1].replace("%d", str(credentials))
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "n"))
    manager.settimeout(PATIENCE_S)
    environ = {"NOTIFY_SOCKET": str(tmp_path / "n"), "WATCHDOG_USEC": "2000000", "STATE_DIRECTORY": str(tmp_path / "s")}
    service = subprocess.Popen(shlex.split(line), env=environ, stderr=subprocess.PIPE, cwd=tmp_path)
    try:
        assert manager.recv(1000).startswith(b"READY=1\n")
        assert manager.recv(1000) == b"WATCHDOG=1"
        service.terminate()
        assert service.communicate(timeout=PATIENCE_S)[1]
        assert service.returncode == 0
    finally:
        service.kill()
        service.communicate()
        manager.close()


def test_the_files_of_a_model_travel_with_it(machine, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    model = shutil.copy(machine.model, home / "net.onnx")
    with Path(model).open("ab") as file:  # an entry of external data: location, net.weights
        file.write(b"\x0a\x08location\x12\x0bnet.weights")
    for name in ("net.weights", "net.onnx.json", "labels.txt", "holiday.jpg"):
        (home / name).write_text(json.dumps(["a"]))
    copied = {str(to) for _, to in machine.plan("--model", model).copies}
    # The model has a manifest with its labels: labels.txt is of another one.
    assert copied == {f"/etc/edge-run/flowers/{n}" for n in ("net.onnx", "net.weights", "net.onnx.json")}


def test_labels_beside_a_model_without_a_manifest_travel_with_it(machine, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    model = onnxmodels.scores(home / "net.onnx")
    (home / "labels.txt").write_text("\n".join("0123456789"))
    copied = {to.name for _, to in machine.plan("--model", model).copies}
    assert copied == {"net.onnx", "labels.txt"}


def test_several_runs_have_one_service_with_what_belongs_to_their_models(machine, tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        shutil.copy(machine.model, tmp_path / folder / "m.onnx")
    (tmp_path / "one" / "unrelated").write_text("not a model's")
    file = tmp_path / "house.toml"
    file.write_text(
        'mqtt = "mqtt://127.0.0.1:1"\ntop-k = 2\n'
        f'[[run]]\nname = "a"\nmodel = "{tmp_path}/one/m.onnx"\nsource = "camera:0"\n'
        f'[[run]]\nname = "b"\nmodel = "{tmp_path}/two/m.onnx"\nsource = "microphone:"\n'
        f'[[run]]\nname = "c"\nmodel = "{tmp_path}/one/m.onnx"\n'
    )
    before = layers.read(["--config", str(file)], {}, "0")
    planned = plan.make(before, plan.instance_name(before, None), machine.root)
    assert planned.unit == "edge-run@house.service"
    copies = ["/etc/edge-run/house/m.onnx", "/etc/edge-run/house/2/m.onnx"]
    assert [str(to) for _, to in planned.copies] == copies
    assert {"char-video4linux rw", "char-alsa rw"} <= {f"{d} rw" for d in planned.needs.devices}
    file.write_text(unit.toml(planned.config, planned.runs))
    after = layers.read(["--config", str(file)], {}, "0")
    assert [str(one.model.file) for one in after.each] == [copies[0], copies[1], copies[0]]
    for old, new in zip(before.each, after.each, strict=True):
        moved = replace(old.model, file=new.model.file)
        assert new == replace(old, model=moved)
