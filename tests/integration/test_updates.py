"""A model changes in the field, while inputs come: a real service, a real broker, a signed repository."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator

import pytest
from support.field import FEW, Field, lives, runs, state
from support.processes import BINARIES, Client, EdgeRun, until
from support.updating import write_model

from edge.model import identity
from edge.updates.state import Slot, State
from edge.updates.store import UpdateStore

pytestmark = pytest.mark.skipif(shutil.which("mosquitto") is None, reason="needs mosquitto (apt-get install mosquitto)")


@pytest.fixture
def field(tmp_path) -> Iterator[Field]:
    field = Field(tmp_path)
    yield field
    field.end()


def test_a_new_version_takes_over_while_inputs_come_and_none_is_lost_doubled_or_out_of_order(field):
    field.start(*FEW)
    field.wait_for(state("idle"), "the service runs")
    field.send()
    field.client.wait_for("result", 1)
    field.offer("2", factor=10.0)
    field.wait_for(state("confirmed"), "version 2 is confirmed", sending=True)
    results = field.client.wait_for("result", field.sent)

    assert [r["input_id"] for r in results] == list(range(1, field.sent + 1))
    versions = [r["model"]["version"] for r in results]
    assert versions == sorted(versions)
    assert set(versions) == {"1", "2"}
    ones = {v: [r for r in results if r["model"]["version"] == v] for v in ("1", "2")}
    assert {r["predictions"][0]["value"] - r["input_id"] for r in ones["1"]} == {2.0}
    assert {r["predictions"][0]["value"] - r["input_id"] for r in ones["2"]} == {10.0}
    assert len({r["model"]["sha256"] for r in results}) == 2
    assert lives(results) == 1
    told = list(dict.fromkeys(said["state"] for said in field.client.of("update")))
    assert told == ["idle", "downloading", "verifying", "proving", "trial", "switching", "watching", "confirmed"]
    watching = next(said for said in field.client.of("update") if said["state"] == "watching")
    assert (watching["from"], watching["to"]) == ("1", "2")
    until(lambda: field.client.of("info")[-1]["update"] == field.client.of("update")[-1], "info says the same")
    assert field.client.of("info")[-1]["model"]["version"] == "2"
    assert field.service.stop() == 0


def test_the_broker_is_repository_enough(field):
    """`edge-fleet publish`, and `--updates mqtt:` in place of an address."""
    publish = [BINARIES / "edge-fleet", "publish", field.fleet.folder, "--mqtt", field.broker.url]
    field.offer("2", factor=10.0)
    said = subprocess.run(publish, check=True, capture_output=True, text=True).stdout
    field.start(*FEW, "--updates", "mqtt:")
    field.wait_for(state("confirmed"), "version 2 is confirmed", sending=True)

    assert "messages are retained" in said
    assert field.client.of("update")[-1]["running"]["version"] == "2"


def test_a_version_waits_for_a_command_that_is_not_retained_and_is_installed_by_it(field):
    answers = Client(field.broker.port, "edge/d/m/answer")
    field.sender.publish("edge/d/m/set", {"command": "install", "id": "retained"}, retain=True)
    field.offer("2", factor=10.0)
    field.start(*FEW, "--updates-manual")
    field.wait_for(lambda said: said["waiting"], "version 2 waits")
    refused = answers.wait_for("answer", 1)[0]
    field.sender.publish("edge/d/m/set", {"command": "pause"})
    other = answers.wait_for("answer", 2)[1]
    install = [BINARIES / "edge-fleet", "install", "d", "m", "--mqtt", field.broker.url, "--version"]
    another = subprocess.run([*install, "3"], capture_output=True, text=True)
    said = subprocess.run([*install, "2"], check=True, capture_output=True, text=True).stdout
    field.wait_for(state("confirmed"), "version 2 is confirmed", sending=True)
    answers.close()

    assert (refused["ok"], "retained" in refused["reason"]) == (False, True)
    assert (other["ok"], "the service has no --commands" in other["reason"]) == (False, True)
    assert (another.returncode, "version 3 does not wait" in another.stderr) == (5, True)
    assert "is being installed" in said
    assert field.client.of("update")[-1]["waiting"] is False


def test_a_model_whose_golden_samples_do_not_come_out_is_refused_and_the_old_one_goes_on(field):
    field.start(*FEW)
    field.wait_for(state("idle"), "the service runs")
    field.offer("2", lies=1.0)
    said = field.wait_for(state("rolled-back"), "version 2 is refused", sending=True)
    field.send()
    results = field.client.wait_for("result", field.sent)

    assert "golden sample 1" in said["reason"]
    assert {r["model"]["version"] for r in results} == {"1"}


def test_a_model_that_skips_what_comes_is_given_up_and_the_old_one_comes_back(field):
    """It passes every gate before the switch: its golden samples are right, for features that do not come."""
    field.start("--updates-watch-time", "0", "--updates-watch-samples", "1000000", "--trial-time", "0")
    field.wait_for(state("idle"), "the service runs")
    field.offer("2", features=("a", "b", "c"))
    field.wait_for(state("watching"), "version 2 is watched", sending=True)
    said = field.wait_for(lambda s: state("rolled-back")(s) and runs("1")(s), "back on version 1", sending=True)
    field.send()
    until(lambda: field.client.of("result")[-1]["input_id"] == field.sent, "the last input is answered")

    assert "samples were skipped" in said["reason"]
    assert lives([*field.client.of("result"), *field.client.of("error")]) == 1
    assert len(field.client.of("result")) + len(field.client.of("error")) == field.sent


@pytest.mark.long  # a trial at its real pace; its judgement: tests/app/test_update_trial.py
def test_a_model_that_skips_what_comes_is_refused_on_live_samples_before_it_makes_a_result(field):
    field.start(*FEW, "--trial-samples", "40", "--trial-time", "150")
    field.wait_for(state("idle"), "the service runs")
    field.offer("2", features=("a", "b", "c"))
    field.wait_for(state("trial"), "version 2 is tried", sending=True)
    said = field.wait_for(state("rolled-back"), "version 2 is refused", sending=True)
    results = field.client.wait_for("result", field.sent)

    assert "live samples, the model that runs 0; --updates-skips allows 2.0% more" in said["reason"]
    assert said["trial"]["skipped"]["trial"] == said["trial"]["samples"] >= 20
    assert {r["model"]["version"] for r in results} == {"1"}
    assert field.client.of("error") == []

    field.offer("3", factor=3.0)
    field.wait_for(lambda s: state("proving")(s) and s["to"] == "3", "version 3 is proven")
    of_next = [said["trial"] for said in field.client.of("update") if said["to"] == "3" and said["state"] != "trial"]
    assert of_next == [None] * len(of_next)  # what was seen of version 2 is none of its


def test_a_version_that_is_withdrawn_while_it_is_watched_gives_way_and_is_not_refused(field):
    """Nothing comes, so it is watched for ever: what is offered is heard of all the same."""
    field.start()
    field.wait_for(state("idle"), "the service runs")
    field.offer("2", factor=10.0)
    field.wait_for(lambda s: state("watching")(s) and runs("2")(s), "version 2 is watched")
    field.fleet.repository.withdraw("m", "stable", "2")
    said = field.wait_for(lambda s: state("idle")(s) and runs("1")(s) and s["reason"], "version 1 runs again")
    field.send()

    assert said["reason"] == "version 2 was watched when version 1 is offered in its place"
    assert said["trial"]["note"].startswith("no sample came within --trial-time 0.5 s")
    assert field.client.wait_for("result")[0]["model"]["version"] == "1"
    field.offer("2", factor=10.0)
    field.wait_for(lambda s: state("watching")(s) and runs("2")(s), "it is tried again once it is offered again")


def test_a_newer_version_takes_the_place_of_one_that_is_watched_or_waits_for_the_person(field):
    field.start("--updates-manual", "--commands")
    field.wait_for(state("idle"), "the service runs")
    for version in ("2", "3"):
        field.offer(version, factor=float(version))
        field.wait_for(lambda s, v=version: s["waiting"], f"version {version} waits")
        until(lambda: field.client.of("update")[-1]["waiting"], "it is what waits now")
        assert not any(runs(version)(said) for said in field.client.of("update"))
        field.sender.publish("edge/d/m/set", {"command": "install", "value": version})
        said = field.wait_for(lambda s, v=version: state("watching")(s) and runs(v)(s), f"version {version} is watched")
        assert (said["from"], said["to"]) == ("1", version)


def test_a_watch_that_few_samples_come_to_says_so_and_goes_on_over_an_end_in_order(field):
    few = ("--updates-watch-time", "0", "--updates-watch-samples", "6", "--trial-time", "0")
    field.start(*few)
    field.wait_for(state("idle"), "the service runs")
    field.offer("2", factor=10.0)
    field.wait_for(lambda s: state("watching")(s) and runs("2")(s), "version 2 is watched")
    said = field.wait_for(lambda s: bool((s["watch"] or {}).get("note")), "it says how few came")
    for _ in range(3):
        field.send()
    field.client.wait_for("result", 3)
    until(lambda: field.service.stop() == 0, "it ends in order")
    field.start(*few)
    until(lambda: len(field.client.of("update")) and state("watching")(field.client.of("update")[-1]), "it watches on")
    for _ in range(3):
        field.send()
    field.wait_for(lambda s: state("confirmed")(s) and runs("2")(s), "three and three are six")

    assert said["watch"]["note"] == "0 of 6 samples came so far (--updates-watch-samples)"


def test_a_process_that_is_killed_while_it_watches_comes_back_on_the_confirmed_model(field):
    field.start()  # ten minutes of watching
    field.wait_for(state("idle"), "the service runs")
    field.offer("2")
    field.wait_for(state("watching"), "version 2 is watched")
    field.service.stop(signal.SIGKILL)
    field.fleet.repository.withdraw("m", "stable", "2")
    field.start()
    field.wait_for(lambda s: state("idle")(s) and "did not end in order" in s["reason"], "version 1 runs")
    field.send()

    assert field.client.wait_for("result")[0]["model"]["version"] == "1"
    assert "the model before the update runs again  version=2  reason=the process did not end" in field.service.said()


@pytest.mark.long
def test_a_stop_in_order_goes_on_watching(field):
    field.start()
    field.wait_for(state("idle"), "the service runs")
    field.offer("2")
    field.wait_for(state("watching"), "version 2 is watched")
    assert field.service.stop() == 0
    field.start(*FEW)

    assert field.wait_for(state("confirmed"), "version 2 is confirmed", sending=True)["running"]["version"] == "2"


def test_a_device_without_a_model_fetches_it_first(field):
    field.start(model="m@stable")
    field.wait_for(state("confirmed"), "the service runs")
    field.send()
    result = field.client.wait_for("result")[0]

    assert result["model"]["version"] == "1"


def test_a_server_that_is_away_is_told_and_the_service_goes_on(field):
    field.fleet.public.rename(field.folder / "gone")
    field.start()
    field.wait_for(lambda said: "away" in said["reason"], "it is told")
    field.send()

    assert field.client.wait_for("result")[0]["model"]["version"] == "1"


def test_a_source_that_would_be_read_twice_is_refused(field):
    (field.folder / "rows.jsonl").write_text(json.dumps({"a": 1, "b": 2}))
    service = field.start("--source", "rows.jsonl")

    assert service.process.wait() == 2
    assert "it would be read from its beginning after each switch" in service.said()


@pytest.mark.long
def test_many_switches_in_a_row_lose_nothing(field):
    field.start(*FEW, "--updates-interval", "0.1")
    field.wait_for(state("idle"), "the service runs")
    for version in ("2", "3", "4"):
        field.offer(version, factor=float(version))
        field.wait_for(
            lambda s, v=version: state("confirmed")(s) and runs(v)(s), f"version {version} is confirmed", sending=True
        )
    results = field.client.wait_for("result", field.sent)

    assert [r["input_id"] for r in results] == list(range(1, field.sent + 1))
    models = list((field.folder / "state" / "edge-run" / "d.m1.updates" / "models").iterdir())
    assert len(models) <= 2


IMPATIENT = """
import os, signal, sys
from pathlib import Path
first = Path(__file__).with_name("first")
if sys.orig_argv[1].endswith("edge-run"):  # not a child of its own
    if first.exists() and first.read_text() == str(os.getpid()):
        os.kill(os.getpid(), signal.SIGTERM)  # this life began with an exec, and has no handlers yet
    else:
        first.write_text(str(os.getpid()))
"""


def test_a_service_that_is_ended_while_it_begins_anew_ends_in_order_and_the_switch_is_done_at_the_next_start(
    field, tmp_path
):
    (tmp_path / "early").mkdir()
    (tmp_path / "early" / "sitecustomize.py").write_text(IMPATIENT)
    words = (*FEW, "--payload", '{"input_id": {{ input_id }}}')
    service = field.start(*words, environ={"PYTHONPATH": str(tmp_path / "early")})
    field.wait_for(state("idle"), "the service runs")
    field.offer("2", factor=10.0, task="raw")  # the template is for another task: it has to begin anew
    until(lambda: service.process.poll() is not None, "the service has ended")

    assert service.stop() == 0
    field.start(*words)
    field.wait_for(state("confirmed"), "version 2 is confirmed", sending=True)
    field.client.wait_for("result", field.sent)
    assert field.service.stop() == 0


ENDED_EARLY = """
import importlib.abc, os, signal, sys
class Watches(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "edge.app.build":  # the model is being loaded
            os.kill(os.getpid(), signal.SIGTERM)
sys.meta_path.insert(0, Watches())
"""


def test_a_service_that_is_ended_while_it_starts_goes_on_watching_and_no_try_is_used(tmp_path):
    store = UpdateStore(tmp_path / "d.m1.updates", identity.sha256)
    write_model(tmp_path / "m1.onnx", "1")
    new = write_model(tmp_path / "m2.onnx", "2")
    slot = Slot(identity.sha256(new), "2")
    store.open()
    new.rename(store.path(slot))
    store.enter(State(phase="watching", candidate=slot, tries=1, tried=slot.sha256, clean=True, name="m"))
    store.close()
    (store.folder / "root.json").write_text("{}")
    (tmp_path / "early").mkdir()
    (tmp_path / "early" / "sitecustomize.py").write_text(ENDED_EARLY)
    flags = ("--model", str(tmp_path / "m1.onnx"), "--mqtt", "none", "--http", "0", "--device", "d")
    service = EdgeRun(
        tmp_path, *flags, "--state-dir", str(tmp_path), "--updates", f"file:{tmp_path}",
        environ={"PYTHONPATH": str(tmp_path / "early")},
    )  # fmt: skip

    assert service.process.wait() == 0
    assert service.stop() == 0
    after = store.read()
    assert (after.phase, after.clean, after.tries) == ("watching", True, 1)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--updates", "ftp://x", "--updates-root", "r.json"), "file:/FOLDER or mqtt: belongs there"),
        (("--updates", "https://x"), "name the repository's root.json, once"),
        (("--updates", "https://x", "--updates-channel", "beta", "--updates-root", "r"), "say one of the two"),
        (
            ("--updates", "https://x", "--updates-root", "r", "--updates-agreement", "0.9", "--trial-samples", "10"),
            "nothing would be refused; say --trial-samples 20 or more",
        ),
        (
            ("--updates", "https://x", "--updates-root", "r", "--updates-agreement", "0.9", "--trial-time", "0"),
            "no trial could ask for it",
        ),
    ],
)
def test_what_only_a_person_can_mend_ends_the_start(tmp_path, words, why):
    command = [BINARIES / "edge-run", "--model", "m@stable", "--state-dir", "state", "--mqtt", "mqtt://127.0.0.1:1"]
    done = subprocess.run([*command, *words], cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 2
    assert why in done.stderr


@pytest.mark.long
@pytest.mark.parametrize("wanted", ["downloading", "verifying", "proving", "trial", "switching", "watching"])
def test_a_kill_in_any_state_loses_no_input_and_the_update_is_done_in_the_end(field, wanted):
    field.start(*FEW)
    field.wait_for(state("idle"), "the service runs")
    field.send()
    field.client.wait_for("result", 1)
    field.offer("2", factor=10.0)
    field.wait_for(state(wanted), f"it is {wanted}", sending=True)
    field.service.stop(signal.SIGKILL)
    for _ in range(20):
        field.send()
    field.start(*FEW)
    field.wait_for(state("confirmed"), "version 2 is confirmed", sending=True)
    until(lambda: field.client.of("result")[-1]["input_id"] == field.sent, "the last input is answered")

    assert {r["input_id"] for r in field.client.of("result")} == set(range(1, field.sent + 1))
