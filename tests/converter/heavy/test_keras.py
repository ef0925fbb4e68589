"""Keras and TensorFlow: what the file answers is what the model answers, for rows it has not seen."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from support.networks import TASKS, keras_network, task

import converter
import edge
from converter.cli import main
from converter.errors import UnrecognisedError, UnsafeError, UnsupportedError

HELD = 40


def answers(kind: str) -> np.ndarray:
    return np.asarray(keras_network(kind).predict(task(TASKS[kind], channels="last").held[:HELD], verbose=0))


def held(kind: str) -> np.ndarray:
    return task(TASKS[kind], channels="last").held[:HELD]


def run_onnx(path: Path, rows: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    return session.run(None, {given.name: rows.astype(np.int32 if "int32" in given.type else np.float32)})[0]


def run_tflite(path: Path, rows: np.ndarray) -> np.ndarray:
    model = edge.load(path)
    spec = model.loaded.engine.inputs[0]
    made = [next(iter(model.infer({spec.name: r[None].astype(spec.dtype)}).values()))[0] for r in rows]
    return np.array(made)


@pytest.mark.parametrize("form", ["object", "keras", "h5"])
@pytest.mark.parametrize("kind", ["cnn", "lstm", "transformer", "words", "mlp", "binary"])
def test_onnx_answers_as_the_model(kind: str, form: str, keras: Any, tmp_path: Path) -> None:
    source = keras_network(kind)
    if form != "object":
        source.save(tmp_path / f"model.{form}")
        source = tmp_path / f"model.{form}"

    path = converter.convert(source, sample=task(TASKS[kind], channels="last").train[:30]).save(tmp_path / "m.onnx")

    np.testing.assert_allclose(run_onnx(path, held(kind)), answers(kind), atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("kind", ["cnn", "lstm", "transformer", "words", "mlp", "binary"])
def test_tflite_answers_as_the_model(kind: str, keras: Any, tmp_path: Path) -> None:
    artifact = converter.convert(
        keras_network(kind), target="tflite", sample=task(TASKS[kind], channels="last").train[:30]
    )

    path = artifact.save(tmp_path / "m.tflite")

    np.testing.assert_allclose(run_tflite(path, held(kind)), answers(kind), atol=2e-5, rtol=2e-5)
    assert artifact.manifest.inputs[0].shape[0] == (1 if kind == "lstm" else None)


@pytest.mark.parametrize("target", ["onnx", "tflite"])
@pytest.mark.parametrize("way", ["export", "tf.saved_model.save"])
def test_a_saved_model_answers_as_the_model_it_came_from(way: str, target: str, keras: Any, tmp_path: Path) -> None:
    # What tf.saved_model.save wrote becomes NaN in TFLite by from_saved_model.
    import tensorflow as tf

    if way == "export":
        keras_network("cnn").export(tmp_path / "saved", verbose=False)
    else:
        tf.saved_model.save(keras_network("cnn"), str(tmp_path / "saved"))

    path = converter.convert(tmp_path / "saved", target=target, sample=task("digits", channels="last").train[:30]).save(
        tmp_path / f"m.{target}"
    )

    run = run_onnx if target == "onnx" else run_tflite
    np.testing.assert_allclose(run(path, held("cnn")), answers("cnn"), atol=2e-5)


def test_a_recurrent_saved_model_for_tflite_is_refused_with_the_way_out(keras: Any, tmp_path: Path) -> None:
    keras_network("lstm").export(tmp_path / "saved", verbose=False)

    with pytest.raises(UnsupportedError, match="convert the Keras file"):
        converter.convert(tmp_path / "saved", target="tflite", sample=task("sequence").train[:9])


def test_a_module_of_tensorflow_with_a_signature_is_converted(keras: Any) -> None:
    import tensorflow as tf

    class Doubles(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="rows")])
        def __call__(self, rows: Any) -> Any:
            return {"doubled": rows * 2.0}

    artifact = converter.convert(Doubles(), sample=np.ones((6, 4), np.float32), task="raw")

    assert artifact.manifest.outputs[0].name == "doubled"


def test_a_saved_model_that_reads_files_is_refused(keras: Any, tmp_path: Path, capsys: Any) -> None:
    import tensorflow as tf

    class Reads(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="rows")])
        def __call__(self, rows: Any) -> Any:
            return rows + tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32)

    tf.saved_model.save(Reads(), str(tmp_path / "reads"))

    assert main([str(tmp_path / "reads"), "-o", str(tmp_path / "out.onnx")]) == 2
    assert "ReadFile" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["keras", "h5"])
def test_a_lambda_layer_runs_nothing(form: str, keras: Any, tmp_path: Path) -> None:
    mark = str(tmp_path / "ran")

    def payload(x: Any, mark: str = mark) -> Any:
        open(mark, "w").close()  # noqa: PTH123 - what a payload looks like
        return x

    given = keras.Input((3,))
    model = keras.Model(given, keras.layers.Lambda(payload, output_shape=(3,))(given))
    model.save(tmp_path / f"bad.{form}")
    Path(mark).unlink(missing_ok=True)

    with pytest.raises(UnsafeError, match="Lambda"):
        converter.convert(tmp_path / f"bad.{form}")
    assert not Path(mark).exists()


def test_a_layer_that_loads_code_from_elsewhere_is_refused(keras: Any, tmp_path: Path) -> None:
    keras_network("mlp").save(tmp_path / "good.keras")
    with zipfile.ZipFile(tmp_path / "good.keras") as old, zipfile.ZipFile(tmp_path / "bad.keras", "w") as new:
        for name in old.namelist():
            text = old.read(name)
            if name == "config.json":
                config = json.loads(text)
                config["config"]["layers"][1]["class_name"] = "TFSMLayer"
                text = json.dumps(config).encode()
            new.writestr(name, text)

    with pytest.raises(UnsafeError, match="TFSMLayer"):
        converter.convert(tmp_path / "bad.keras")


def test_weights_alone_are_refused_with_the_way_out(keras: Any, tmp_path: Path) -> None:
    keras_network("mlp").save_weights(tmp_path / "m.weights.h5")

    with pytest.raises(UnsupportedError, match="save the whole model"):
        converter.convert(tmp_path / "m.weights.h5")


@pytest.mark.parametrize("form", ["keras", "h5"])
def test_a_truncated_file_is_told_in_a_line(form: str, keras: Any, tmp_path: Path, capsys: Any) -> None:
    source = tmp_path / f"cut.{form}"
    keras_network("mlp").save(source)
    source.write_bytes(source.read_bytes()[:-600])

    assert main([str(source), "-o", str(tmp_path / "out.onnx")]) == 3
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "out.onnx").exists()


def test_a_damaged_saved_model_is_told(keras: Any, tmp_path: Path) -> None:
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved/saved_model.pb").write_bytes(b"\xff\xfe damaged")

    with pytest.raises(UnrecognisedError, match=r"saved_model\.pb"):
        converter.convert(tmp_path / "saved")


def test_a_model_that_was_never_called_says_what_is_missing(keras: Any) -> None:
    with pytest.raises(UnsupportedError, match="never called"):
        converter.convert(keras.Sequential([keras.layers.Dense(3)]))


def test_the_sigmoid_of_two_classes_is_a_classifier_with_two_labels(keras: Any, tmp_path: Path) -> None:
    data = task("cancer")
    artifact = converter.convert(
        keras_network("binary"), sample=data.held, expect=data.truth, labels=("malignant", "benign")
    )
    served = edge.load(artifact.save(tmp_path / "m.onnx"))

    labels = [served.predict(r.tolist()).predictions[0].label for r in data.held[:20]]

    wanted = keras_network("binary").predict(data.held[:20], verbose=0)[:, 0] > 0.5
    assert labels == [("malignant", "benign")[int(w)] for w in wanted]
    assert artifact.manifest.parity.accuracy_after > 0.9


@pytest.mark.parametrize("target", ["onnx", "tflite"])
def test_what_normalization_has_learned_goes_into_the_file(target: Any, keras: Any, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(5, 3, (60, 4)).astype(np.float32)
    learned = keras.layers.Normalization()
    learned.adapt(rows)
    model = keras.Sequential([keras.Input((4,)), learned, keras.layers.Dense(1)])

    path = converter.convert(model, target=target, sample=rows).save(tmp_path / f"m.{target}")

    run = run_onnx if target == "onnx" else run_tflite
    np.testing.assert_allclose(run(path, rows), model.predict(rows, verbose=0), atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("target", ["onnx", "tflite"])
def test_inputs_and_outputs_go_by_the_names_of_the_model(target: Any, keras: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    left, right = keras.Input((4,), name="left"), keras.Input((3,), name="right")
    both = keras.layers.Concatenate()([left, right])
    outputs = [keras.layers.Dense(2, name="one")(both), keras.layers.Dense(1, name="two")(both)]
    model = keras.Model([left, right], outputs)
    rows = {"left": random.normal(size=(20, 4)), "right": random.normal(size=(20, 3))}
    rows = {n: a.astype(np.float32) for n, a in rows.items()}

    served = edge.load(converter.convert(model, target=target, sample=rows).save(tmp_path / f"m.{target}"))

    predictions = served.predict({n: a[0].tolist() for n, a in rows.items()}).predictions
    wanted = model.predict([a[:1] for a in rows.values()], verbose=0)
    assert [p.name for p in predictions] == ["one", "two"]
    for prediction, values in zip(predictions, wanted, strict=True):
        np.testing.assert_allclose(prediction.data, values.ravel(), atol=2e-5)


@pytest.mark.parametrize("target", ["onnx", "tflite"])
def test_a_layer_that_keeps_its_state_is_refused_with_the_way_out(target: Any, keras: Any) -> None:
    rows = keras.Input(batch_shape=(1, 5, 4))
    model = keras.Model(rows, keras.layers.LSTM(3, stateful=True, name="memory")(rows))

    with pytest.raises(UnsupportedError, match=r"memory keeps its state from row to row.*return_state=True"):
        converter.convert(model, sample=np.zeros((8, 5, 4), np.float32), target=target)
