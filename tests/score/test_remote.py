"""What a process of a cluster does with a part, without the cluster; tests/score/test_clusters.py has real ones."""

from __future__ import annotations

import importlib.util
import socket

import msgspec
import numpy as np
import onnx
import pytest
from support.processes import free_port

from edge.app.loading import open_model
from edge.errors import ConfigError, SpoolError
from edge.score import clusters, plan
from edge.score.local import Job
from edge.score.read import Reader
from edge.score.run import Made, Record, Run
from edge.settings.settings import DeviceManifestSettings, ModelSettings, Settings


@pytest.fixture
def sent(trees, tmp_path, monkeypatch):
    """A run of two parts that has begun, as a cluster gets it; `model` may lie anywhere."""
    monkeypatch.chdir(tmp_path)
    for i in range(2):
        trees.write(tmp_path / f"in/{i}.parquet", i * 300, 300)

    def make(model=trees.path, **said):
        settings = Settings(model=ModelSettings(model), manifest=DeviceManifestSettings(**said))
        loaded = open_model(settings)
        parts = dict(enumerate(plan.parts(["in"], in_order=False)))
        reader = Reader(loaded, settings, {"id": "id"}, batch=1024)
        fields = tuple(reader.kept_fields(parts[0]))
        job = Job(settings, loaded.sha256, tmp_path / "out", "parquet", {"id": "id"}, fields, 1024, 600)
        made = Made(loaded.manifest.name, "", loaded.sha256, "")
        run = Run(job.out, "parquet")
        keys = tuple(part.key for part in parts.values())
        run.begin(Record(state="running", made=made, edge_run="", archive=("in",), keys=keys), resume=False)
        return job, clusters.pack(loaded, job), parts

    return make


def made(job, shipment, parts):
    """What each part came to, made by one process."""
    remote = clusters.Remote(job)
    return [remote.make(number, part, lambda: shipment) for number, part in parts.items()]


def test_a_part_is_made_there_as_it_is_made_here(sent, trees, score, table, tmp_path):
    assert made(*sent()) == [(300, None), (300, None)]
    assert score(trees.path, tmp_path / "in", "-o", tmp_path / "here", "--columns", "id")[0] == 0
    assert table(tmp_path / "out") == table(tmp_path / "here")


def test_flags_travel_with_the_model_and_its_file_and_labels_are_not_looked_for(sent, trees, table, tmp_path):
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone/m.onnx").write_bytes(trees.path.read_bytes())
    (tmp_path / "gone/words.txt").write_text("a\nb\nc\n")
    cargo = sent(tmp_path / "gone/m.onnx", labels=tmp_path / "gone/words.txt", threshold=0.6)
    for file in (tmp_path / "gone").iterdir():
        file.unlink()
    assert [error for _, error in made(*cargo)] == [None, None]
    rows = table(tmp_path / "out")
    assert {row["label"] for row in rows} == {"a", "b", "c", None}
    assert min(row["score"] for row in rows if row["score"] is not None) >= 0.6


def test_weights_that_lie_in_files_of_their_own_travel_too(sent, trees, tmp_path):
    job, shipment, parts = sent()
    plain = made(job, shipment, parts)
    folder = tmp_path / "large"
    folder.mkdir()
    model = onnx.load(trees.path)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(4096, "f4"), "unused"))
    onnx.save(model, folder / "m.onnx", save_as_external_data=True, location="m.bin", size_threshold=1)
    (tmp_path / "out").rename(tmp_path / "first")
    job, shipment, parts = sent(folder / "m.onnx")
    assert set(shipment.files) == {"m.onnx", "m.bin", "m.onnx.json"}
    for file in folder.iterdir():
        file.unlink()
    assert made(job, shipment, parts) == plain


def test_a_file_that_is_damaged_fails_alone(sent, tmp_path):
    job, shipment, parts = sent()
    (tmp_path / "in/0.parquet").write_bytes(b"PAR1")
    (_, first), (_, second) = made(job, shipment, parts)
    assert "0.parquet: a Parquet file that cannot be read" in str(first)
    assert second is None


def test_a_machine_that_does_not_see_the_output_says_so(sent, tmp_path):
    job, shipment, parts = sent()
    (tmp_path / "out").rename(tmp_path / "elsewhere")
    for _, error in made(job, shipment, parts):
        assert isinstance(error, SpoolError)
        assert f"{socket.gethostname()} does not see {tmp_path / 'out'}" in str(error)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/_run.json").write_text("{}")  # a folder of its own under the same name
    assert "does not see" in str(made(job, shipment, parts)[0][1])


@pytest.mark.parametrize("other", [{"version": "0.0.1"}, {"engine": "onnxruntime 1.0"}])
def test_a_machine_with_another_edge_run_or_engine_makes_nothing(other, sent, tmp_path):
    job, shipment, parts = sent()
    _, error = made(job, msgspec.structs.replace(shipment, **other), parts)[0]
    assert isinstance(error, ConfigError)
    assert f"here it is {next(iter(other.values()))}; install the same there" in str(error)
    assert not list((tmp_path / "out").glob("part-*"))


@pytest.mark.parametrize(
    ("place", "found"),
    [("ray", ("ray", "")), ("ray:head:6379", ("ray", "head:6379")), ("ray://head:10001", ("ray", "ray://head:10001")),
     ("spark://head:7077", ("spark", "spark://head:7077")), ("spark:local[2]", ("spark", "local[2]"))],
)  # fmt: skip
def test_a_place_is_a_kind_and_an_address(place, found):
    assert clusters.of(place) == found


def test_a_place_that_is_none_is_a_usage_error(trees, score, tmp_path):
    code, _, wrong = score(trees.path, tmp_path, "-o", tmp_path / "out", "--engine", "dask")
    assert code == 2
    assert "local, ray or spark belongs there" in wrong


@pytest.fixture
def ray(monkeypatch, tmp_path):
    """A Ray that is installed, and where it notes its clusters."""
    spec = importlib.util.spec_from_loader("ray", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (tmp_path / "ray").mkdir()
    return tmp_path / "ray" / "ray_current_cluster"


def test_a_note_of_a_cluster_that_is_gone_is_told_at_once_with_the_way_out(ray, trees, score, tmp_path):
    ray.write_text(f"127.0.0.1:{free_port()}\n")
    code, _, wrong = score(trees.path, tmp_path, "-o", tmp_path / "out", "--engine", "ray")
    assert (code, wrong.count("\n")) == (2, 1)
    assert "nothing answers at 127.0.0.1" in wrong
    assert f"{ray} names that cluster: remove it where the cluster is gone" in wrong
    clusters.require("ray:local")
    with socket.create_server(("127.0.0.1", 0)) as server:
        ray.write_text(f"127.0.0.1:{server.getsockname()[1]}\n")
        clusters.require("ray")


def test_an_address_in_the_environment_goes_before_the_note(ray, monkeypatch):
    ray.write_text(f"127.0.0.1:{free_port()}\n")
    monkeypatch.setenv("RAY_ADDRESS", "local")
    clusters.require("ray")
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free_port()}")
    with pytest.raises(ConfigError, match="RAY_ADDRESS names that cluster"):
        clusters.require("ray")


def test_a_cluster_that_is_not_reached_leaves_nothing_behind(trees, score, monkeypatch, tmp_path):
    """`--resume` would be asked for, for a run that had never begun."""

    def unreached(*_args):
        raise ConfigError("no cluster is reached")

    monkeypatch.setattr(clusters, "require", lambda place: None)
    monkeypatch.setattr(clusters, "run", unreached)
    archive = trees.write(tmp_path / "in/0.parquet")
    for out in ("out.parquet", "out"):
        code, _, wrong = score(trees.path, archive, "-o", tmp_path / out, "--engine", "ray")
        assert (code, wrong) == (2, "edge-score: error: no cluster is reached\n")
    assert [p.name for p in tmp_path.iterdir()] == ["in"]
    assert score(trees.path, archive, "-o", tmp_path / "out.parquet")[0] == 0


@pytest.mark.parametrize(("kind", "library"), [("ray", "ray"), ("spark", "pyspark")])
def test_without_the_library_of_a_cluster_its_extra_is_named(kind, library, trees, score, tmp_path):
    if importlib.util.find_spec(library) is not None:
        pytest.skip(f"{library} is here")
    code, _, wrong = score(trees.path, tmp_path, "-o", tmp_path / "out", "--engine", kind)
    assert (code, wrong.count("\n")) == (2, 1)
    assert f"needs {library}: pip install 'edge-run[score-{kind}]'" in wrong
    assert not (tmp_path / "out").exists()
