from __future__ import annotations

import shutil

import numpy as np
import pytest
from support import onnxmodels

from edge.engines import graph_cache
from edge.engines import onnxruntime as engine
from edge.plugins.protocols import EngineOptions

LAYERS = 8
"""So many that the file is larger than what is not worth a graph."""


def convolutions(path, layers=LAYERS):
    return onnxmodels.deep(path, layers, channels=64, size=16)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return convolutions(tmp_path_factory.mktemp("models") / "m.onnx")


@pytest.fixture
def model(original, tmp_path):
    return shutil.copy(original, tmp_path / "m.onnx")


@pytest.fixture
def options(tmp_path):
    return EngineOptions(cache_dir=tmp_path / "state")


def graphs(options):
    folder = options.cache_dir / "graphs"
    return sorted(p for p in folder.iterdir() if p.suffix == ".onnx") if folder.exists() else []


def answer(loaded):
    rng = np.random.default_rng(1)
    (one,) = loaded.inputs
    return next(iter(loaded.infer({one.name: rng.random(one.fixed(), np.float32)}).values()))


def test_the_second_start_reads_the_graph_that_the_first_has_left(model, options, tmp_path):
    first = engine.load(model, options)
    (kept,) = graphs(options)
    assert engine.loads_at_once(model, options)
    other = EngineOptions(cache_dir=tmp_path / "other")
    another = engine.load(onnxmodels.deep(tmp_path / "another.onnx", LAYERS + 1, channels=64, size=16), other)
    again = engine.load(model, options)
    assert (answer(again) == answer(first)).all()
    assert again.metadata == first.metadata

    shutil.copy(graphs(other)[0], kept)
    kept.with_suffix(".sha256").write_text(graph_cache.sha256(kept))

    assert (answer(engine.load(model, options)) == answer(another)).all()


def test_a_model_of_a_few_kilobytes_has_none(tmp_path, options):
    engine.load(onnxmodels.scores(tmp_path / "small.onnx"), options)
    assert graphs(options) == []


def test_without_a_state_folder_there_is_none(model, tmp_path):
    engine.load(model, EngineOptions())
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


@pytest.mark.parametrize("damage", [
    lambda p: p.write_bytes(p.read_bytes()[:-1] + b"\0"),
    lambda p: p.write_bytes(p.read_bytes()[:500]),
    lambda p: p.write_bytes(b""),
    lambda p: p.with_suffix(".sha256").write_bytes(b"\xff\x00"),
    lambda p: p.with_suffix(".sha256").unlink(),
    lambda p: p.unlink(),
], ids=["changed", "cut", "empty", "hash damaged", "no hash", "deleted"])  # fmt: skip
def test_what_does_not_match_its_hash_is_not_used_and_made_again(model, options, damage):
    before = answer(engine.load(model, options))
    (path,) = graphs(options)
    whole = path.read_bytes()
    damage(path)

    assert not engine.loads_at_once(model, options)  # a start that forks must know
    assert np.array_equal(answer(engine.load(model, options)), before)
    assert graphs(options) == [path]
    assert path.read_bytes() == whole


def test_a_graph_with_its_own_hash_that_does_not_load_is_dropped(model, options):
    before = answer(engine.load(model, options))
    (path,) = graphs(options)
    path.write_bytes(b"no graph at all")
    path.with_suffix(".sha256").write_text(graph_cache.sha256(path))

    assert np.array_equal(answer(engine.load(model, options)), before)
    assert graphs(options) == []


def test_another_processor_or_engine_asks_for_another_and_the_old_one_goes(model, options, monkeypatch):
    engine.load(model, options)
    (first,) = graphs(options)
    monkeypatch.setattr(graph_cache, "processor", lambda: "aarch64\nCPU part : 0xd0b")
    assert not engine.loads_at_once(model, options)

    engine.load(model, options)

    (second,) = graphs(options)
    assert second != first
    assert not first.with_suffix(".sha256").exists()


def test_of_other_models_the_oldest_go(model, options, monkeypatch):
    monkeypatch.setattr(graph_cache, "MODELS_MOST", 2)
    for layers in range(LAYERS, LAYERS + 3):
        engine.load(convolutions(model.with_name(f"{layers}.onnx"), layers), options)
    assert len(graphs(options)) == 2


def test_deleting_the_graphs_of_a_loaded_model_changes_nothing(model, options):
    engine.load(model, options)
    loaded = engine.load(model, options)
    before = answer(loaded)
    shutil.rmtree(options.cache_dir)
    assert np.array_equal(answer(loaded), before)


def test_a_folder_that_cannot_be_written_costs_the_graph_and_no_more(model, options):
    options.cache_dir.mkdir()
    (options.cache_dir / "graphs").write_text("a file where a folder belongs")
    assert answer(engine.load(model, options)).size


def test_a_disk_without_room_is_left_alone(model, options, monkeypatch):
    monkeypatch.setattr(graph_cache, "FREE_SHARE", 2**50)
    assert answer(engine.load(model, options)).size
    assert graphs(options) == []


def test_an_engine_that_cannot_write_its_graph_is_not_asked_again(model, options, monkeypatch):
    def refuse(self, save=None):
        if save is not None:
            raise ValueError("no space left on device")
        return plain(self)

    plain = engine.Opening.plain
    monkeypatch.setattr(engine.Opening, "plain", refuse)
    assert answer(engine.load(model, options)).size
    assert graphs(options) == []
    assert engine.loads_at_once(model, options)


def test_an_engine_that_dies_of_writing_its_graph_still_runs_the_model(model, options, monkeypatch):
    import os
    import signal

    def die(self, graph):
        os.kill(os.getpid(), signal.SIGSEGV)

    monkeypatch.setattr(engine.Opening, "optimised", die)
    assert answer(engine.load(model, options)).size
    assert graphs(options) == []
    assert engine.loads_at_once(model, options)


def test_weights_beside_the_model_are_no_part_of_its_hash_so_there_is_no_graph(original, options, tmp_path):
    import onnx

    path = tmp_path / "outside.onnx"
    found = onnx.load(original)
    for weights in found.graph.initializer:
        weights.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weights), weights.name))
    found.doc_string = "x" * graph_cache.LEAST_BYTES
    onnx.save(found, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (tmp_path / "weights.bin").exists()
    engine.load(path, options)
    assert graphs(options) == []


def test_the_key_names_every_kind_of_core_and_its_features(tmp_path):
    info = tmp_path / "cpuinfo"
    cores = [f"processor : {n}\nBogoMIPS : 108.0{n}\nFeatures : fp asimd\nCPU part : {p}\n" for n, p in
             enumerate(("0xd08", "0xd0b"))]  # fmt: skip
    info.write_text("\n".join([*cores, "Serial : 1000\n"]))
    said = graph_cache.processor(info).splitlines()[1:]
    assert said == ["CPU part : 0xd08", "CPU part : 0xd0b", "Features : fp asimd"]
    assert graph_cache.processor(tmp_path / "none").strip()
