from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from support.guessing import FLOAT, build, describe, picture, random

import edge
from edge.data.tensor import TensorSpec
from edge.describe import flat
from edge.describe.describe import Overrides
from edge.errors import ConfigError


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "model.onnx"


def test_a_classifier_of_pytorch_gets_imagenets_numbers_and_softmax(file):
    found = describe(build(file, picture(224), {"y": random(1, 1000, low=-5, high=5)}))
    (image,) = found.manifest.inputs
    assert (found.manifest.task, found.manifest.activation) == ("classify", "softmax")
    assert (image.kind, image.layout, image.color, image.size) == ("image", "NCHW", "RGB", (224, 224))
    assert (image.mean, image.std) == ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
    assert "--activation softmax" in found.guesses


def test_scores_that_sum_to_one_are_probabilities_already(file):
    scores = random(1, 10)
    assert describe(build(file, picture(), {"y": scores / scores.sum()})).manifest.activation == ""


@pytest.mark.parametrize(("producer", "color"), [("onnx-caffe2", "BGR"), ("CNTK", "RGB")])
def test_models_of_caffe_and_cntk_take_pixels(file, producer, color):
    (image,) = describe(build(file, picture(224), {"y": random(1, 1000)}, producer=producer)).manifest.inputs
    assert (image.mean, image.std, image.color) == ((), (), color)


def test_a_grey_picture_is_told_by_its_one_channel(file):
    (image,) = describe(build(file, picture(28, 1), {"y": random(1, 10)})).manifest.inputs
    assert (image.color, image.mean, image.std) == ("GRAY", (), (255.0,))


def test_labels_beside_the_model_are_taken_and_told(tmp_path):
    folder = tmp_path / "two words"
    folder.mkdir()
    (folder / "labels.txt").write_text("cat\ndog\n")
    found = describe(build(folder / "m.onnx", picture(), {"y": random(1, 2)}))
    assert found.manifest.labels == ("cat", "dog")
    assert shlex.split(found.guesses[-1]) == ["--labels", str(folder / "labels.txt")]


def test_labels_beside_the_model_that_do_not_fit_are_told_and_not_used(tmp_path):
    (tmp_path / "labels.txt").write_text("cat\ndog\ncow\n")
    found = describe(build(tmp_path / "m.onnx", picture(), {"y": random(1, 5)}))
    assert found.manifest.labels == ()
    assert any("3 labels for a model of 5 classes: not used" in w for w in found.warnings)
    assert not any("--labels" in g for g in found.guesses)


def test_labels_of_the_user_that_do_not_fit_are_refused(file):
    with pytest.raises(ConfigError, match="3 labels for a model of 5 classes"):
        describe(build(file, picture(), {"y": random(1, 5)}), Overrides(labels=("cat", "dog", "cow")))


def test_deeplab_takes_pixels_from_minus_1_to_1(file):
    found = describe(build(file, {"x": (FLOAT, [1, 257, 257, 3])}, {"y": random(1, 257, 257, 21)}, producer="tf2onnx"))
    (image,) = found.manifest.inputs
    assert (found.manifest.task, image.mean, image.std) == ("segment", (127.5,), (127.5,))


def test_labels_in_the_metadata_are_taken(file):
    found = describe(build(file, picture(), {"y": random(1, 2)}, metadata={"classes": '["cat", "dog"]'}))
    assert found.manifest.labels == ("cat", "dog")


def test_the_users_word_outweighs_every_guess(file):
    overrides = Overrides(
        task="classify", labels=("a", "b"), color="BGR", mean=(10.0,), std=(20.0,), resize="crop", activation="sigmoid"
    )
    found = describe(build(file, picture(), {"y": random(1, 2, low=-3, high=3)}), overrides)
    (image,) = found.manifest.inputs
    assert (image.color, image.mean, image.std, image.resize) == ("BGR", (10.0,), (20.0,), "crop")
    assert (found.manifest.labels, found.manifest.activation) == (("a", "b"), "sigmoid")


@pytest.mark.parametrize(("count", "low"), [(2, -1), (100, -1), (100, 0), (320, -1)])
def test_values_of_the_length_1_are_an_embedding_however_many_they_are(file, count, low):
    values = random(1, count, low=low)
    values /= np.linalg.norm(values)
    found = describe(build(file, picture(112), {"y": values}))
    assert found.manifest.task == "raw"
    assert any("whose squares add up to 1" in w and "--task classify" in w for w in found.warnings)
    assert describe(build(file, picture(112), {"y": values * 3})).manifest.task == "classify"
    assert describe(build(file, picture(112), {"y": values}), Overrides(task="classify")).manifest.task == "classify"


def test_many_values_without_labels_are_an_embedding(file):
    found = describe(build(file, picture(112), {"y": random(1, 512, low=-1)}))
    assert found.manifest.task == "raw"
    assert (found.manifest.inputs[0].mean, found.manifest.inputs[0].std) == ((127.5,), (127.5,))
    assert any("embedding" in w for w in found.warnings)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("image_embeds", random(1, 30, low=-1)),
        ("pooler_output", random(1, 384, low=-2)),
        ("y", random(1, 2048, high=3.0)),
    ],
)
def test_features_of_pictures_are_no_scores_of_classes(file, name, values):
    # CLIP, DINOv2, a ResNet without its head
    found = describe(build(file, picture(), {name: values}))
    assert found.manifest.task == "raw"
    assert any("embedding" in w and "--task classify" in w for w in found.warnings)


@pytest.mark.parametrize(
    ("name", "values"), [("logits", random(1, 256, low=-4)), ("y", random(1, 2048)), ("y", random(1, 1000, low=-4))]
)
def test_as_many_scores_as_features_often_are_stay_scores(file, name, values):
    assert describe(build(file, picture(), {name: values})).manifest.task == "classify"


def mean_of(path, scale: float):
    """One number: the mean of the picture times `scale`."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], keepdims=0),
        helper.make_node("Mul", ["m", "k"], ["k1"]),
        helper.make_node("Reshape", ["k1", "one"], ["y"]),
    ]
    constants = [
        helper.make_node("Constant", [], ["k"], value_float=scale),
        helper.make_node("Constant", [], ["one"], value_ints=[1, 1]),
    ]
    return build(path, picture(), {"y": [1, 1]}, nodes=[*constants, *nodes])


@pytest.mark.parametrize(("scale", "task", "told"), [(-3.0, "regress", True), (0.5, "classify", False)])
def test_one_number_of_a_picture_beyond_0_to_1_is_a_value_which_may_be_a_logit(file, scale, task, told):
    found = describe(mean_of(file, scale))
    assert found.manifest.task == task
    assert any("where it is a logit" in w for w in found.warnings) == told


def test_one_number_that_noise_leaves_between_0_and_1_and_a_picture_does_not_is_a_value(file):
    # The highest value of noise is far above a picture's: e to the power of minus it is small for the one only.
    nodes = [
        helper.make_node("Constant", [], ["one"], value_ints=[1, 1]),
        helper.make_node("ReduceMax", ["x"], ["high"], keepdims=0),
        helper.make_node("Exp", ["high"], ["e"]),
        helper.make_node("Reciprocal", ["e"], ["r"]),
        helper.make_node("Mul", ["r", "k"], ["k1"]),
        helper.make_node("Reshape", ["k1", "one"], ["y"]),
    ]
    nodes.insert(0, helper.make_node("Constant", [], ["k"], value_float=4.0))
    found = describe(build(file, picture(), {"y": [1, 1]}, nodes=nodes))
    assert found.manifest.task == "regress"
    assert any("where it is a logit" in w for w in found.warnings)


def test_two_labels_make_one_number_a_score(file, tmp_path):
    (tmp_path / "labels.txt").write_text("no\nyes\n")
    found = describe(mean_of(file, -3.0))
    assert (found.manifest.task, found.manifest.activation) == ("classify", "sigmoid")
    assert not any("where it is a logit" in w for w in found.warnings)


def test_one_number_of_a_table_is_a_regression(file):
    found = describe(build(file, {"x": (FLOAT, ["n", 4])}, {"y": random(1, 1)})).manifest
    assert (found.task, found.inputs[0].kind) == ("regress", "table")


def test_a_distribution_of_a_table_is_a_classification(file):
    scores = random(1, 4)
    assert describe(build(file, {"x": (FLOAT, [1, 8])}, {"y": scores / scores.sum()})).manifest.task == "classify"


def test_many_numbers_of_a_table_are_told_as_they_are(file):
    assert describe(build(file, {"x": (FLOAT, ["n", 4])}, {"y": random(1, 128, low=-1)})).manifest.task == "raw"


def test_two_numbers_that_nearly_add_up_to_one_are_a_regression(file):
    assert describe(build(file, {"x": (FLOAT, [1, 4])}, {"y": np.float32([[0.56, 0.43]])})).manifest.task == "regress"


def test_as_many_values_as_labels_are_a_classification(file, tmp_path):
    path = build(file, {"x": (FLOAT, [1, 8])}, {"y": random(1, 3, low=-4, high=4)})
    assert describe(path).manifest.task == "regress"
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    found = describe(path).manifest
    assert (found.task, found.activation) == ("classify", "softmax")


def test_an_output_like_its_input_is_a_reconstruction(file):
    node = helper.make_node("Identity", ["x"], ["y"])
    found = describe(build(file, {"x": (FLOAT, [1, 64])}, {"y": [1, 64]}, nodes=[node])).manifest
    assert (found.task, found.outputs[0].role) == ("anomaly", "reconstruction")


def test_several_columns_are_features_by_name(file):
    inputs = {"age": (FLOAT, ["n", 1]), "town": (TensorProto.STRING, ["n", 1])}
    found = describe(build(file, inputs, {"variable": random(1, 1)})).manifest
    assert [(f.name, f.kind) for f in found.features] == [("age", "number"), ("town", "text")]
    assert found.task == "regress"


@pytest.mark.parametrize("zipmap", [True, False])
def test_models_of_skl2onnx_are_known_by_their_names(file, zipmap):
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    x = random(30, 3)
    model = LogisticRegression().fit(x, np.arange(30) % 3)
    file.write_bytes(to_onnx(model, x[:1], options={"zipmap": zipmap}).SerializeToString())
    found = describe(file).manifest
    assert found.task == "classify"
    assert {o.role for o in found.outputs} == {"label", "scores"}


def test_an_isolation_forest_is_an_anomaly(file):
    from skl2onnx import to_onnx
    from sklearn.ensemble import IsolationForest

    x = random(30, 3)
    onx = to_onnx(IsolationForest(n_estimators=3).fit(x), x[:1], target_opset={"": 17, "ai.onnx.ml": 3})
    file.write_bytes(onx.SerializeToString())
    assert describe(file).manifest.task == "anomaly"


def test_a_batch_of_rows_that_is_fixed_is_told_as_it_is(file):
    path = build(file, {"x": (FLOAT, [4, 10])}, {"y": random(4, 3)})
    found = describe(path)
    assert found.manifest.task == "raw"
    assert any("4 rows go in at once" in w for w in found.warnings)


def test_an_output_that_is_left_out_is_named(file):
    chances = np.array([[0.25, 0.75]], np.float32)
    found = describe(build(file, picture(64), {"age": random(1, 1, high=80), "gender": chances}))
    assert [o.name for o in found.manifest.outputs] == ["gender"]
    assert any("gender is told alone, without age (--task raw: all)" in w for w in found.warnings)


@pytest.mark.parametrize(("flags", "told"), [({}, True), ({"task": "regress"}, False)])
def test_several_numbers_of_a_table_may_be_scores_which_a_warning_says(file, flags, told):
    path = build(file, {"x": (FLOAT, [1, 4])}, {"y": np.float32([[-1.5, 2.5, 0.3]])})
    found = describe(path, Overrides(**flags))
    assert found.manifest.task == "regress"
    assert any("3 numbers of y are told as they are" in w for w in found.warnings) == told


def test_scores_that_are_an_output_for_each_class_are_read_side_by_side(file):
    # as skl2onnx names them where its option `zipmap` is "columns"
    scores = {"i5": np.float32([0.2]), "i6": np.float32([0.7]), "i7": np.float32([0.1])}
    model = edge.load(build(file, {"x": (FLOAT, [1, 4])}, {"output_label": np.int64([6]), **scores}))
    assert model.manifest.labels == ("5", "6", "7")
    (found,) = [model.predict([1.0, 2.0, 3.0, 4.0]).predictions]
    assert [(p.index, p.label, p.score) for p in found] == [(1, "6", 0.7), (0, "5", 0.2), (2, "7", 0.1)]


@pytest.mark.parametrize(
    ("names", "classes"),
    [(("scat", "sdog"), ("cat", "dog")), (("scat", "dog"), ()), (("cat", "dog"), ())],
)
def test_outputs_are_classes_where_all_of_them_are_named_so(names, classes):
    specs = [TensorSpec("output_label", "string", (None,)), *(TensorSpec(n, "float32", (None,)) for n in names)]
    head = flat.named_head(specs, None)
    assert head is not None
    assert (head.labels, [o.role for o in head.outputs]) == (classes, ["label", *["scores" for _ in classes]])
    assert bool(head.warning) == (not classes)


def test_the_label_of_a_cluster_is_told_without_its_distances(file):
    outputs = {"label": np.int64([1]), "scores": np.float32([[3.0, 0.5, 9.0]])}
    path = build(file, {"x": (FLOAT, [1, 4])}, outputs)
    found = describe(path)
    assert [o.role for o in found.manifest.outputs] == ["label"]
    assert any("scores are distances" in w for w in found.warnings)
    (prediction,) = edge.load(path).predict([1.0, 2.0, 3.0, 4.0]).predictions
    assert (prediction.index, prediction.label) == (1, "1")


def test_a_label_without_scores_says_that_its_score_is_none(file):
    found = describe(build(file, {"x": (FLOAT, [1, 4])}, {"label": np.int64([1])}))
    assert any("the file has no scores" in w for w in found.warnings)


def test_several_labels_at_once_are_told_as_they_are(file):
    found = describe(build(file, {"x": (FLOAT, [1, 4])}, {"label": np.int64([[1, 0]])}))
    assert found.manifest.task == "raw"
    assert any("2 labels for each row" in w for w in found.warnings)
