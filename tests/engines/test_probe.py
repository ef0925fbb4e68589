from __future__ import annotations

import os
import signal
import time

import pytest

from edge.engines import probe
from edge.errors import ModelError


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(b"content")
    return path


def killed_by(number: int):
    return lambda: os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGFPE])
def test_a_model_that_kills_its_engine_is_a_model_error_here(model, number):
    with pytest.raises(ModelError, match=r"m\.tflite: it kills its engine"):
        probe.require_survival(model, "engine-1", None, killed_by(number))


def test_without_room_for_a_child_process_it_says_so(model, monkeypatch):
    def full() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", full)
    with pytest.raises(ModelError, match=r"m\.tflite: there is no child process .* \(Resource temporarily"):
        probe.require_survival(model, "engine-1", None, lambda: None)


def test_a_model_that_never_ends_is_a_model_error(model, monkeypatch):
    monkeypatch.setattr(probe, "TIMEOUT_S", 0.2)
    with pytest.raises(ModelError, match="still busy"):
        probe.require_survival(model, "engine-1", None, lambda: time.sleep(60))


def test_a_model_that_asks_for_more_memory_than_there_is_is_a_model_error(model):
    with pytest.raises(ModelError, match="exit code 70"):
        probe.require_survival(model, "engine-1", None, lambda: bytearray(2**46))


def test_an_error_that_can_be_told_is_left_to_the_caller(model):
    def refuse():
        raise ModelError("not a model")

    probe.require_survival(model, "engine-1", None, refuse)


def test_what_survived_is_not_tried_again_until_it_changes(model, tmp_path):
    cache = tmp_path / "cache"
    probe.require_survival(model, "engine-1", cache, lambda: None)
    probe.require_survival(model, "engine-1", cache, killed_by(signal.SIGSEGV))
    with pytest.raises(ModelError):
        probe.require_survival(model, "engine-2", cache, killed_by(signal.SIGSEGV))
    model.write_bytes(b"other content")
    with pytest.raises(ModelError):
        probe.require_survival(model, "engine-1", cache, killed_by(signal.SIGSEGV))


def test_a_cache_that_cannot_be_written_costs_a_trial_and_no_more(model, tmp_path):
    (tmp_path / "file").write_text("")
    probe.require_survival(model, "engine-1", tmp_path / "file", lambda: None)


def test_the_parent_goes_on_untouched(model):
    seen: list[int] = []
    probe.require_survival(model, "engine-1", None, lambda: seen.append(1))
    assert seen == []
