from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from support import tflitemeta, tinytflite
from support.guessing import FLOAT, boxes, build, describe, picture, random

import edge.describe.describe
from edge.data.tensor import Quantization, TensorSpec
from edge.describe import audio, signature
from edge.describe.describe import Overrides
from edge.describe.embedded import read_metadata
from edge.engines import litert
from edge.errors import ConfigError
from edge.plugins.protocols import EngineOptions


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "model.onnx"


@pytest.mark.parametrize(
    ("inputs", "outputs", "pairs"),
    [
        (["x", "state"], ["y", "stateN"], {"state": "stateN"}),
        (["x", "h", "c"], ["y", "hn", "cn"], {"h": "hn", "c": "cn"}),
        (["x", "h_in", "c_in"], ["y", "h_out", "c_out"], {"h_in": "h_out", "c_in": "c_out"}),
        (["x", "cache_old"], ["y", "cache_new"], {"cache_old": "cache_new"}),
        (["x", "q"], ["y", "r"], {"q": "r"}),
    ],
)
def test_a_state_is_known_by_its_name_or_its_shape(file, inputs, outputs, pairs):
    shapes = {n: (FLOAT, [1, 9] if n == "x" else [2, 1, 16]) for n in inputs}
    values = {n: random(1, 4) if n == "y" else random(2, 1, 16) for n in outputs}
    found = describe(build(file, shapes, values)).manifest
    assert {i.name: i.state_from for i in found.inputs if i.state_from} == pairs


def test_two_ordinary_inputs_are_no_states(file):
    inputs = {"a": (FLOAT, [1, 9]), "b": (FLOAT, [1, 5])}
    found = describe(build(file, inputs, {"y": random(1, 9), "z": random(1, 4)})).manifest
    assert not any(i.state_from for i in found.inputs)


def test_a_sample_rate_is_a_constant_and_the_rest_is_sound(file):
    inputs = {"input": (FLOAT, ["n", "t"]), "state": (FLOAT, [2, "n", 128]), "sr": (TensorProto.INT64, [])}
    found = describe(build(file, inputs, {"output": random(1, 1), "stateN": random(2, 1, 128)})).manifest
    by_name = {i.name: i for i in found.inputs}
    assert by_name["sr"].value == 16_000
    assert by_name["input"].kind == "audio"
    assert (by_name["input"].window.size, by_name["input"].window.context) == (512, 64)


def test_older_versions_of_silero_have_no_context(file):
    states = {n: (FLOAT, [2, "n", 64]) for n in ("h", "c")}
    inputs = {"input": (FLOAT, ["n", "t"]), "sr": (TensorProto.INT64, []), **states}
    outputs = {"output": random(1, 1), "hn": random(2, 1, 64), "cn": random(2, 1, 64)}
    found = describe(build(file, inputs, outputs)).manifest
    assert (found.inputs[0].window.size, found.inputs[0].window.context) == (512, 0)
    assert found.labels == ("no speech", "speech")


@pytest.mark.parametrize(
    ("shape", "states", "window"),
    [
        ([1, 576], {"state": [2, 1, 128]}, (16_000, 512, 64)),
        (["n", "t"], {"state": [2, "n", 128]}, (16_000, 512, 64)),
        (["n", 576], {"h": [1, 1, 128], "c": [1, 1, 128]}, (16_000, 512, 64)),
        ([1, 288], {"state": [2, 1, 128]}, (8_000, 256, 32)),
    ],
)
def test_silero_is_known_by_its_state_without_a_sample_rate(file, shape, states, window):
    outputs = {
        "output": random(1, 1),
        **{f"{n}n": random(*(d if d != "n" else 1 for d in s)) for n, s in states.items()},
    }
    inputs = {"input": (FLOAT, shape), **{n: (FLOAT, s) for n, s in states.items()}}
    found = describe(build(file, inputs, outputs)).manifest
    part = next(i for i in found.inputs if i.name == "input")
    assert (part.kind, found.labels) == ("audio", ("no speech", "speech"))
    assert (part.sample_rate, part.window.size, part.window.context) == window


@pytest.mark.parametrize(
    ("shape", "window"),
    [([1, 1024], (16_000, 1024)), ([None, None], (16_000, 16_000)), ([None, 43_844, 1], (22_050, 43_844))],
)
def test_a_source_of_sound_makes_sound_of_a_row(file, shape, window):
    path = build(file, {"x": (FLOAT, shape)}, {"y": random(1, 4)})
    assert describe(path).manifest.inputs[0].kind != "audio"
    found = describe(path, Overrides(sound=True))
    (part,) = found.manifest.inputs
    assert (part.kind, part.sample_rate, part.window.size) == ("audio", *window)
    assert any("taken to want" in w for w in found.warnings) == (window[1] != 43_844)


@pytest.mark.parametrize(
    ("length", "guess"),
    [(16_000, False), (15_600, False), (144_000, False), (22_050, False), (8000, True), (48_000, True)],
)
def test_a_length_that_is_whole_seconds_at_several_rates_is_a_guess_that_names_the_flag(file, length, guess):
    path = build(file, {"x": (FLOAT, [1, length])}, {"y": random(1, 5)})
    assert any("--sample-rate says otherwise" in w for w in describe(path).warnings) == guess
    assert not any("--sample-rate" in w for w in describe(path, Overrides(sample_rate=8000)).warnings)


LOGITS = np.random.default_rng(0).normal(size=(1, 40)).astype(np.float32)
"""With a mean near 0, as a softmax is trained to have them."""


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (LOGITS * 2 - 9, "sigmoid"),  # birds of 40 kinds: each is rare, several may sing
        (LOGITS * 2, "softmax"),
        (LOGITS * 9 - 4, "softmax"),  # sure of one
        (LOGITS * 2.7 - 8.2, "softmax"),  # trained by Adam, which lets the mean sink
        (LOGITS * 2 - 9 - np.log(np.exp(LOGITS * 2 - 9).sum()), "softmax"),  # log_softmax in the graph
        (LOGITS[:, :5] - 9, "softmax"),  # so few lie anywhere
    ],
)
def test_classes_of_sound_that_are_all_rare_may_come_together(file, values, wanted):
    found = describe(build(file, {"x": (FLOAT, [1, 16_000])}, {"y": values}))
    assert found.manifest.activation == wanted
    assert f"--activation {wanted}" in found.guesses
    other = {"sigmoid": "softmax", "softmax": "sigmoid"}[wanted]
    assert any(f"--activation {other} or none says otherwise" in w for w in found.warnings)


def test_classes_of_pictures_get_the_usual_softmax_wherever_their_logits_lie(file):
    assert describe(build(file, picture(96), {"y": LOGITS * 2 - 9})).manifest.activation == "softmax"


def test_numbers_that_may_be_measures_name_the_flag_where_no_labels_say_that_they_are_scores(file):
    path = build(file, picture(96), {"y": LOGITS})
    named = Overrides(labels=tuple(f"name {n}" for n in range(40)))
    assert any("--task regress" in w for w in describe(path).warnings)
    assert not any("--task regress" in w for w in describe(path, named).warnings)


def test_sound_that_comes_back_is_told_as_it_is(file):
    node = helper.make_node("Identity", ["x"], ["y"])
    found = describe(build(file, {"x": (FLOAT, [1, 640])}, {"y": [1, 640]}, nodes=[node]), Overrides(sound=True))
    assert found.manifest.task == "raw"
    assert any("--task anomaly, where it gives its input back" in w for w in found.warnings)


def test_a_spectrum_is_no_wave(file):
    path = build(file, {"x": (FLOAT, [1, 257])}, {"y": random(1, 4)})
    assert describe(path, Overrides(sound=True)).manifest.inputs[0].kind == "table"


def quantised(*shape, scale: float = 26 / 255) -> TensorSpec:
    return TensorSpec("x", "int8", shape, Quantization(scale, -128))


@pytest.mark.parametrize(
    ("spec", "heard"),
    [
        (quantised(1, 3, 40), (480, 480, "micro")),
        (quantised(1, 49, 40, 1), (16_000, 8_000, "micro")),
        (quantised(1, 1960), (16_000, 8_000, "micro")),
    ],
)
def test_features_are_those_of_the_micro_front_end_where_their_range_is_its_own(spec, heard):
    assert signature.roles([spec], []).kind == "audio"
    found = audio.hear(spec, ())
    assert (found.size, found.hop, found.frontend) == heard


@pytest.mark.parametrize("spec", [quantised(1, 3, 40, scale=0.5), TensorSpec("x", "float32", (1, 49, 40, 1))])
def test_other_features_may_be_anything(spec):
    assert signature.roles([spec], []).kind == "tensor"


def test_a_score_of_a_few_frames_is_a_wake_word():
    assert audio.labels(audio.hear(quantised(1, 3, 40), ()), (), ()) == ("no wake word", "wake word")
    assert audio.labels(audio.hear(quantised(1, 1960), ()), (), ()) == ()


def test_features_of_sound_are_made_where_the_user_names_a_front_end(file):
    path = build(file, {"x": (FLOAT, [1, 98, 40])}, {"y": random(1, 4)})
    (part,) = describe(path, Overrides(frontend="log-mel")).manifest.inputs
    assert (part.kind, part.frontend, part.window.size) == ("audio", "log-mel", 16_000)


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ([1, 16_000], "audio"), ([15_600], "audio"), ([1, 1960], "audio"), ([1, 640], "table"),
        ([1, 49, 40, 1], "tensor"),
        ([1, 2, 128, 2], "tensor"), ([1, 1, 32, 100], "image"), ([None, 3, None, None], "image"), ([1, 5], "table"),
        ([None, None], "tensor"), ([4, 3, 64, 64], "tensor"), ([3, 64, 64], "image"),
        ([1, 128, 9], "table"), ([None, 50, 3], "table"), ([1, 1, 257], "tensor"),
    ],
)  # fmt: skip
def test_the_kind_of_an_input_follows_from_its_shape(shape, kind):
    from edge.data.tensor import TensorSpec

    assert signature.roles([TensorSpec("x", "float32", tuple(shape))], []).kind == kind


def test_the_flags_that_were_guessed_can_be_given_back(file, tmp_path):
    (tmp_path / "labels.txt").write_text("\n".join(f"c{i}" for i in range(80)))
    found = describe(build(file, picture(), {"y": boxes(189, 85, 1)}))
    assert " ".join(found.guesses) == (
        "--task detect --decoder yolox --layout NCHW --color BGR --resize letterbox-topleft --input-size 96x96 "
        f"--labels {tmp_path / 'labels.txt'}"
    )


def test_what_is_in_a_zip_behind_a_tflite_file_is_read(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(tinytflite.build())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(
            "metadata.json", json.dumps({"names": {"0": "cat"}, "stride": 32, "task": "detect", "imgsz": [32, 64]})
        )
    found = read_metadata(path, {})
    assert (found.labels, found.size, found.kind) == (("cat",), (64, 32), "detect")


def test_a_damaged_archive_behind_a_tflite_file_is_told(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(tinytflite.build())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.txt", "first name\nsecond name")
    path.write_bytes(path.read_bytes().replace(b"second name", b"secand name"))
    found = read_metadata(path, {})
    assert found.labels == ()
    assert "is damaged" in " ".join(found.warnings)


@pytest.mark.parametrize(
    ("text", "names", "said"),
    [
        ("3 rooms\n1 room\n2 rooms", ("3 rooms", "1 room", "2 rooms"), "may be indexes"),
        ('{"0": "a", "0": "b"}', (), "twice"),
    ],
)
def test_what_is_doubtful_about_labels_in_the_file_itself_is_told(tmp_path, text, names, said):
    found = read_metadata(tmp_path / "none.onnx", {"labels": text})
    assert found.labels == names
    assert said in " ".join(found.warnings)


def test_tflite_metadata_says_how_pixels_become_numbers(tmp_path):
    path = tmp_path / "m.tflite"
    made = tinytflite.build(shape=(1, 16, 16, 3))
    labels = ["nobody", "cat"]
    path.write_bytes(tflitemeta.attach(made, mean=[120.0, 110.0, 100.0], std=[60.0], labels=labels, threshold=0.25))
    notes = read_metadata(path, {})
    assert (notes.labels, notes.threshold, notes.license) == (("nobody", "cat"), 0.25, "MIT")
    (image,) = edge.describe.describe.describe(path, litert.load(path, EngineOptions())).manifest.inputs
    assert (image.mean, image.std) == ((120, 110, 100), (60,))


@pytest.mark.parametrize(("mean", "std"), [(123.7, ()), (0.485, (255.0,))])
def test_a_tflite_that_begins_with_a_mean_says_by_it_whether_it_takes_pixels_or_shares(tmp_path, mean, std):
    path = tmp_path / "m.tflite"
    path.write_bytes(tinytflite.build(shape=(1, 16, 16, 3), constant=-mean))
    found = edge.describe.describe.describe(path, litert.load(path, EngineOptions()))
    (image,) = found.manifest.inputs
    assert (image.mean, image.std) == ((), std)
    assert not any("--mean" in w for w in found.warnings)


def test_a_damaged_tflite_file_tells_nothing_and_does_no_harm(tmp_path):
    whole = tinytflite.build()
    path = tmp_path / "m.tflite"
    rng = np.random.default_rng(0)
    for _ in range(300):
        data = bytearray(whole)
        for at in rng.integers(8, len(data), 4):
            data[at] = rng.integers(0, 256)
        path.write_bytes(bytes(data[: rng.integers(8, len(data))]))
        read_metadata(path, {})


def test_steps_of_a_few_features_are_a_window_over_rows(file):
    scores = random(1, 6)
    found = describe(build(file, {"x": (FLOAT, [1, 128, 9])}, {"y": scores / scores.sum()}))
    (part,) = found.manifest.inputs
    assert (part.kind, part.window.size, part.window.hop, found.manifest.task) == ("table", 128, 64, "classify")
    assert "--window 128 --hop 64" in found.guesses


def test_a_flat_window_is_cut_where_the_user_says(file):
    (part,) = describe(
        build(file, {"x": (FLOAT, [1, 640])}, {"y": random(1, 1)}), Overrides(window=5, hop=1)
    ).manifest.inputs
    assert (part.window.size, part.window.hop) == (5, 1)


SILERO = (
    TensorSpec("input", "float32", (None, None)),
    TensorSpec("state", "float32", (2, None, 128)),
    TensorSpec("sr", "int64", ()),
)


@pytest.mark.parametrize(
    ("rate", "heard"), [(None, (16_000, 512, 64)), (16_000, (16_000, 512, 64)), (8_000, (8_000, 256, 32))]
)
def test_the_sample_rate_sets_window_and_context(rate, heard):
    found = audio.hear(SILERO[0], SILERO[1:2], rate)
    assert (found.rate, found.size, found.context) == heard


def test_a_rate_that_the_model_does_not_take_is_refused():
    with pytest.raises(ConfigError, match="takes 16000 or 8000 Hz"):
        audio.hear(SILERO[0], SILERO[1:2], 44_100)
    with pytest.raises(ConfigError, match="takes 8000 Hz"):
        audio.hear(TensorSpec("input", "float32", (1, 288)), SILERO[1:2], 16_000)


@pytest.mark.parametrize("rate", [8_000, 16_000])
def test_the_sample_rate_sets_the_model_s_own_rate_input(file, rate):
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["output"], axes=[1], keepdims=1),
        helper.make_node("Identity", ["state"], ["stateN"]),
        helper.make_node("Cast", ["sr"], ["rate"], to=TensorProto.FLOAT),
    ]
    ports = {"input": (FLOAT, ["n", "m"]), "state": (FLOAT, [2, "n", 128]), "sr": (TensorProto.INT64, [])}
    path = build(file, ports, {"output": ["n", 1], "stateN": [2, "n", 128], "rate": []}, nodes=nodes)
    found = describe(path, Overrides(sample_rate=rate))
    values = {i.name: i.value for i in found.manifest.inputs if i.kind == "constant"}
    assert values == {"sr": rate}
    assert found.manifest.inputs[0].sample_rate == rate
    window = found.manifest.inputs[0].window
    assert (window.size, window.context) == (rate * 512 // 16_000, rate * 64 // 16_000)


@pytest.mark.parametrize(
    ("length", "sure"), [(16_000, True), (15_600, True), (12_345, False), (9_999, False), (640, False)]
)
def test_a_length_that_is_no_usual_one_is_not_sure_to_be_sound(length, sure):
    assert audio.hear(TensorSpec("x", "float32", (1, length)), ()).sure is sure


@pytest.mark.parametrize(
    ("given", "back"),
    [
        ([("h_in", (1, 64, 1, 1))], [("y", (1, 3)), ("h_out", (1, 64, 1, 1))]),
        (
            [("r1i", ("a", "b", "c", "d")), ("r2i", (1, 20, 9, 9))],
            [("pha", (1, 1, 32, 32)), ("r1o", ("a", "b", "c", "d")), ("r2o", (1, 20, 9, 9))],
        ),
        ([("memory", (1, 32, 4, 4))], [("y", (1, 3)), ("StatefulCall:1", (1, 32, 4, 4))]),
        ([("state", (1, 3, 32, 32))], [("y", (1, 3)), ("state_out", (1, 3, 32, 32))]),
    ],
)  # fmt: skip
def test_a_model_of_pictures_may_remember(given, back):
    inputs = [TensorSpec("image", "float32", (1, 3, 32, 32)), *(TensorSpec(n, "float32", s) for n, s in given)]
    found = signature.roles(inputs, [TensorSpec(n, "float32", s) for n, s in back])
    assert (found.kind, dict(found.states)) == (
        "image",
        dict(zip([n for n, _ in given], [n for n, _ in back[1:]], strict=True)),
    )


def test_two_pictures_are_no_state():
    pair = [TensorSpec(n, "float32", (1, 3, 32, 32)) for n in ("left", "right")]
    outputs = [TensorSpec("depth", "float32", (1, 1, 32, 32)), TensorSpec("colour", "float32", (1, 3, 32, 32))]
    assert not signature.roles(pair, outputs).states


@pytest.mark.parametrize("rows", [1, "n"])
def test_a_plane_of_numbers_is_a_grey_picture_where_the_source_gives_pictures(file, rows):
    path = build(file, {"x": (FLOAT, [rows, 28, 28])}, {"y": random(1, 10)})
    assert describe(path, Overrides()).manifest.inputs[0].kind == "table"
    for overrides in (Overrides(pictures=True), Overrides(layout="NCHW")):
        (part,) = describe(path, overrides).manifest.inputs
        assert (part.kind, part.layout, part.color, part.size, part.std) == ("image", "NCHW", "GRAY", (28, 28), (255,))
