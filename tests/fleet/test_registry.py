"""`edge-fleet add models:/...` and `edge-fleet follow`: the registry of MLflow says what a channel holds."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.updating import PASSPHRASE, Fleet, write_model

from edge.cli import fleet as command
from edge.cli import fleet_add
from edge.cli.fleet_follow import FollowArguments, Follower
from edge.errors import ModelError, UnavailableError
from edge.tools.fleet import registry
from edge.tools.fleet.registry import Fetched, Registered, Wanted
from edge.updates.release import WHOLE


class FakeRegistry:
    """Versions by their numbers; `champion` is the one that the alias names, "" where it is away."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.champion = "1"
        self.fetched: list[str] = []

    def find(self, wanted: Wanted) -> Registered:
        if not self.champion:
            raise UnavailableError("the registry does not answer")
        return Registered(wanted.name, self.champion, "a-run", wanted.alias)

    def fetch(self, registered: Registered, folder: Path) -> Fetched:
        self.fetched.append(registered.version)
        shutil.copytree(self.folder / registered.version, folder / "model")
        return Fetched(folder / "model", (), ours=True)


@pytest.fixture
def mlflow(tmp_path) -> FakeRegistry:
    """Three versions of `digits`, whose files call themselves 1.0; the golden samples of the third do not come out."""
    for number, factor in enumerate((2.0, 3.0, 4.0), start=1):
        write_model(tmp_path / str(number) / "m.onnx", "1.0", factor=factor, lies=1.0 if number == 3 else 0.0)
        (tmp_path / str(number) / "m.onnx.json").write_text("{}")
    return FakeRegistry(tmp_path)


@pytest.fixture
def fleet(tmp_path) -> Fleet:
    return Fleet(tmp_path / "fleet")


def held(fleet: Fleet) -> list[str]:
    return [r.version for r in fleet.repository.held("digits", "stable").releases]


@pytest.fixture
def follower(fleet, mlflow) -> Follower:
    args = FollowArguments(dir=fleet.folder, model="models:/digits@champion", share=500)
    return Follower(fleet.repository, mlflow, Wanted("digits", alias="champion"), args)


def test_a_version_of_the_registry_keeps_its_number_and_says_where_it_comes_from(fleet, mlflow, capsys, tmp_path):
    args = fleet_add.AddArguments(dir=fleet.folder, file="models:/digits@champion", share=WHOLE)
    fleet_add.put_registered(fleet.repository, mlflow, mlflow.find(Wanted("digits", alias="champion")), args)
    said = capsys.readouterr().out

    assert said.splitlines() == [
        "digits 1 in stable: for 100 % of the devices; from models:/digits/1",
        "its results say version 1.0, as its manifest does; the fleet's commands say 1",
    ]
    assert fleet.repository.origins("digits") == {
        "digits/1.onnx": {"registry": "models:/digits/1", "alias": "champion", "run": "a-run"}
    }


def test_a_channel_follows_the_alias_there_and_back(follower, fleet, mlflow, capsys):
    for champion in ("1", "1", "2", "1", "2"):
        mlflow.champion = champion
        follower.ask()

    assert held(fleet) == ["1", "2"]
    assert mlflow.fetched == ["1", "2"]  # what was there once is not made or fetched again
    assert "digits 2 is no longer in stable: the alias names 1 again" in capsys.readouterr().out
    assert {r.share for r in fleet.repository.held("digits", "stable").releases} == {500}


def test_what_a_person_withdrew_stays_out_until_a_person_adds_it(follower, fleet, mlflow, capsys):
    follower.ask()
    mlflow.champion = "2"
    follower.ask()
    fleet.repository.withdraw("digits", "stable", "2")
    for _ in range(2):
        follower.ask()
    out = held(fleet)
    fleet_add.put_registered(
        fleet.repository, mlflow, Registered("digits", "2"), FollowArguments(dir=fleet.folder, model="")
    )

    assert (out, held(fleet)) == (["1"], ["1", "2"])
    assert capsys.readouterr().out.count("digits 2 was withdrawn from stable") == 1


def test_a_version_that_does_not_pass_is_refused_and_fetched_once(follower, fleet, mlflow):
    follower.ask()
    mlflow.champion = "3"
    with pytest.raises(ModelError):
        follower.ask()
    follower.ask()

    assert (held(fleet), mlflow.fetched) == (["1"], ["1", "3"])


def test_a_registry_that_is_away_changes_nothing(follower, fleet, mlflow):
    follower.ask()
    mlflow.champion = ""
    with pytest.raises(UnavailableError):
        follower.ask()

    assert held(fleet) == ["1"]


def test_the_model_of_a_framework_is_refused_with_both_ways_out(tmp_path, mlflow):
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "model.pkl").write_bytes(b"")
    mlflow.fetch = lambda registered, folder: Fetched(tmp_path / "7", ("sklearn",), ours=False)

    with pytest.raises(ModelError, match=r"is a model of sklearn.*--sample ROWS.csv.*edge-convert models:/digits/7"):
        registry.model_file(mlflow, Registered("digits", "7"), tmp_path, registry.Conversion())


@pytest.mark.parametrize("uri", ["models:/digits", "models:/digits/latest", "models:/@champion", "models:/a/b/1"])
def test_what_names_no_version_is_refused(uri):
    with pytest.raises(ValueError, match="models:/NAME@ALIAS or models:/NAME/VERSION"):
        registry.parse(uri)


def test_a_sidecar_stands_in_for_no_manifest(tmp_path):
    from support.onnxmodels import identity

    from edge.tools.fleet import accept

    identity(tmp_path / "m.onnx")
    (tmp_path / "m.onnx.json").write_text('{"name": "m", "task": "raw"}')

    with pytest.raises(ModelError, match=r"no manifest in it \(the one beside it does not go along\)"):
        accept.examined(tmp_path / "m.onnx", force=False)


# --- with MLflow itself ---------------------------------------------------------------------------------


@pytest.mark.heavy
@pytest.mark.timeout(600)
def test_models_of_a_registry_are_added_and_followed_by_the_command(tmp_path, monkeypatch):
    """A sklearn model, which needs a sample, and then a model file that `edge.score` logged."""
    pytest.importorskip("mlflow")
    pytest.importorskip("skops")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/store.db")
    monkeypatch.setenv("FLEET_PASSPHRASE", PASSPHRASE.decode())
    write_model(tmp_path / "m.onnx", "1.0")
    log = f"""
import mlflow, numpy as np
from sklearn.linear_model import LogisticRegression
import edge.score

rows = np.random.default_rng(0).normal(size=(60, 2))
np.savetxt("rows.csv", rows, delimiter=",", header="a,b", comments="")
mlflow.create_experiment("e", artifact_location="{tmp_path.as_uri()}/artifacts")
mlflow.set_experiment("e")
with mlflow.start_run():
    mlflow.sklearn.log_model(LogisticRegression().fit(rows, rows[:, 0] > 0), name="d", registered_model_name="digits",
                             serialization_format="cloudpickle", pip_requirements=[])
    edge.score.log_mlflow("m.onnx", "d2", registered_model_name="digits", pip_requirements=[])
mlflow.MlflowClient().set_registered_model_alias("digits", "champion", "1")
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", log], cwd=tmp_path, check=True)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-W", "ignore", "-m", "edge.cli.fleet", *words]
        return subprocess.run(program, cwd=tmp_path, capture_output=True, text=True)

    assert run("init", "fleet").returncode == 0
    plain = run("add", "fleet", "models:/digits@champion")
    pickled = run("add", "fleet", "models:/digits@champion", "--sample", "rows.csv")
    made = run("add", "fleet", "models:/digits@champion", "--sample", "rows.csv", "--trust-pickle")
    again = run("follow", "fleet", "models:/digits@champion", "--once")
    missing = run("follow", "fleet", "models:/digits@challenger", "--once")
    move = "import mlflow; mlflow.MlflowClient().set_registered_model_alias('digits', 'champion', '2')"
    subprocess.run([sys.executable, "-W", "ignore", "-c", move], cwd=tmp_path, check=True)
    followed = run("follow", "fleet", "models:/digits@champion", "--once", "--share", "5%")
    status = json.loads(run("status", "fleet", "--json").stdout)

    assert (plain.returncode, "is a model of sklearn, no model file: --sample" in plain.stderr) == (3, True), plain
    assert (pickled.returncode, "--trust-pickle" in pickled.stderr) == (3, True), pickled
    assert (made.returncode, "digits 1 in stable" in made.stdout) == (0, True), made
    assert (again.returncode, again.stdout) == (0, "digits 1 is in stable; nothing to do\n"), again
    assert (missing.returncode, "the registry has it not" in missing.stderr) == (2, True), missing
    assert (followed.returncode, "digits 2 in stable: for 5 % of the devices" in followed.stdout) == (0, True), followed
    assert [(o["version"], o["share"], o["origin"]["registry"]) for o in status["offered"]] == [
        ("1", 0, "models:/digits/1"),
        ("2", 500, "models:/digits/2"),
    ]


def test_a_person_follows_an_alias_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FLEET_PASSPHRASE", PASSPHRASE.decode())
    Fleet(tmp_path / "fleet")
    code = command.run(("follow", str(tmp_path / "fleet"), "models:/digits/3", "--once"))

    assert (code, "edge-fleet add takes it" in capsys.readouterr().err) == (2, True)
