"""deploy/pipelines/: the script takes a model to a fleet, and each tool's file runs its steps in their order."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from support import peers
from support.onnxmodels import identity
from support.processes import BINARIES, Client
from support.updating import PASSPHRASE, Fleet

PIPELINES = Path(__file__).parents[2] / "deploy" / "pipelines"
SCRIPT = PIPELINES / "release.sh"
STEPS = ["convert", "verify", "add", "rollout", "wait", "promote"]


@pytest.fixture
def release(mosquitto, tmp_path):
    """The environment of a release of version 2 below `tmp_path`, and what has devices say how far they are."""
    identity(tmp_path / "model.onnx")
    np.savetxt(
        tmp_path / "rows.csv", np.random.default_rng(0).normal(size=(40, 3)), delimiter=",", header="a,b,c", comments=""
    )
    Fleet(tmp_path / "fleet")
    broker = mosquitto()
    env = {
        **os.environ,
        "PATH": f"{BINARIES}:{os.environ['PATH']}",
        "VERSION": "2",
        "BROKER": broker.url,
        "FLEET_PASSPHRASE": PASSPHRASE.decode(),
        "MODEL": "model.onnx",
        "PUBLISH": "echo published >> published.txt",
        "PATIENCE": "0",
        "DEVICES": "20",
    }

    def devices(*states: str) -> None:
        client = Client(broker.port)
        for number, state in enumerate(states):
            running = {"version": "1" if state == "rolled-back" else "2"}
            client.publish(f"edge/d{number}/model/update", {"state": state, "running": running, "to": "2"}, retain=True)
        client.close()

    return env, devices


def share(fleet: Path) -> tuple[int, bool]:
    found = Fleet(fleet).repository.release_of("model", "2", "stable")
    return found.share, found.paused


def test_the_script_takes_a_model_to_all_devices_where_the_first_ones_confirm_it(release, tmp_path):
    env, devices = release
    devices("confirmed", "watching")
    done = subprocess.run(["sh", str(SCRIPT), "all"], cwd=tmp_path, env=env, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert share(tmp_path / "fleet") == (10_000, False)
    assert "version 2: 1 of 20 devices, 2 heard" in done.stdout
    assert (tmp_path / "published.txt").read_text().count("published") == 4


@pytest.mark.long
def test_where_devices_go_back_the_script_pauses_publishes_and_promotes_nothing(release, tmp_path):
    env, devices = release
    devices("rolled-back", "rolled-back", "rolled-back", "watching")
    done = subprocess.run(["sh", str(SCRIPT), "all"], cwd=tmp_path, env=env, capture_output=True, text=True)

    assert (done.returncode, "3 of 4 devices that took it have rolled it back" in done.stderr) == (5, True), done.stderr
    assert share(tmp_path / "fleet") == (500, True)
    assert (tmp_path / "published.txt").read_text().count("published") == 3


@pytest.mark.parametrize("name", ["github.yml", "Jenkinsfile", "dvc.yaml"])
def test_each_tool_runs_all_steps_in_their_order(name):
    text = (PIPELINES / name).read_text()

    assert re.findall(r"sh (?:deploy/pipelines/)?release\.sh (\w+)", text) == STEPS


def test_what_each_tool_sets_is_what_the_script_reads():
    read = set(re.findall(r"^#   ([A-Z_]+(?:, [A-Z_]+)*) ", SCRIPT.read_text(), re.MULTILINE))
    known = {name for names in read for name in names.split(", ")}
    for name, pattern in (
        ("github.yml", r"^ +([A-Z_]+):"),
        ("Jenkinsfile", r"^ +([A-Z_]+) ="),
        ("airflow_dag.py", r'"([A-Z_]+)":'),
        ("dvc.yaml", r"([A-Z_]+)="),
    ):
        said = set(re.findall(pattern, (PIPELINES / name).read_text(), re.MULTILINE))
        assert said, name
        assert said <= known, name


# --- with the tools themselves --------------------------------------------------------------------------


@pytest.mark.recipes
@pytest.mark.timeout(1200)
def test_the_workflow_is_one_by_the_schema_of_github():
    bins = peers.environment(peers.CACHE, "check-jsonschema", "check-jsonschema")
    command = [bins / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", str(PIPELINES / "github.yml")]

    assert subprocess.run(command, capture_output=True, text=True).returncode == 0


@pytest.mark.recipes
@pytest.mark.timeout(1200)
def test_dvc_runs_the_stages_and_runs_none_again_where_nothing_changed(release, tmp_path):
    bins = peers.environment(peers.CACHE, "dvc", "dvc")
    env, devices = release
    devices("confirmed")
    (tmp_path / "model.onnx").rename(tmp_path / "model.skops")  # told by its content
    for name in ("release.sh", "dvc.yaml"):
        (tmp_path / name).write_text((PIPELINES / name).read_text())

    def dvc(*words: str) -> str:
        command = [bins / "dvc", *words]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    dvc("init", "--no-scm", "-q")
    first, again = dvc("repro"), dvc("repro")

    assert "Running stage 'release'" in first
    assert "Running stage" not in again
    assert share(tmp_path / "fleet") == (10_000, False)


@pytest.mark.recipes
@pytest.mark.timeout(1200)
def test_airflow_parses_the_dag_and_each_task_follows_the_one_before(tmp_path):
    packages = ("apache-airflow-core>=3,<4", "apache-airflow-providers-standard")
    bins = peers.environment(peers.CACHE, "airflow", *packages)
    show = (
        "from airflow.dag_processing.dagbag import DagBag\n"
        f"bag = DagBag({str(PIPELINES)!r})\n"
        "assert not bag.import_errors, bag.import_errors\n"
        "dag = bag.dags['release_model']\n"
        "print([(t.task_id, sorted(t.downstream_task_ids)) for t in dag.topological_sort()])"
    )
    env = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    done = subprocess.run([bins / "python", "-c", show], env=env, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert str([(step, [n] if n else []) for step, n in zip(STEPS, [*STEPS[1:], ""], strict=True)]) in done.stdout


@pytest.mark.recipes
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not (shutil.which("npm") and shutil.which("java")), reason="needs npm and java (apt-get install)")
def test_the_jenkinsfile_is_groovy_by_groovy_s_own_parser(tmp_path):
    """Jenkins itself is not run: what its steps are called is for nobody here to say."""
    install = ["npm", "install", "--no-save", "--no-audit", "--no-fund", "npm-groovy-lint@16"]
    subprocess.run(install, cwd=tmp_path, check=True, capture_output=True)
    text = (PIPELINES / "Jenkinsfile").read_text()
    (tmp_path / "Jenkinsfile").write_text(text)
    (tmp_path / "Broken.groovy").write_text(text.replace("steps {", "steps [", 1))

    def parses(name: str) -> bool:
        lint = ["node_modules/.bin/npm-groovy-lint", "--no-insight", "--noserver", "--failon", "error", "--parse", name]
        return subprocess.run(lint, cwd=tmp_path, capture_output=True).returncode == 0

    assert (parses("Jenkinsfile"), parses("Broken.groovy")) == (True, False)
