"""`edge-fleet` from end to end: what it makes, what it says, what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.onnxmodels import identity
from support.processes import PATIENCE_S, Client, Mosquitto
from support.scripted_broker import ScriptedBroker
from support.updating import PASSPHRASE, Fleet, write_model

from edge.cli import fleet as command
from edge.model.manifest import Parity
from edge.tools.fleet import retained, status
from edge.updates import trust

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys, monkeypatch, tmp_path) -> Run:
    """`edge-fleet` with these words: exit code, standard output, standard error."""
    monkeypatch.setenv("FLEET_PASSPHRASE", PASSPHRASE.decode())
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        code = command.run(words)
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def added(run, tmp_path) -> Path:
    """A repository with version 1, for no device yet."""
    write_model(tmp_path / "m1.onnx", "1")
    assert run("init", "fleet")[0] == 0
    assert run("add", "fleet", "m1.onnx")[0] == 0
    return tmp_path / "fleet"


def release(folder: Path, device: Path, **more):
    device.mkdir(exist_ok=True)
    return trust.ask(Fleet(folder).order(device, **more)).release


WITHOUT_LIBRARIES = """
import sys
sys.modules.update(dict.fromkeys(["tuf", "securesystemslib", "cryptography"]))
from edge.cli import fleet
for line in sys.stdin:
    print(fleet.run(line.split()), file=sys.stderr)
"""
REPOSITORY = """\
init new
add fleet m1.onnx
rollout fleet --share 5%
promote fleet
pause fleet
withdraw fleet
renew fleet
status fleet
follow fleet models:/a@b
publish fleet --mqtt mqtt://x
keys list fleet
"""


def test_where_its_libraries_are_missing_each_command_names_them_and_who_only_listens_needs_none(added):
    listens = "wait --version 2 --mqtt mqtt://127.0.0.1:1 --timeout 0"
    done = subprocess.run([sys.executable, "-c", WITHOUT_LIBRARIES], input=REPOSITORY + listens, capture_output=True,
                          text=True, cwd=added.parent)  # fmt: skip
    *needing, away, code = done.stderr.splitlines()
    assert len(needing) == 2 * len(REPOSITORY.splitlines()), done.stderr
    assert {said.partition("): ")[2] for said in needing[::2]} == {"pip install 'edge-run[fleet]'"}
    assert set(needing[1::2]) == {"2"}
    assert ("Connection refused" in away, code) == (True, "5")


@pytest.mark.parametrize(
    ("granted", "reason"), [(None, "it did not answer SUBSCRIBE"), (0x80, "it refuses to tell of edge/+/+/update")]
)
def test_a_broker_that_does_not_answer_or_refuses_is_no_fleet_of_nobody(granted, reason, run, monkeypatch):
    broker = ScriptedBroker()
    broker.granted_qos = granted
    monkeypatch.setattr(retained, "MOST_S", 0.01 if granted is None else 30.0)
    monkeypatch.setattr(retained, "QUIET_S", 0.0)
    try:
        code, said, wrong = run("wait", "--version", "1", "--mqtt", broker.url, "--timeout", "0")
    finally:
        broker.close()
    assert (code, said) == (5, "")
    assert reason in wrong


def test_a_library_that_finds_none_of_the_system_is_named_as_missing(run, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise ImportError("libssl.so.3: cannot open shared object file", name="cryptography.hazmat.bindings._rust")

    monkeypatch.setattr(command, "open_repository", broken)
    code, _, wrong = run("init", "fleet")
    assert (code, "libssl.so.3" in wrong, "edge-run[fleet]" in wrong) == (2, True, True)


def test_a_folder_that_cannot_be_written_is_named_with_the_reason_and_4(run, tmp_path):
    (tmp_path / "file").touch()
    assert run("init", "file/fleet") == (4, "", "edge-fleet: error: file/fleet: Not a directory\n")


def test_a_version_goes_from_nobody_to_a_share_to_all(run, added, tmp_path):
    _, none, _ = run("status", "fleet")
    assert run("rollout", "fleet", "--share", "0.25%")[0] == 0
    _, few, _ = run("status", "fleet", "--json")
    assert run("promote", "fleet")[0] == 0

    assert "0 %" in none
    assert json.loads(few)["offered"][0]["share"] == 25
    assert release(added, tmp_path / "device").version == "1"


def test_a_pause_and_a_withdrawal_reach_a_device(run, added, tmp_path):
    run("promote", "fleet")
    write_model(tmp_path / "m2.onnx", "2")
    run("add", "fleet", "m2.onnx", "--share", "100%")
    newest = release(added, tmp_path / "device")
    run("pause", "fleet", "--version", "2")
    paused = release(added, tmp_path / "device")
    still = release(added, tmp_path / "device", running=newest.sha256)
    run("withdraw", "fleet", "--version", "2")

    assert (newest.version, paused.version, still.version) == ("2", "1", "2")
    assert release(added, tmp_path / "device", running=newest.sha256).version == "1"


def test_keys_are_encrypted_and_for_their_owner_alone(added):
    keys = list((added / "keys").iterdir())

    assert sorted(k.name for k in keys) == ["m.pem", "root.pem", "snapshot.pem", "targets.pem", "timestamp.pem"]
    assert all(k.read_text().startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----") for k in keys)
    assert {k.stat().st_mode & 0o777 for k in keys} == {0o600}
    assert not list((added / "public").rglob("*.pem"))


def test_another_passphrase_signs_nothing(run, added, monkeypatch):
    monkeypatch.setenv("FLEET_PASSPHRASE", "another passphrase")
    code, _, said = run("promote", "fleet")

    assert (code, "the passphrase is not the one of this key" in said) == (2, True)


def test_a_short_passphrase_is_refused(run, monkeypatch):
    monkeypatch.setenv("FLEET_PASSPHRASE", "short")

    assert "at least 12 protect a key" in run("init", "fleet")[2]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: identity(path), "it has no manifest in it"),
        (lambda path: write_model(path, parity=Parity(passed=False, max_difference=0.5)), "differs by 0.5"),
        (lambda path: write_model(path, parity=Parity(passed=False, forced=True)), "does not agree with its original"),
        (lambda path: write_model(path, golden=()), "no golden samples"),
    ],
    ids=["no manifest", "failed parity", "forced parity", "no golden samples"],
)
def test_a_file_that_is_not_proven_is_added_by_force_alone(run, added, tmp_path, make, why):
    make(tmp_path / "other.onnx")
    words = ("add", "fleet", "other.onnx", "--name", "m", "--version", "7")
    code, _, said = run(*words)

    assert (code, why in said, "--force" in said) == (3, True, True)
    assert run(*words, "--force")[0] == 0


def test_a_file_whose_golden_samples_do_not_come_out_is_never_added(run, added, tmp_path):
    write_model(tmp_path / "bad.onnx", "2", lies=1.0)

    assert run("add", "fleet", "bad.onnx", "--force")[0] == 3


def test_a_version_is_one_file_for_ever(run, added, tmp_path):
    write_model(tmp_path / "changed.onnx", "1", factor=3.0)
    code, _, said = run("add", "fleet", "changed.onnx")

    assert (code, "give this one another --version" in said) == (2, True)


@pytest.mark.parametrize("share", ["101%", "-1%", "0.001%", "half"])
def test_a_share_that_cannot_be_signed_is_refused(run, added, share):
    assert run("rollout", "fleet", "--share", share)[0] == 2


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b"a folder" for p in folder.rglob("*")}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("promote", "fleet", "--name", "n"), "--name n: there is no such model; there is: m"),
        (("pause", "fleet", "--version", "11"), "m has no such version in the channel stable; did you mean 1?"),
        (("withdraw", "fleet", "--channel", "stabel"), "--channel stabel: m has nothing there; did you mean stable?"),
        (("rollout", "fleet", "--name", "n", "--share", "5%"), "there is no such model"),
        (("add", "fleet", "m2.onnx", "--name", "targets"), "choose another name"),
        (("add", "fleet", "m2.onnx", "--version", "1"), "is another file already"),
        (("add", "fleet", "gone.onnx"), "gone.onnx"),
        (("init", "fleet"), "a repository is there already"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_a_command_in_error_leaves_the_repository_as_it_is(run, added, tmp_path, words, says):
    write_model(tmp_path / "m2.onnx", "2")
    before = content(added)
    code, _, said = run(*words)

    assert (code in (2, 3), says in said, said.count("\n")) == (True, True, 1), said
    assert content(added) == before


@pytest.mark.parametrize(
    "words",
    [("add", "fleet", "m2.onnx", "--name", "n"), ("add", "fleet", "m2.onnx"), ("promote", "fleet"), ("renew", "fleet")],
    ids=" ".join,
)
def test_a_key_that_cannot_be_opened_leaves_the_repository_as_it_is(run, added, tmp_path, words, monkeypatch):
    write_model(tmp_path / "m2.onnx", "2")
    (added / "keys" / "timestamp.pem").rename(tmp_path / "timestamp.pem")
    before = content(added)
    missing = run(*words)[0]
    monkeypatch.setenv("FLEET_PASSPHRASE", "another passphrase")
    wrong = run(*words)[0]

    assert (missing, wrong) == (2, 2)
    assert content(added) == before


@pytest.mark.parametrize("there", ["", "timestamp.pem"], ids=["nothing", "a key of another time"])
def test_a_repository_that_cannot_be_made_leaves_nothing_behind(run, tmp_path, monkeypatch, there):
    if there:
        (tmp_path / "fleet" / "keys").mkdir(parents=True)
        (tmp_path / "fleet" / "keys" / there).write_text("a key")
    else:
        monkeypatch.setenv("FLEET_PASSPHRASE", "short")
    before = content(tmp_path)

    assert run("init", "fleet")[0] == 2
    assert content(tmp_path) == before


def test_a_version_that_is_taken_out_of_its_only_channel_leaves_it_empty_and_the_next_command_says_so(run, added):
    run("withdraw", "fleet")

    assert (
        "--channel stable: m has nothing there; there is: no version at all, edge-fleet add"
        in run("promote", "fleet")[2]
    )


def test_a_file_that_is_added_again_keeps_its_share_and_says_so(run, added, tmp_path):
    run("rollout", "fleet", "--share", "5%")
    _, said, _ = run("add", "fleet", "m1.onnx")
    _, again, _ = run("add", "fleet", "m1.onnx", "--share", "7%")

    assert said == "m 1 in stable: for 5 % of the devices; it was there already, and keeps its share\n"
    assert again == "m 1 in stable: for 7 % of the devices\n"


def test_a_file_that_is_added_again_does_not_become_the_newest(run, added, tmp_path):
    run("promote", "fleet")
    write_model(tmp_path / "m2.onnx", "2")
    run("add", "fleet", "m2.onnx", "--share", "100%")
    run("add", "fleet", "m1.onnx")

    assert release(added, tmp_path / "device").version == "2"


def test_a_passphrase_that_nobody_can_type_is_one_line(tmp_path):
    command = [sys.executable, "-m", "edge.cli.fleet", "init", str(tmp_path / "fleet")]
    environ = {name: value for name, value in os.environ.items() if name != "FLEET_PASSPHRASE"}
    done = subprocess.run(
        command,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,
        timeout=60,
    )

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert "a passphrase is needed: --passphrase-file FILE" in done.stderr
    assert not (tmp_path / "fleet").exists()


def test_init_never_writes_over_a_repository(run, added):
    assert "a repository is there already" in run("init", "fleet")[2]


def test_a_folder_without_a_repository_names_the_way_out(run):
    assert "edge-fleet init" in run("promote", "fleet")[2]


def test_renewing_the_time_stamp_needs_its_two_keys_alone(run, added, tmp_path):
    for role in ("root", "targets", "m"):
        (added / "keys" / f"{role}.pem").rename(tmp_path / f"{role}.pem")

    assert run("renew", "fleet", "--timestamp-days", "100")[0] == 0


@pytest.mark.usefixtures("mosquitto_is_here")
def test_status_says_what_devices_say(run, added, tmp_path):
    broker = Mosquitto(tmp_path / "broker").start()
    try:
        said = {"state": "rolled-back", "running": {"version": "1"}, "reason": "slow", "to": "", "since": ""}
        client = Client(broker.port)
        client.publish("edge/line3/m/update", said, retain=True)
        client.publish("edge/line4/m/update", "no JSON", retain=True)
        client.close()
        _, text, _ = run("status", "fleet", "--mqtt", broker.url)
    finally:
        broker.end()

    assert "2 heard" in text
    assert "line3   m      rolled-back  slow" in text
    assert "unreadable" in text


@pytest.mark.usefixtures("asked_once", "mosquitto_is_here")
def test_a_pipeline_waits_for_a_share_of_the_devices(run, tmp_path):
    broker = Mosquitto(tmp_path / "broker").start()
    words = ("wait", "--version", "2", "--mqtt", broker.url, "--timeout", "0")
    try:
        client = Client(broker.port)
        for device, version, state in (("a", "2", "confirmed"), ("b", "2", "watching"), ("c", "1", "rolled-back")):
            said = {"state": state, "running": {"version": version}}
            client.publish(f"edge/{device}/m/update", said, retain=True)
        client.close()
        third = run(*words, "--share", "33%")
        all_of_them = run(*words)
        expected = run(*words, "--share", "33%", "--devices", "10")
    finally:
        broker.end()

    assert third[:2] == (0, "version 2: 1 of 3 devices, 3 heard\n")
    assert all_of_them[0] == 5
    assert "1 of 3 devices within 0 s, 3 heard, 1 rolled back" in all_of_them[2]
    assert "1 of 10 devices" in expected[2]


@pytest.mark.usefixtures("asked_once", "mosquitto_is_here")
def test_a_rollout_stops_where_a_share_and_a_number_of_devices_have_rolled_it_back(run, added, tmp_path):
    """Those that rolled another version back say nothing of this one."""
    broker = Mosquitto(tmp_path / "broker").start()
    words = ("wait", "--version", "1", "--mqtt", broker.url, "--timeout", "0", "--pause", "fleet")
    said = [("rolled-back", "0", "1")] * 2 + [("watching", "1", "1")] * 2 + [("rolled-back", "0", "9")]
    try:
        client = Client(broker.port)
        for number, (at, version, to) in enumerate(said):
            told = {"state": at, "running": {"version": version}, "to": to}
            client.publish(f"edge/d{number}/m/update", told, retain=True)
        client.close()
        goes_on = [run(*words, *more)[2] for more in ((), ("--abort-number", "2", "--abort-share", "51%"))]
        before = run("status", "fleet")[1]
        code, _, stopped = run(*words, "--abort-number", "2", "--abort-share", "50%")
        after = run("status", "fleet", "--mqtt", broker.url)[1]
    finally:
        broker.end()

    assert ["within 0 s" in text for text in goes_on] == [True, True]
    assert (code, "2 of 4 devices that took it have rolled it back" in stopped) == (5, True)
    assert ("paused" in before, "paused" in after) == (False, True)
    assert "rolled-back from 1" in after


@pytest.mark.parametrize(
    ("words", "says"), [(("--version", "7"), "has no version 7"), (("--version", "1"), "the passphrase")]
)
def test_what_a_stop_would_need_is_asked_for_before_the_wait(run, added, monkeypatch, words, says):
    monkeypatch.setenv("FLEET_PASSPHRASE", "another")
    code, _, told = run("wait", *words, "--mqtt", "mqtt://127.0.0.1:1", "--timeout", "0", "--pause", "fleet")

    assert (code, says in told) == (2, True), told


def test_status_names_a_broker_that_is_not_there(run, added):
    code, _, said = run("status", "fleet", "--mqtt", "mqtt://127.0.0.1:1")

    assert (code, "is the broker there?" in said) == (5, True)


def test_percentages_read_as_they_were_said():
    assert [status.percent(n) for n in (0, 25, 500, 10_000)] == ["0 %", "0.25 %", "5 %", "100 %"]


@pytest.mark.usefixtures("mosquitto_is_here")
def test_a_pipeline_goes_on_waiting_while_the_broker_is_away(tmp_path):
    broker = Mosquitto(tmp_path / "broker")
    words = ("wait", "--version", "2", "--share", "100%", "--mqtt", broker.url, "--timeout", "300")
    command = [sys.executable, "-m", "edge.cli.fleet", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as waits:
        try:
            assert waits.stderr is not None
            told = waits.stderr.readline()
            broker.start()
            client = Client(broker.port)
            client.publish("edge/a/m/update", {"state": "confirmed", "running": {"version": "2"}}, retain=True)
            client.close()
            said, _ = waits.communicate(timeout=PATIENCE_S)
        finally:
            waits.kill()
            broker.end()

    assert "is the broker there? It is asked again." in told
    assert (waits.returncode, said) == (0, "version 2: 1 of 1 devices, 1 heard\n")


def test_a_misspelt_command_is_told_once_with_the_one_that_was_meant(run):
    code, _, said = run("stauts")

    assert (code, said.count("withdraw")) == (2, 1)
    assert said.endswith("belongs there; did you mean status?\n")


def test_the_help_lists_the_commands_a_line_each(run, capsys):
    with pytest.raises(SystemExit):
        run("--help")
    lines = capsys.readouterr().out.splitlines()

    assert [line.split(maxsplit=1) for line in lines if line.strip().startswith(tuple(command.COMMANDS))] == [
        [name, text] for name, (text, _, _) in command.COMMANDS.items()
    ]
    assert max(map(len, lines)) <= 80
