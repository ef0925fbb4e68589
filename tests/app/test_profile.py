"""What `edge-bench --tune` keeps, and when `edge-run` believes it."""

from __future__ import annotations

import json
import logging
import sys

import msgspec
import pytest
from support import onnxmodels

from edge.app import profile
from edge.app.profile import Profile
from edge.engines import onnxruntime
from edge.errors import SpoolError
from edge.model import identity
from edge.settings import layers


@pytest.fixture
def model(tmp_path):
    return onnxmodels.scores(tmp_path / "scores.onnx")


@pytest.fixture
def settings(tmp_path, model):
    """Those of `edge-run --model scores.onnx` and more flags or variables."""

    def read(*flags, environ=None):
        flags = ("--model", str(model), "--source", "-", "--mqtt", "none", "--state-dir", str(tmp_path), *flags)
        return layers.read(flags, environ or {}, "1")

    return read


@pytest.fixture
def tuned(tmp_path, model):
    """Keeps a profile of two threads that fits, apart from what is said."""
    fits = Profile(
        model=identity.sha256(model),
        engine=f"onnxruntime {onnxruntime.version()}",
        processor=profile.processor(),
        goal="latency",
        threads=2,
        provider="cpu",
    )

    def keep(**other):
        return profile.write(tmp_path, msgspec.structs.replace(fits, **other))

    return keep


def test_a_profile_gives_threads_and_provider_and_names_its_goal(settings, tuned, caplog):
    tuned()
    with caplog.at_level(logging.INFO):
        found = profile.apply(settings())
    assert (found.model.threads, found.model.provider, found.model.tuned_for) == (2, "cpu", "latency")
    assert [r.message for r in caplog.records] == ["tuned profile"]


def test_without_one_nothing_changes_and_nothing_is_said(settings, caplog):
    before = settings()
    assert profile.apply(before) is before
    assert not caplog.records


@pytest.mark.parametrize("flags", [("--threads", "1"), ("--provider", "cpu")])
def test_a_flag_wins_over_it(settings, tuned, flags):
    tuned()
    before = settings(*flags)
    assert profile.apply(before) is before


def test_a_variable_and_the_file_win_over_it(settings, tuned, tmp_path):
    tuned()
    said = settings(environ={"EDGE_THREADS": "1"})
    assert profile.apply(said) is said
    (tmp_path / "edge.toml").write_text("threads = 1\n")
    said = settings("--config", str(tmp_path / "edge.toml"))
    assert profile.apply(said) is said


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"engine": "onnxruntime 1.0"}, "engine: made for onnxruntime 1.0"),
        ({"processor": "Raspberry Pi 3, 4 cores"}, "processor: made for Raspberry Pi 3"),
        ({"provider": "banana"}, "no provider 'banana'"),
        ({"provider": "/no/such/delegate.so"}, "no provider"),
    ],
)
def test_one_of_another_engine_or_board_is_left_out_in_one_line(settings, tuned, caplog, other, reason):
    tuned(**other)
    before = settings()
    assert profile.apply(before) is before
    (record,) = caplog.records
    assert record.message == "tuned profile is not used"
    assert reason in record.reason


def test_one_of_another_model_under_this_ones_name_is_left_out(settings, tuned, model, tmp_path, caplog):
    tuned(model="0" * 64).rename(profile.path_of(tmp_path, identity.sha256(model)))
    before = settings()
    assert profile.apply(before) is before
    assert "model: made for 000" in caplog.records[0].reason


@pytest.mark.parametrize(
    "damage",
    [b"", b"\xff\x00", b"[]", b"{}", b'{"threads": "many"}'],
)
def test_a_damaged_one_is_left_out_in_one_line(settings, tuned, caplog, damage):
    tuned().write_bytes(damage)
    before = settings()
    assert profile.apply(before) is before
    (record,) = caplog.records
    assert record.reason.startswith("damaged: ")


@pytest.mark.parametrize("threads", [0, -1, 257])
def test_absurd_thread_counts_are_damage(settings, tuned, caplog, threads):
    path = tuned()
    path.write_text(json.dumps({**json.loads(path.read_text()), "threads": threads}))
    before = settings()
    assert profile.apply(before) is before
    assert caplog.records[0].reason.startswith("damaged: ")


def test_a_model_that_is_not_there_is_left_to_who_loads_it(settings, tuned, model):
    tuned()
    before = settings()
    model.unlink()
    assert profile.apply(before) is before


def test_an_engine_that_is_not_installed_is_left_to_who_loads_the_model(settings, tuned, monkeypatch):
    tuned()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "edge.engines.onnxruntime")
    monkeypatch.delattr("edge.engines.onnxruntime")
    before = settings()
    assert profile.apply(before) is before


def test_a_folder_that_cannot_be_one_is_an_error_of_the_state_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match="--state-dir"):
        profile.require_folder(tmp_path / "file")


def test_a_board_is_known_by_its_name(tmp_path):
    (tmp_path / "proc" / "device-tree").mkdir(parents=True)
    (tmp_path / "proc" / "device-tree" / "model").write_text("Raspberry Pi 5 Model B Rev 1.0\0")
    assert profile.processor(tmp_path).startswith("Raspberry Pi 5 Model B Rev 1.0, ")


def test_another_machine_by_its_processor(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n")
    assert profile.processor(tmp_path).startswith("Some CPU @ 2 GHz, ")
