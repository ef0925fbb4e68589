"""`edge-run service`, with a systemctl that notes what it is told."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.processes import BINARIES

from edge.errors import ConfigError, ModelError
from edge.plugins import registry
from edge.plugins.declarations import SinkInfo
from edge.settings import layers, options
from edge.settings.settings import Settings
from edge.tools.systemd import plan
from edge.tools.systemd.plan import SECRETS

UNIT = "edge-run@flowers.service"


def test_install_writes_says_what_it_wrote_and_starts(machine):
    said = machine.install()
    assert machine.calls == [f"systemctl {w}" for w in ("daemon-reload", f"enable {UNIT}", f"restart {UNIT}")]
    assert machine.files() == {
        "etc/systemd/system/edge-run@.service",
        "etc/edge-run/flowers/edge-run.toml",
        "etc/edge-run/flowers/flowers.onnx",
    }
    for text in (
        UNIT,
        "copied",
        "home folders are hidden",
        "/var/lib/edge-run/flowers",
        "edge-run service logs flowers",
    ):
        assert text in said


def test_a_second_install_replaces_the_first(machine):
    machine.install("--source", "mqtt:line/1")
    machine.install("--top-k", "1")
    assert "line/1" not in (machine.root / "etc/edge-run/flowers/edge-run.toml").read_text()
    assert not [name for name in machine.files() if "service.d" in name]


def test_no_start_starts_nothing(machine):
    machine.install("--no-start")
    assert machine.calls == ["systemctl daemon-reload"]


def test_print_writes_nothing(machine):
    said = machine.install("--print")
    assert machine.files() == set()
    assert machine.calls == []
    assert "# /etc/systemd/system/edge-run@.service\n" in said
    assert "ExecStart=" in said


def test_root_writes_elsewhere_and_calls_nobody(machine, tmp_path):
    machine.install("--root", tmp_path / "image")
    assert (tmp_path / "image/etc/systemd/system/edge-run@.service").exists()
    assert machine.files() == set()
    assert machine.calls == []


def test_remove_stops_and_takes_everything_but_what_waits(machine):
    machine.install()
    machine.calls_file.unlink()
    said = machine.service("remove")
    assert machine.files() == set()
    words = (f"disable --now {UNIT}", f"is-failed --quiet {UNIT}", f"reset-failed {UNIT}", "daemon-reload")
    assert machine.calls == [f"systemctl {w}" for w in words]
    assert "/var/lib/edge-run/flowers" in said


def test_purge_takes_the_state_too(machine):
    machine.install()
    machine.service("remove", "flowers", "--purge")
    assert f"systemctl clean --what=state {UNIT}" in machine.calls


def test_the_template_goes_with_the_last_instance(machine):
    machine.install("--instance", "line1")
    machine.install("--instance", "line2")
    with pytest.raises(ConfigError, match=r"which one\?; installed: line1, line2"):
        machine.service("remove")
    machine.service("remove", "line1")
    assert "etc/systemd/system/edge-run@.service" in machine.files()
    machine.service("remove", "line2")
    assert machine.files() == set()


def test_status_and_logs_ask_systemd(machine):
    machine.install("--no-start")
    machine.calls_file.unlink()
    machine.service("status", "flowers")
    machine.service("logs", "flowers", "--follow")
    machine.service("logs", "-n", "5")
    assert machine.calls == [
        f"systemctl --no-pager --full status {UNIT}",
        f"journalctl --follow --lines 50 --unit {UNIT}",
        "journalctl --no-pager --lines 5 --unit edge-run@*.service",
    ]


def test_a_service_that_is_not_installed_is_told_with_those_that_are(machine):
    with pytest.raises(ConfigError, match="none is installed"):
        machine.service("status")
    machine.install()
    with pytest.raises(ConfigError, match="there is no roses; installed: flowers"):
        machine.service("logs", "roses")


def test_a_service_that_does_not_start_is_told_in_one_line(machine):
    machine.tool("systemctl", fails="restart")
    with pytest.raises(ConfigError, match=f"systemctl restart {UNIT}: Job for {UNIT} failed.; edge-run service logs"):
        machine.install()


def test_a_model_that_cannot_run_is_not_installed(machine, tmp_path):
    bad = tmp_path / "bad.onnx"
    bad.write_text("<html>")
    with pytest.raises(ModelError):
        machine.service("install", "--model", bad)
    assert machine.files() == set()


def test_runs_that_cannot_be_of_one_process_are_not_installed(machine, tmp_path):
    """Which only their topics and the names of their models tell."""
    runs = "".join(
        f'[[run]]\nname = "{name}"\nmodel = "{machine.model}"\nsource = "mqtt:{topic}"\n'
        for name, topic in (("all", "plant/+/data"), ("pump", "plant/pump/+"))
    )
    (tmp_path / "house.toml").write_text(f'mqtt = "mqtt://127.0.0.1:1"\n{runs}')
    with pytest.raises(ConfigError, match="say --mqtt-connections each"):
        machine.service("install", "--config", tmp_path / "house.toml")
    assert machine.files() == set()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--source", "-"], "no standard input"),
        (["--sink", "file:/data/out.jsonl"], "say --sink file:out.jsonl"),
        (["--save-frames", "/data/frames"], "say --save-frames frames"),
        (["--http", "80"], "say 8080"),
        (["--instance", "line 3"], "say line-3"),
        (["--mqtt-password-file", "/none/such"], "no such file"),
        (["--modle", "x"], "did you mean --model"),
    ],
)
def test_what_a_service_cannot_have_is_refused_with_the_way_out(machine, flags, said):
    with pytest.raises(ConfigError, match=said):
        machine.install(*flags)
    assert machine.files() == set()


def test_a_file_outside_homes_is_used_where_it_is(machine):
    assert dict(machine.plan("--labels", "/etc/passwd").config)["labels"] == "/etc/passwd"


def test_a_delegate_in_a_home_is_copied_with_its_options_kept(machine, tmp_path):
    (tmp_path / "lib.so").touch()
    planned = machine.plan("--provider", f"{tmp_path / 'lib.so'}?device=usb:0")
    assert dict(planned.config)["provider"] == "/etc/edge-run/flowers/lib.so?device=usb:0"
    assert (tmp_path / "lib.so", Path("/etc/edge-run/flowers/lib.so")) in planned.copies


def test_every_option_that_names_a_secret_is_a_credential():
    named = {o.key for o in options.of(Settings) if re.search("password|token|secret|_key$|_cert$|_ca$", o.key)}
    assert named == set(SECRETS)


def test_files_that_a_sink_reads_are_credentials_too(machine, tmp_path):
    (tmp_path / "pw").write_text("s3cret")
    sinks = ("--sink", "console", "--sink", f"redis://u@h/s#maxlen=5&password_file={tmp_path / 'pw'}")
    planned = machine.plan(*sinks)
    inside = "/run/credentials/edge-run@flowers.service/sink-2-password-file"
    assert dict(planned.config)["sink"] == ("console", f"redis://u@h/s#maxlen=5&password_file={inside}")
    copy = Path("/etc/edge-run/flowers/sink-2-password-file")
    assert planned.needs.credentials == (("sink-2-password-file", copy, ""),)
    assert (tmp_path / "pw", copy) in planned.secrets


def test_the_password_of_a_source_is_a_credential_too(machine, tmp_path):
    (tmp_path / "pw").write_text("s3cret")
    planned = machine.plan("--source", f"http://u@cam/x?a=b#interval=2&password_file={tmp_path / 'pw'}")
    inside = "/run/credentials/edge-run@flowers.service/source-password-file"
    assert dict(planned.config)["source"] == f"http://u@cam/x?a=b#interval=2&password_file={inside}"


def test_a_file_of_a_sink_that_is_not_there_is_named(machine):
    with pytest.raises(ConfigError, match="#token_file /nowhere/token: there is no such file"):
        machine.plan("--sink", "webhook:https://h/x#token_file=/nowhere/token")


def test_every_option_of_a_sink_that_names_a_file_is_declared():
    for name in registry.own_names("edge.sinks"):
        info = registry.declared(SinkInfo, name)
        kinds = [v for v in vars(sys.modules[info.create.__module__]).values() if isinstance(v, type)]
        named = {f for k in kinds if k.__name__.endswith("Options") for f in k.__struct_fields__}
        assert {f for f in named if f.endswith("_file") or f == "ca"} == set(info.reads_files), name


def test_a_folder_of_pictures_in_a_home_is_shown_read_only(machine, tmp_path):
    (tmp_path / "in").mkdir()
    planned = machine.plan("--source", tmp_path / "in", "--watch")
    assert planned.needs.folders == (tmp_path / "in",)
    assert "read-only" in planned.notes[0]


def test_a_state_folder_of_ones_own_is_not_used_and_that_is_said(machine, tmp_path):
    said = machine.install("--state-dir", tmp_path / "s")
    assert "is not used" in said
    assert "state-dir" not in (machine.root / "etc/edge-run/flowers/edge-run.toml").read_text()


def test_a_kernel_that_cannot_bound_memory_is_told(machine):
    machine.lay("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io pids\n")
    assert "cgroup_enable=memory" in machine.install()
    machine.lay("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n")
    assert "cgroup_enable=memory" not in machine.install()


@pytest.mark.parametrize("words", [["status"], ["logs"], ["install", "--model", "m.onnx"]])
def test_a_machine_without_systemd_says_so(machine, words):
    (machine.root / "run/systemd/system").rmdir()
    (machine.root.parent / "m.onnx").write_bytes(Path(machine.model).read_bytes())
    words = [str(machine.root.parent / w) if w == "m.onnx" else w for w in words]
    with pytest.raises(ConfigError, match="does not run systemd"):
        machine.service(*words)


def test_the_command_line_ends_with_2_and_one_line(tmp_path):
    done = subprocess.run(
        [str(BINARIES / "edge-run"), "service", "status"], capture_output=True, text=True, env={"PATH": str(tmp_path)}
    )
    assert done.returncode == 2
    assert done.stderr.startswith("edge-run: error: edge-run service: this machine does not run systemd")
    assert len(done.stderr.splitlines()) == 1


def test_a_service_that_follows_a_repository_sees_its_folder_and_has_the_root(machine, tmp_path):
    root = tmp_path / "root.json"
    root.write_text("{}")
    (tmp_path / "stick").mkdir()
    planned = machine.plan("--updates", f"file:{tmp_path}/stick", "--updates-root", root)
    config = dict(planned.config)

    assert (root, planned.folder / "root.json") in planned.copies
    assert config["updates-root"] == str(planned.folder / "root.json")
    assert config["updates"] == f"file://{tmp_path}/stick"
    assert tmp_path / "stick" in [Path(f) for f in planned.needs.folders]


def test_a_service_may_have_no_model_yet(tmp_path):
    words = ["--model", "digits@stable", "--updates", "https://models.example", "--updates-root", str(tmp_path / "r")]
    settings = layers.read(words, {}, "0")
    (tmp_path / "r").write_text("{}")

    assert plan.instance_name(settings, None) == "digits"
    assert dict(plan.make(settings, "digits").config)["model"] == "digits@stable"
