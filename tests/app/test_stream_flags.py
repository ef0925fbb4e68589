"""What the user says of sound and windows, to models that bring a manifest and to those that do not."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto
from support.guessing import FLOAT, build, picture, random

from edge.app import loading
from edge.errors import ConfigError, ModelError
from edge.model.manifest import Input, Window
from edge.preprocess import window as windows
from edge.settings import layers


def opened(path: Path, *flags: str) -> tuple[Input, ...]:
    environment = {**os.environ, "HOME": str(path.parent)}
    return loading.open_model(layers.read(["--model", str(path), *flags], environment, "0")).manifest.inputs


def with_manifest(folder: Path, shape: list[int | str], rate: bool = False, **fields: Any) -> Path:
    taken = {"x": (FLOAT, shape), **({"sr": (TensorProto.INT64, [])} if rate else {})}
    path = build(folder / "m.onnx", taken, {"y": random(1, 2)})
    inputs = [{"name": "x", "shape": shape, **fields}]
    inputs += [{"name": "sr", "kind": "constant", "dtype": "int64", "value": 16000}] if rate else []
    manifest = {"name": "m", "task": "classify", "inputs": inputs, "outputs": [{"name": "y", "role": "scores"}]}
    (folder / "m.onnx.json").write_text(json.dumps(manifest))
    return path


SOUND = {"kind": "audio", "sample_rate": 16000, "window": {"size": 512, "hop": 512, "context": 64}}


def test_another_rate_sets_the_windows_the_context_and_the_input_for_the_rate(tmp_path):
    sound, rate = opened(with_manifest(tmp_path, [1, "n"], rate=True, **SOUND), "--sample-rate", "8000")
    assert (sound.sample_rate, rate.value) == (8000, 8000)
    assert sound.window == Window(size=256, hop=256, context=32)


def test_a_length_that_the_file_fixes_stays_at_another_rate(tmp_path):
    (sound,) = opened(with_manifest(tmp_path, [1, 576], **SOUND), "--sample-rate", "8000")
    assert (sound.sample_rate, sound.window) == (8000, Window(size=512, hop=512, context=64))


def test_window_and_hop_of_sound_are_the_users(tmp_path):
    (sound,) = opened(with_manifest(tmp_path, [1, "n"], **SOUND), "--window", "1024", "--hop", "256")
    assert sound.window == Window(size=1024, hop=256, context=64)


def test_the_front_end_is_the_users_and_loses_the_options_of_the_other(tmp_path):
    options = {"frontend": "log-mel", "frontend_options": {"bands": 40}}
    path = with_manifest(tmp_path, [1, "n", 40], **SOUND, **options)
    (sound,) = opened(path, "--frontend", "mfcc")
    assert (sound.frontend, sound.frontend_options) == ("mfcc", {})
    (sound,) = opened(path, "--frontend", "log-mel")
    assert sound.frontend_options == {"bands": 40}


def test_a_table_gets_the_window_that_the_user_says(tmp_path):
    (table,) = opened(with_manifest(tmp_path, [1, 12], kind="table"), "--window", "4")
    assert table.window == Window(size=4, hop=2)


def test_the_flags_repeated_for_a_model_without_a_manifest_change_nothing(tmp_path):
    path = build(tmp_path / "m.onnx", {"x": (FLOAT, [1, 16000])}, {"y": random(1, 2)})
    assert opened(path, "--sample-rate", "16000", "--window", "16000", "--hop", "8000")[0].window == Window(
        size=16000, hop=8000
    )


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--sample-rate", "8000"], "--sample-rate: this model takes no sound"),
        (["--frontend", "mfcc"], "--frontend: this model takes no sound"),
        (["--hop", "2"], "--hop 2: this model has no window"),
    ],
)
def test_what_a_table_cannot_obey_is_refused(tmp_path, flags, said):
    with pytest.raises(ConfigError, match=said):
        opened(with_manifest(tmp_path, [1, 12], kind="table"), *flags)


@pytest.mark.parametrize("flag", ["--sample-rate", "--window", "--hop"])
def test_what_a_model_of_pictures_cannot_obey_is_refused(tmp_path, flag):
    with pytest.raises(ConfigError, match=f"{flag}: this model takes no (sound|windows)"):
        opened(build(tmp_path / "m.onnx", picture(), {"y": random(1, 2)}), flag, "100")


def test_a_window_of_other_than_the_models_steps_is_a_model_error(tmp_path):
    path = build(tmp_path / "m.onnx", {"x": (FLOAT, [1, 10, 3])}, {"y": random(1, 2)})
    environment = {**os.environ, "HOME": str(tmp_path)}
    loaded = loading.open_model(layers.read(["--model", str(path), "--window", "5"], environment, "0"))
    with pytest.raises(ModelError, match="a window of 5 rows for a model that takes 10 at once"):
        windows.create(loaded.manifest, loaded.engine.inputs)
