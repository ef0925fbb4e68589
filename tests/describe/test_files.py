"""What a file and its neighbours say of a model, and files that cannot be used."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from support import tflitemeta, tinytflite
from support.guessing import FLOAT, build, describe, opened, picture, random

import edge.describe.describe
from edge.app.assembly import make_pipeline
from edge.data.sample import Image, Sample
from edge.describe.describe import Overrides
from edge.describe.embedded import read_metadata
from edge.engines import choose, litert
from edge.errors import ConfigError, ModelError
from edge.model import container
from edge.plugins.protocols import EngineOptions


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "model.onnx"


# --- beside the file ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"height": 96, "width": 96}},
         ((127.5,) * 3, (127.5,) * 3, "stretch", 1.0)),
        ({"do_normalize": False, "rescale_factor": 1 / 255, "size": {"height": 96, "width": 96}},
         ((), (255.0,), "stretch", 1.0)),
        ({"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "do_center_crop": True,
          "size": {"shortest_edge": 108}, "crop_size": {"height": 96, "width": 96}},
         ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), "crop", 0.888889)),
        ({"image_mean": [0, 0, 0], "image_std": [1, 1, 1], "size": {"shortest_edge": 800, "longest_edge": 1333}},
         ((0.0,) * 3, (255.0,) * 3, "letterbox-topleft", 1.0)),
        ({"do_rescale": False, "do_normalize": False}, ((), (), "stretch", 1.0)),
        # BEiT: stretched to a rectangle, of which the middle is cut out.
        ({"do_normalize": False, "do_center_crop": True, "size": {"height": 96, "width": 96},
          "crop_size": {"height": 96, "width": 96}}, ((), (255.0,), "stretch", 1.0)),
        ({"do_normalize": False, "do_center_crop": True, "size": {"height": 128, "width": 128},
          "crop_size": {"height": 96, "width": 96}}, ((), (255.0,), "stretch", 0.75)),
        # Older files of DETR and ConvNeXt say the shortest edge as a number.
        ({"do_normalize": False, "size": 72, "max_size": 96}, ((), (255.0,), "letterbox-topleft", 1.0)),
        ({"do_normalize": False, "size": 96, "crop_pct": 0.875}, ((), (255.0,), "crop", 0.880734)),
        ({"do_normalize": False, "size": {"shortest_edge": 384}, "crop_pct": 1.0}, ((), (255.0,), "stretch", 1.0)),
        # More than the whole, as of per cent: what is beyond the picture is not cut.
        ({"do_normalize": False, "size": 96, "crop_pct": 300}, ((), (255.0,), "crop", 1.0)),
        ({"do_normalize": False, "size": 96}, ((), (255.0,), "stretch", 1.0)),
        # PoolFormer and LeViT resize to more than the shortest edge that their files name, and cut the middle out.
        ({"do_normalize": False, "do_center_crop": True, "size": {"shortest_edge": 96}, "crop_pct": 0.9,
          "crop_size": {"height": 96, "width": 96}}, ((), (255.0,), "crop", 0.90566)),
        ({"image_processor_type": "LevitImageProcessor", "do_normalize": False, "do_center_crop": True,
          "size": {"shortest_edge": 98}, "crop_size": {"height": 98, "width": 98}}, ((), (255.0,), "crop", 0.875)),
        # EfficientNet divides by its deviations twice, unless its last layer was left out.
        ({"image_mean": [0.485, 0.456, 0.406], "image_std": [0.47853944, 0.4732864, 0.47434163], "include_top": True},
         ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), "stretch", 1.0)),
        ({"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "include_top": False},
         ((127.5,) * 3, (127.5,) * 3, "stretch", 1.0)),
    ],
)  # fmt: skip
def test_a_preprocessor_configuration_says_how_pixels_become_numbers(file, said, expected):
    (file.parent / "preprocessor_config.json").write_text(json.dumps({"do_rescale": True, **said}))
    found = describe(build(file, picture(96), {"logits": random(1, 5, low=-4)}))
    (image,) = found.manifest.inputs
    assert (image.mean, image.std, image.resize, image.crop_fraction) == expected
    assert found.reasons["inputs.mean"] == "preprocessor_config.json"
    assert not any("--mean" in w for w in found.warnings)


@pytest.mark.parametrize(
    ("name", "said", "expected"),
    [
        ("preprocessor_config.json", {"do_normalize": False, "resample": 3}, "bicubic"),
        ("preprocessor_config.json", {"do_normalize": False, "resample": 0}, "nearest"),
        ("preprocessor_config.json", {"do_normalize": False, "do_resize": False, "resample": 3}, ""),
        ("preprocessor_config.json", {"do_normalize": False}, ""),
        ("config.json", {"pretrained_cfg": {"mean": [0.5], "std": [0.5], "interpolation": "bicubic"}}, "bicubic"),
        ("config.json", {"pretrained_cfg": {"mean": [0.5], "std": [0.5], "interpolation": "random"}}, ""),
        ("transforms.json", {"mean": [0.5], "std": [0.5], "interpolation": "InterpolationMode.BILINEAR"}, "bilinear"),
        ("transforms.json", {"mean": [0.5], "std": [0.5], "interpolation": "nearest-exact"}, "nearest"),
    ],
)
def test_a_file_beside_the_model_says_by_which_kernel_pictures_are_resized(file, name, said, expected):
    extra = {"do_rescale": True} if name == "preprocessor_config.json" else {}
    (file.parent / name).write_text(json.dumps({**extra, **said}))
    (image,) = describe(build(file, picture(96), {"logits": random(1, 5, low=-4)})).manifest.inputs
    assert image.resample == expected


@pytest.mark.parametrize("kept", [True, False])
def test_a_form_that_is_not_kept_is_told(file, kept):
    # DPT and Depth Anything
    said = {"do_rescale": True, "do_normalize": False, "size": {"height": 96, "width": 96}, "keep_aspect_ratio": kept}
    (file.parent / "preprocessor_config.json").write_text(json.dumps(said))
    found = describe(build(file, picture(96), {"logits": random(1, 5, low=-4)}))
    assert any("the form of a picture should be kept" in w for w in found.warnings) == kept


def test_a_kernel_that_nobody_knows_leaves_the_file_out_with_its_reason(file):
    said = {"do_rescale": True, "do_normalize": False, "resample": 9}
    (file.parent / "preprocessor_config.json").write_text(json.dumps(said))
    found = describe(build(file, picture(96), {"logits": random(1, 5, low=-4)}))
    assert any("left out: the way to resize '9' is unknown" in w for w in found.warnings)


PROBLEMS = {"multi_label_classification": "sigmoid", "single_label_classification": "softmax", None: "softmax"}


@pytest.mark.parametrize("low", [-4.0, 0.1], ids=["both sides of 0", "like shares"])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_configuration_of_transformers_says_what_makes_probabilities_of_logits(file, problem, low):
    # as its own pipelines do it: transformers, pipelines/image_classification.py, `function_to_apply`
    (file.parent / "config.json").write_text(json.dumps({"model_type": "vit", "problem_type": problem}))
    found = describe(build(file, picture(96), {"logits": random(1, 5, low=low, high=0.9)}))
    assert (found.manifest.task, found.manifest.activation) == ("classify", PROBLEMS[problem])
    assert not any("--activation" in w for w in found.warnings)


def test_a_regression_of_transformers_gives_values_however_many_they_are(file):
    config = {"model_type": "vit", "problem_type": "regression", "id2label": {"0": "LABEL_0", "1": "LABEL_1"}}
    (file.parent / "config.json").write_text(json.dumps(config))
    assert describe(build(file, picture(96), {"logits": random(1, 2)})).manifest.task == "regress"


def test_a_problem_of_another_programs_configuration_says_nothing_of_the_logits(file):
    (file.parent / "config.json").write_text(json.dumps({"problem_type": "multi_label_classification"}))
    assert describe(build(file, picture(96), {"logits": random(1, 5, low=-4)})).manifest.activation == "softmax"


def test_the_middle_of_a_stretched_picture_is_what_a_rectangle_and_a_crop_leave(file):
    said = {"do_rescale": False, "do_normalize": False, "do_center_crop": True,
            "size": {"height": 64, "width": 64}, "crop_size": {"height": 32, "width": 32}}  # fmt: skip
    (file.parent / "preprocessor_config.json").write_text(json.dumps(said))
    (file.parent / "config.json").write_text(json.dumps({"model_type": "vit", "problem_type": "regression"}))
    mean = [helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)]
    loaded = opened(build(file, picture(32), {"y": [1, 3]}, nodes=mean))
    pixels = np.zeros((64, 256, 3), np.uint8)
    pixels[16:48, 64:192] = 200  # a quarter of the picture, its middle
    (result,) = make_pipeline(loaded, "d").process(Sample(pixels, "test", 0, 0))
    assert [p.value for p in result.predictions] == pytest.approx([200.0] * 3, abs=2)


@pytest.mark.parametrize(("wanted", "task"), [(True, "raw"), (False, "classify")])
def test_sound_that_has_to_be_standardised_is_no_sound_for_answers(file, wanted, task):
    said = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 8000, "do_normalize": wanted}
    (file.parent / "preprocessor_config.json").write_text(json.dumps(said))
    (file.parent / "config.json").write_text(json.dumps({"model_type": "wav2vec2", "id2label": {"0": "a", "1": "b"}}))
    built = build(file, {"input_values": (FLOAT, [1, 16000])}, {"logits": random(1, 2, low=-4)})
    found = describe(built, Overrides(sound=True))
    assert (found.manifest.task, found.manifest.inputs[0].sample_rate) == (task, 8000)
    assert any("a mean of 0" in w for w in found.warnings) == wanted


def test_a_configuration_gives_labels_and_the_size_of_a_picture_whose_dimensions_are_free(file):
    (file.parent / "config.json").write_text(json.dumps({"model_type": "vit", "id2label": {"0": "cat", "1": "dog"}}))
    (file.parent / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"height": 64, "width": 48}})
    )
    inputs = {"pixel_values": (FLOAT, ["batch_size", "num_channels", "height", "width"])}
    found = describe(build(file, inputs, {"logits": random(1, 2, low=-4)})).manifest
    (image,) = found.inputs
    assert (image.kind, image.layout, image.size, found.labels) == ("image", "NCHW", (48, 64), ("cat", "dog"))


@pytest.mark.parametrize("text", ["", "[", "[1, 2]", '{"size": "x", "image_mean": 3}'])
def test_a_configuration_that_is_none_does_no_harm(file, text):
    for name in ("config.json", "preprocessor_config.json"):
        (file.parent / name).write_text(text)
    assert describe(build(file, picture(), {"y": random(1, 5)})).manifest.task == "classify"


# --- the graph ------------------------------------------------------------------------------------------------


def scaled(path: Path, operator: str, constant: float, *, node: bool = False) -> Path:
    """A model whose graph begins with an operator and a constant, which is a node or an initialiser."""
    value = np.float32([constant])
    made = [helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT)]
    if node:
        made.append(helper.make_node("Constant", [], ["c"], value=onnx.numpy_helper.from_array(value)))
    made += [helper.make_node(operator, ["f", "c"], ["s"]), helper.make_node("GlobalAveragePool", ["s"], ["y"])]
    graph = helper.make_graph(
        made, "g", [helper.make_tensor_value_info("x", FLOAT, [1, 3, 96, 96])],
        [helper.make_tensor_value_info("y", FLOAT, [1, 3, 1, 1])],
        [] if node else [onnx.numpy_helper.from_array(value, "c")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="pytorch")
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("node", [True, False])
@pytest.mark.parametrize(
    ("operator", "constant", "std"),
    [("Mul", 1 / 255, ()), ("Div", 255.0, ()), ("Sub", 127.5, ()), ("Sub", 0.485, (255.0,)), ("Div", 0.229, (255.0,))],
)
def test_a_model_that_scales_by_itself_is_not_scaled_again(file, operator, constant, std, node):
    found = describe(scaled(file, operator, constant, node=node))
    assert (found.manifest.inputs[0].mean, found.manifest.inputs[0].std) == ((), std)
    assert not any("--mean" in w for w in found.warnings)


def mean_of_two_constants(path: Path) -> Path:
    """The graph begins with a node of constants alone: 0.485 * 255, which is then subtracted."""
    numbers = {"mean": 0.485, "whole": 255.0}
    nodes = [
        helper.make_node("Mul", ["mean", "whole"], ["m"]),
        helper.make_node("Sub", ["x", "m"], ["s"]),
        helper.make_node("GlobalAveragePool", ["s"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", FLOAT, [1, 3, 96, 96])],
        [helper.make_tensor_value_info("y", FLOAT, [1, 3, 1, 1])],
        [onnx.numpy_helper.from_array(np.float32([v]), n) for n, v in numbers.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="pytorch")
    onnx.save(model, path)
    return path


def test_a_scale_made_of_constants_is_not_taken_for_what_is_done_to_the_input(file):
    found = describe(mean_of_two_constants(file))
    assert any("--mean and --std" in w for w in found.warnings)


@pytest.mark.parametrize(("constant", "std"), [(0.485, (255.0,)), (123.7, ())])
def test_what_the_graph_does_itself_is_not_done_twice_though_a_file_beside_it_says_so(file, constant, std):
    said = {"do_rescale": True, "image_mean": [0.485] * 3, "image_std": [0.229] * 3}
    (file.parent / "preprocessor_config.json").write_text(json.dumps(said))
    found = describe(scaled(file, "Sub", constant, node=False))
    assert (found.manifest.inputs[0].mean, found.manifest.inputs[0].std) == ((), std)
    assert any("--mean and --std" in w for w in found.warnings)


@pytest.mark.parametrize(
    ("scale", "zero", "numbers"),
    [(1 / 255, -128, ((), (255.0,))), (2 / 255, 0, ((127.5,), (127.5,))), (1.0, -128, ((), ()))],
)
def test_an_input_that_is_quantised_first_says_its_range(tmp_path, scale, zero, numbers):
    path = tmp_path / "m.tflite"
    path.write_bytes(tinytflite.quantising_first(scale, zero))
    (image,) = edge.describe.describe.describe(path, litert.load(path, EngineOptions())).manifest.inputs
    assert (image.mean, image.std) == numbers


# --- TFLite's own words ---------------------------------------------------------------------------------------


def test_inputs_and_outputs_are_called_as_in_the_signature(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(
        tinytflite.signed({"serving_default_b:0": "hum", "serving_default_a:0": "temp"}, {"Call:0": "sum"})
    )
    pipeline = make_pipeline(opened(path), "d")
    (result,) = pipeline.process(Sample({"temp": 3, "hum": 1}, "test", 0, 0))
    assert [(p.name, p.value) for p in result.predictions] == [("sum", 4.0)]


def test_display_names_come_before_the_names_of_the_classes(tmp_path):
    path = tmp_path / "m.tflite"
    made = tinytflite.build(shape=(1, 16, 16, 3))
    path.write_bytes(
        tflitemeta.attach(made, mean=[0], std=[1], labels=["/m/1", "/m/2"], threshold=0, display=["Hund", "Katze"])
    )
    assert read_metadata(path, {}).labels == ("Hund", "Katze")


@pytest.mark.parametrize("cut", [1, 30, 60])
def test_an_archive_behind_a_model_that_is_cut_off_is_told(tmp_path, cut):
    path = tmp_path / "m.tflite"
    path.write_bytes(tinytflite.build())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.txt", "cat\ndog\n")
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(ModelError, match=r"is cut off: copy the file again"):
        container.read_manifest(path, {})


def test_weights_that_look_like_the_begin_of_an_archive_are_none(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(tinytflite.build() + b"PK\x03\x04" + bytes(range(200)))
    assert container.read_manifest(path, {}) is None


# --- files that cannot be used --------------------------------------------------------------------------------


def test_a_bundle_of_mediapipe_names_what_it_holds(tmp_path):
    path = tmp_path / "face.task"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("face_detector.tflite", b"x")
    with pytest.raises(ModelError, match=r"holds face_detector\.tflite; .*: unzip face\.task face_detector\.tflite"):
        choose.find(path)


def test_the_graph_of_a_saved_model_names_its_folder(tmp_path):
    path = tmp_path / "saved_model.pb"
    path.write_bytes(b"\x08\x01\x12\x10the bytes of a graph")
    with pytest.raises(ModelError, match=f"a part of a SavedModel; run edge-convert on the folder {tmp_path.name}"):
        choose.find(path)


def test_a_batch_that_is_fixed_is_told_with_the_way_out(file):
    path = build(file, {"images": (FLOAT, [4, 3, 96, 96])}, {"y": random(4, 84, 189)})
    with pytest.raises(ModelError, match=r"takes 4 pictures at once.*batch=1 or dynamic=True"):
        describe(path)
    assert describe(path, Overrides(task="raw")).manifest.task == "raw"


@pytest.mark.parametrize("shape", [[1, 3, 2**20, 2**20], [1, 2**40]])
def test_an_impossible_shape_is_told(file, shape):
    with pytest.raises(ModelError, match="impossible shape"):
        describe(build(file, {"x": (FLOAT, shape)}, {"y": random(1, 5)}))


# --- what a flag may say --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outputs", "flags", "said"),
    [
        ({"y": random(1, 5, low=-4)}, ["--threshold", "50"], "--threshold 50: scores lie between 0 and 1: 50 % is"),
        ({"y": random(1, 5, low=-4)}, ["--nms", "0.5"], "--nms: the outputs of this model are read by 'classify'"),
        ({"pred_score": random(1)}, ["--top-k", "3"], "--top-k"),
        ({"y": random(1, 7, 3, 3)}, ["--threshold", "0.5"], "--threshold"),
        ({"dets": random(1, 50, 5), "labels": np.zeros((1, 50), np.int64)}, ["--nms", "0.5"], "--nms"),
        (
            {"dets": random(1, 50, 5), "labels": np.zeros((1, 50), np.int64)},
            ["--activation", "softmax"],
            "--activation",
        ),
    ],
)
def test_a_flag_that_the_decoder_cannot_obey_is_refused(file, outputs, flags, said):
    with pytest.raises(ConfigError) as told:
        opened(build(file, picture(), outputs), *flags)
    assert str(told.value).startswith(said)


def test_the_threshold_of_an_anomaly_is_any_number(file):
    path = build(file, picture(), {"pred_score": random(1)})
    assert opened(path, "--threshold", "50").manifest.threshold == 50


def test_mean_and_std_scale_a_table(file):
    node = helper.make_node("Identity", ["x"], ["y"])
    path = build(file, {"x": (FLOAT, ["n", 3])}, {"y": [1, 3]}, nodes=[node])
    pipeline = make_pipeline(opened(path, "--mean", "1,2,3", "--std", "2", "--task", "regress"), "d")
    (result,) = pipeline.process(Sample([3, 2, 7], "test", 0, 0))
    assert [p.value for p in result.predictions] == [1, 0, 2]


# --- ways in ----------------------------------------------------------------------------------------------------


def test_a_file_in_the_format_of_onnx_runtime_runs(file, tmp_path):
    build(file, picture(), {"y": random(1, 5)})
    settings = onnxruntime.SessionOptions()
    settings.optimized_model_filepath = str(tmp_path / "m.ort")
    settings.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])
    loaded = opened(tmp_path / "m.ort", "--state-dir", str(tmp_path / "state"))
    assert (loaded.manifest.task, loaded.manifest.inputs[0].kind) == ("classify", "image")


def test_teachable_machine_crops_the_middle(file):
    inputs = {"sequential_1_input": (FLOAT, [1, 224, 224, 3])}
    (image,) = describe(build(file, inputs, {"y": random(1, 2)}, producer="tf2onnx")).manifest.inputs
    assert (image.resize, image.mean, image.std) == ("crop", (127.5,), (127.5,))


def test_yamnet_keeps_its_meaning_beside_its_log_mel(file):
    outputs = {"scores": random(1, 521), "log_mel": random(96, 64, low=-6)}
    found = describe(build(file, {"waveform": (FLOAT, [15_600])}, outputs)).manifest
    assert (found.task, [o.name for o in found.outputs]) == ("classify", ["scores"])


def test_a_long_row_of_no_usual_length_is_a_table_of_features(file):
    found = describe(build(file, {"x": (FLOAT, [1, 10_000])}, {"y": random(1, 5)})).manifest
    assert found.inputs[0].kind == "table"


def test_scores_above_1_are_remarked_once(file, caplog):
    path = build(file, picture(), {"y": np.float32([[0.5, 7.0]])})
    pipeline = make_pipeline(opened(path, "--activation", "none"), "d")
    picture_ = Sample(Image(np.zeros((96, 96, 3), np.uint8)), "test", 0, 0)
    for _ in range(3):
        pipeline.process(picture_)
    assert [r.message for r in caplog.records].count("scores are no probabilities") == 1
