"""Keras models that compute in other numbers than float32, and layers that no file can hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import converter
import edge
from converter.errors import UnsupportedError


@pytest.fixture
def policy(keras: Any) -> Any:
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(256, size=(count, 12, 12, 3)).astype(np.float32)


def small_cnn(keras: Any) -> Any:
    keras.utils.set_random_seed(2)
    learned = keras.layers.Normalization()
    learned.adapt(pictures(20))
    return keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            learned,
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )


def answers(path: Path, rows: np.ndarray) -> np.ndarray:
    model = edge.load(path)
    taken = model.loaded.engine.inputs[0]
    given = [{taken.name: row[None].astype(taken.dtype)} for row in rows]
    return np.array([next(iter(model.infer(one).values()))[0] for one in given])


@pytest.mark.parametrize("target", ["onnx", "tflite"])
@pytest.mark.parametrize("name", ["mixed_float16", "float16", "bfloat16", "float64"])
def test_a_model_of_another_policy_answers_in_float32_with_the_same_weights(
    name: str, target: Any, policy: Any, keras: Any, tmp_path: Path
) -> None:
    policy(name)
    original = small_cnn(keras)
    policy("float32")
    same = small_cnn(keras)
    same.set_weights([np.asarray(w).astype(np.float32) for w in original.get_weights()])
    same.layers[0].finalize_state()

    artifact = converter.convert(original, target=target, sample=pictures(30))

    held = pictures(8)
    got = answers(artifact.save(tmp_path / f"m.{target}"), held)
    np.testing.assert_allclose(got, same.predict(held, verbose=0), atol=1e-5)
    half = [note for note in artifact.notes if "the file in float32" in note]
    assert len(half) == (name != "float64")
    assert all(name.removeprefix("mixed_") in note and "differs by up to" in note for note in half)


@pytest.mark.parametrize("target", ["onnx", "tflite"])
@pytest.mark.parametrize(
    ("layer", "taken", "reason"),
    [
        (lambda k, x: k.layers.IntegerLookup(vocabulary=[3, 7], name="ids")(x), "int64", r"ids \(IntegerLookup\)"),
        (lambda k, x: k.layers.Hashing(8, name="ids")(x), "int64", r"ids \(Hashing\)"),
        (lambda k, x: k.layers.Dropout(0.5, name="mc")(x, training=True), "float32", r"mc .*random numbers"),
        (lambda k, x: k.layers.BatchNormalization(name="bn")(x, training=True), "float32", r"bn .*come together"),
    ],
    ids=["lookup", "hashing", "dropout", "batch normalisation"],
)
def test_a_layer_that_no_file_can_hold_is_named_with_the_cause(
    layer: Any, taken: str, reason: str, target: Any, keras: Any
) -> None:
    given = keras.Input((4,), dtype=taken)
    model = keras.Model(given, keras.layers.Dense(2)(keras.ops.cast(layer(keras, given), "float32")))

    with pytest.raises(UnsupportedError, match=reason) as refused:
        converter.convert(model, target=target)

    assert "-o OUT" not in str(refused.value)  # neither format has it, so neither is a way out


@pytest.mark.parametrize("kind", ["sequential", "functional"])
def test_the_way_out_of_a_lookup_works(kind: str, keras: Any) -> None:
    numbers = keras.layers.IntegerLookup(vocabulary=[3, 7], name="ids")
    shape, given = (4,), keras.Input((4,), dtype="int64")
    behind_it = [keras.layers.Embedding(3, 2), keras.layers.Flatten()]
    if kind == "sequential":
        model = keras.Sequential([given, numbers, *behind_it])
    else:
        model = keras.Model(given, behind_it[1](behind_it[0](numbers(given))))
    with pytest.raises(UnsupportedError, match="that take its numbers") as refused:
        converter.convert(model)

    expression = str(refused.value).rpartition("take its numbers: ")[2]
    behind = eval(expression, {"keras": keras, "model": model, "shape": shape})
    artifact = converter.convert(behind)

    assert artifact.manifest.parity is not None
    assert artifact.manifest.parity.passed
