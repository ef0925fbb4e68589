"""Keras: models of more than a chain of plain layers, and files that an older Keras wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.networks import task

import converter
import edge
from converter.cli import main
from converter.errors import UnsafeError, UnsupportedError

ROWS = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
PICTURES = task("digits", channels="last").train[:20]


def served(artifact: Any, path: Path, row: np.ndarray) -> list[np.ndarray]:
    """The numbers of the written file for one row, by output."""
    return [np.asarray(p.data) for p in edge.load(artifact.save(path)).predict(row.tolist()).predictions]


def augmented(keras: Any, way: str) -> Any:
    layers = [keras.layers.RandomFlip(), keras.layers.RandomRotation(0.2), keras.layers.Conv2D(3, 3)]
    layers += [keras.layers.Flatten(), keras.layers.Dense(2)]
    if way == "sequential":
        return keras.Sequential([keras.Input((8, 8, 1)), *layers])
    given = keras.Input((8, 8, 1))
    made = given
    for layer in layers:
        made = layer(made)
    return keras.Model(given, made)


@pytest.mark.parametrize("target", ["onnx", "tflite"])
@pytest.mark.parametrize("way", ["sequential", "functional"])
def test_layers_that_augment_pictures_are_left_out(way: str, target: Any, keras: Any, tmp_path: Path) -> None:
    model = augmented(keras, way)

    artifact = converter.convert(model, target=target, sample=PICTURES, task="raw")

    got = served(artifact, tmp_path / f"m.{target}", PICTURES[0])
    np.testing.assert_allclose(got[0].ravel(), model.predict(PICTURES[:1], verbose=0).ravel(), atol=2e-5)


@pytest.mark.parametrize("name", ["AugMix", "CutMix", "MixUp", "RandAugment", "Solarization"])
def test_what_changes_pictures_in_training_only_is_left_out(name: str, keras: Any, tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).uniform(0, 255, (8, 9, 7, 3)).astype(np.float32)
    layers = keras.layers
    kept = [layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(2)]
    model = keras.Sequential([keras.Input((9, 7, 3)), getattr(layers, name)(), *kept])

    artifact = converter.convert(model, sample=pictures, task="raw")

    got = served(artifact, tmp_path / "m.onnx", pictures[0])
    np.testing.assert_allclose(got[0].ravel(), model.predict(pictures[:1], verbose=0).ravel(), rtol=1e-4)


def test_a_crop_by_chance_is_refused_for_one_that_is_known(keras: Any) -> None:
    pictures = np.random.default_rng(0).uniform(0, 255, (8, 9, 7, 3)).astype(np.float32)
    kept = [keras.layers.Conv2D(2, 3), keras.layers.GlobalAveragePooling2D()]
    model = keras.Sequential([keras.Input((9, 7, 3)), keras.layers.RandomCrop(7, 5), *kept])

    with pytest.raises(UnsupportedError, match=r"CenterCrop\(7, 5\), or Resizing, in its place"):
        converter.convert(model, sample=pictures, task="raw")


@pytest.mark.parametrize("target", ["onnx", "tflite"])
def test_outputs_by_name_keep_their_names(target: Any, keras: Any, tmp_path: Path) -> None:
    given = keras.Input((4,))
    outputs = {"wide": keras.layers.Dense(3)(given), "narrow": keras.layers.Dense(1)(given)}
    model = keras.Model(given, outputs)

    path = converter.convert(model, target=target, sample=ROWS).save(tmp_path / f"m.{target}")

    got = {p.name: np.asarray(p.data).ravel() for p in edge.load(path).predict(ROWS[0].tolist()).predictions}
    wanted = model.predict(ROWS[:1], verbose=0)
    assert sorted(got) == ["narrow", "wide"]
    for name, values in wanted.items():
        np.testing.assert_allclose(got[name], values.ravel(), atol=2e-5)


def test_a_model_inside_a_model_is_converted(keras: Any, tmp_path: Path) -> None:
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="relu")])
    model = keras.Sequential([keras.Input((4,)), inner, keras.layers.Dense(2)])

    got = served(converter.convert(model, sample=ROWS, task="raw"), tmp_path / "m.onnx", ROWS[0])

    np.testing.assert_allclose(got[0].ravel(), model.predict(ROWS[:1], verbose=0).ravel(), atol=2e-5)


def by_keras_2(keras: Any, path: Path, groups: int) -> Any:
    """A model whose .h5 file says `groups` of its transposed convolution, as every file of Keras 2 does."""
    import h5py

    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2DTranspose(2, 3), keras.layers.Flatten()])
    model.save(path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            if layer["class_name"] == "Conv2DTranspose":
                layer["config"]["groups"] = groups
        file.attrs["model_config"] = json.dumps(config).encode()
    return model


def test_a_file_of_keras_2_is_converted_and_stays_as_it_is(keras: Any, tmp_path: Path) -> None:
    model = by_keras_2(keras, tmp_path / "old.h5", groups=1)
    before = (tmp_path / "old.h5").read_bytes()

    artifact = converter.convert(tmp_path / "old.h5", sample=PICTURES, task="raw")

    got = served(artifact, tmp_path / "m.onnx", PICTURES[0])
    np.testing.assert_allclose(got[0].ravel(), model.predict(PICTURES[:1], verbose=0).ravel(), atol=2e-5)
    assert (tmp_path / "old.h5").read_bytes() == before


def test_a_file_of_keras_2_with_groups_is_refused_with_the_way_out(keras: Any, tmp_path: Path, capsys: Any) -> None:
    by_keras_2(keras, tmp_path / "old.h5", groups=2)

    assert main([str(tmp_path / "old.h5"), "-o", str(tmp_path / "m.onnx")]) == 3
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "a Conv2DTranspose has groups=2, which Keras 3 cannot build; convert it with Keras 2" in said


def test_a_lambda_is_converted_for_whoever_trusts_the_file(keras: Any, tmp_path: Path) -> None:
    given = keras.Input((4,))
    model = keras.Model(given, keras.layers.Lambda(lambda x: x * 2.0, output_shape=(4,))(given))
    model.save(tmp_path / "m.keras")

    with pytest.raises(UnsafeError, match="Lambda"):
        converter.convert(tmp_path / "m.keras", sample=ROWS)
    artifact = converter.convert(tmp_path / "m.keras", sample=ROWS, task="raw", trust_pickle=True)

    np.testing.assert_allclose(served(artifact, tmp_path / "m.onnx", ROWS[0])[0].ravel(), ROWS[0] * 2, atol=2e-6)


def test_a_layer_alone_is_refused(keras: Any) -> None:
    with pytest.raises(UnsupportedError, match=r"a Dense is no keras\.Model; put the layer into one"):
        converter.convert(keras.layers.Dense(3), sample=ROWS)


def test_a_model_of_texts_is_refused_with_the_way_out(keras: Any) -> None:
    given = keras.Input((1,), dtype="string", name="word")
    numbers = keras.layers.StringLookup(vocabulary=["a", "b"])(given)
    model = keras.Model(given, keras.layers.Embedding(3, 2)(numbers))

    with pytest.raises(UnsupportedError, match=r"the input 'word' is text.*look words up before the model"):
        converter.convert(model)


@pytest.mark.parametrize("form", ["keras", "folder"])
def test_the_exact_gelu_is_converted(form: str, keras: Any, tmp_path: Path) -> None:
    """tf2onnx leaves TensorFlow's Erfc, of which it is made."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="gelu")])
    if form == "keras":
        model.save(tmp_path / "m.keras")
    else:
        model.export(tmp_path / "m.folder", verbose=False)

    artifact = converter.convert(tmp_path / f"m.{form}", sample=ROWS, task="raw")

    got = served(artifact, tmp_path / "m.onnx", ROWS[0])
    np.testing.assert_allclose(got[0].ravel(), model.predict(ROWS[:1], verbose=0).ravel(), atol=2e-5)


def test_a_layer_with_a_tensor_of_its_own_is_refused_for_onnx(keras: Any) -> None:
    import tensorflow as tf

    class Shifts(keras.layers.Layer):
        def build(self, shape: Any) -> None:
            self.by = tf.constant([1.0, 2.0, 3.0, 4.0])

        def call(self, rows: Any) -> Any:
            return rows + self.by

    model = keras.Sequential([keras.Input((4,)), Shifts()])

    with pytest.raises(UnsupportedError, match=r"tensors that are no weights.*keep them as weights of the layer"):
        converter.convert(model, sample=ROWS, task="raw")


def test_an_operator_that_onnx_has_not_is_named(keras: Any) -> None:
    import tensorflow as tf

    class Bessel(keras.layers.Layer):
        def call(self, rows: Any) -> Any:
            return tf.math.special.bessel_j0(rows)

    model = keras.Sequential([keras.Input((4,)), Bessel()])

    with pytest.raises(UnsupportedError, match="BesselJ0 of TensorFlow has no counterpart in ONNX"):
        converter.convert(model, sample=ROWS, task="raw")


def test_a_layer_of_ones_own_in_an_h5_file_is_named_with_the_way_out(keras: Any, tmp_path: Path) -> None:
    class Doubled(keras.layers.Layer):
        def call(self, values: Any) -> Any:
            return values * 2

    keras.Sequential([keras.Input((4,)), Doubled()]).save(tmp_path / "m.h5")

    with pytest.raises(UnsupportedError, match="Doubled is no layer or function of Keras; import what defines it"):
        converter.convert(tmp_path / "m.h5", sample=ROWS)


def test_a_saved_model_of_texts_is_refused(keras: Any, tmp_path: Path) -> None:
    import tensorflow as tf

    class Lengths(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="words")])
        def __call__(self, words: Any) -> Any:
            return tf.strings.length(words)

    tf.saved_model.save(Lengths(), str(tmp_path / "saved"))

    with pytest.raises(UnsupportedError, match=r"its input 'words' is text.*look words up before the model"):
        converter.convert(tmp_path / "saved")


def test_a_saved_model_without_a_signature_is_refused_with_the_way_out(keras: Any, tmp_path: Path) -> None:
    import tensorflow as tf

    tf.saved_model.save(tf.Module(), str(tmp_path / "saved"))

    with pytest.raises(UnsupportedError, match="without signatures does not say what it takes; save it with"):
        converter.convert(tmp_path / "saved")


def test_of_several_signatures_the_one_that_is_saved_alone_is_converted(keras: Any, tmp_path: Path) -> None:
    import tensorflow as tf

    class Two(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32)])
        def double(self, x: Any) -> Any:
            return x * 2.0

        @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32)])
        def negative(self, x: Any) -> Any:
            return -x

    two = Two()
    tf.saved_model.save(two, str(tmp_path / "two"), signatures={"double": two.double, "negative": two.negative})
    rows = np.float32([[1.0, 2.0, 3.0], [4.0, 5.0, -6.0]])

    with pytest.raises(UnsupportedError, match=r"several signatures \(double, negative\).*signatures=m.signatures\["):
        converter.convert(tmp_path / "two", sample=rows)

    m = tf.saved_model.load(str(tmp_path / "two"))
    tf.saved_model.save(m, str(tmp_path / "one"), signatures=m.signatures["negative"])
    loaded = edge.load(converter.convert(tmp_path / "one", sample=rows).save(tmp_path / "m.onnx"))
    answer = next(iter(loaded.infer({loaded.manifest.inputs[0].name: rows}).values()))
    np.testing.assert_array_equal(answer, -rows)


def test_a_saved_model_that_reads_files_is_opened_for_whoever_trusts_it(keras: Any, tmp_path: Path) -> None:
    import tensorflow as tf

    (tmp_path / "two.txt").write_text("2")

    class Reads(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="rows")])
        def __call__(self, rows: Any) -> Any:
            return rows * tf.strings.to_number(tf.io.read_file(str(tmp_path / "two.txt")))

    tf.saved_model.save(Reads(), str(tmp_path / "saved"))

    with pytest.raises(UnsafeError, match="ReadFile, which reaches outside"):
        converter.convert(tmp_path / "saved", sample=ROWS)
    with pytest.raises(UnsupportedError, match="ReadFile of TensorFlow has no counterpart in ONNX"):
        converter.convert(tmp_path / "saved", sample=ROWS, trust_pickle=True)
