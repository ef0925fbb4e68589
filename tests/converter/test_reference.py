"""`edge-convert --sample`: what the sample looked like goes into the manifest, unless it is told not to."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import helper, numpy_helper
from PIL import Image as Pillow
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeClassifier
from support import onnxmodels
from support.tables import Split

import converter
from converter import cli
from edge.drift import reference
from edge.errors import ConfigError, ModelError
from edge.model import container
from edge.model.manifest import Manifest


@pytest.fixture(scope="module")
def tree(wine: Split) -> DecisionTreeClassifier:
    return DecisionTreeClassifier(max_depth=2, random_state=0).fit(wine.train, wine.names)


def read(manifest: Manifest) -> reference.Reference:
    return reference.read(manifest.reference, [f.name for f in manifest.features])


def of_file(path: Path) -> Manifest:
    found = container.read_manifest(path, {p.key: p.value for p in onnx.load(path).metadata_props})
    assert found is not None
    return found


def test_bins_of_each_feature_and_shares_of_the_classes_stand_in_the_manifest(tree, wine: Split) -> None:
    found = read(converter.convert(tree, sample=wine.held).manifest)

    assert found.rows == len(wine.held)
    assert [f.name for f in found.features] == list(wine.held.columns)
    assert found.features[0].edges()[0] <= wine.held.alcohol.min()
    (classes,) = found.predictions
    answers = tree.predict(wine.held)
    assert classes.categories == pytest.approx({c: np.mean(answers == c) for c in set(answers)}, abs=1e-5)


def test_texts_are_told_by_their_shares(columns_model: Pipeline, people: pd.DataFrame) -> None:
    found = read(converter.convert(columns_model, sample=people).manifest)

    city = next(f for f in found.features if f.name == "city")
    assert city.categories == pytest.approx({c: float(np.mean(people.city == c)) for c in set(people.city)}, abs=1e-5)


def test_numbers_that_a_model_predicts_have_bins(diabetes: Split) -> None:
    model = LinearRegression().fit(diabetes.train, diabetes.target)

    (predicted,) = read(converter.convert(model, sample=diabetes.held).manifest).predictions

    assert predicted.edges()[0] <= model.predict(diabetes.held).min()


def test_it_can_be_left_out(tree, wine: Split) -> None:
    assert converter.convert(tree, sample=wine.held, no_reference=True).manifest.reference is None


def test_rows_that_were_made_up_are_no_reference(tree) -> None:
    assert converter.convert(tree).manifest.reference is None


def test_too_few_rows_are_none_and_are_remarked_upon(tree, wine: Split) -> None:
    artifact = converter.convert(tree, sample=wine.held[:20])

    assert artifact.manifest.reference is None
    assert "20 rows are too few" in " ".join(artifact.notes)


def test_rows_in_the_order_of_time_tell_the_longest_run(wine: Split, tree) -> None:
    rows = wine.held.sort_values("proline", ignore_index=True)
    rows.loc[10:21, "hue"] = 0.9

    found = read(converter.convert(tree, sample=rows, sample_order="time").manifest)

    assert found.order == "time"
    assert next(f.run for f in found.features if f.name == "hue") >= 12


def test_an_order_that_is_none_is_not_used(wine: Split, tree) -> None:
    rows = pd.concat([wine.held, wine.train]).sample(frac=1, random_state=3)

    artifact = converter.convert(tree, sample=rows, sample_order="time")

    assert read(artifact.manifest).order == ""
    assert "the rows look shuffled" in " ".join(artifact.notes)


def test_an_order_of_rows_that_are_made_up_is_refused(tree) -> None:
    with pytest.raises(ConfigError, match="--sample-order time: the rows are made up"):
        converter.convert(tree, sample_order="time")


def test_a_file_that_is_converted_again_keeps_its_own(tree, wine: Split, tmp_path: Path) -> None:
    first = converter.write(converter.convert(tree, sample=wine.held), tmp_path / "first.onnx")

    again = converter.convert(first)

    assert again.manifest.reference == of_file(first).reference


def test_a_reference_of_other_features_than_the_models_is_refused(tree, wine: Split, tmp_path: Path) -> None:
    artifact = converter.convert(tree, sample=wine.held)
    found = {**artifact.manifest.reference, "features": artifact.manifest.reference["features"][1:]}
    other = converter.write(artifact.with_manifest(reference=found), tmp_path / "other.onnx")

    with pytest.raises(ModelError, match=r"of other features .12: malic_acid.* than the model's .13: alcohol"):
        converter.convert(other)
    assert converter.convert(other, no_reference=True).manifest.reference is None


def test_the_flags_are_those_of_the_command(tree, wine: Split, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    converter.write(converter.convert(tree), Path("bare.onnx"))
    wine.held.to_csv("rows.csv", index=False)

    assert cli.main(["bare.onnx", "-o", "with.onnx", "--sample", "rows.csv", "--sample-order", "time"]) == 0
    assert cli.main(["bare.onnx", "-o", "without.onnx", "--sample", "rows.csv", "--no-reference"]) == 0

    assert of_file(Path("with.onnx")).reference is not None
    assert of_file(Path("without.onnx")).reference is None


def test_no_row_can_be_read_from_it(tree, wine: Split) -> None:
    """Of a number that one row alone has, no digit is told beyond the third."""
    rows = wine.held.copy()
    rows.loc[7, "proline"] = 4321.98765

    told = msgspec.json.encode(converter.convert(tree, sample=rows).manifest.reference).decode()
    edges = [e for f in reference.read(msgspec.json.decode(told), list(rows.columns)).features for e in f.edges()]

    assert 4330.0 in edges
    assert not np.isclose(edges, 4321.98765, rtol=1e-4).any()


# --- pictures ---------------------------------------------------------------------------------------------------


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """Which says whether a picture is bright."""
    weights = numpy_helper.from_array(np.array([[-1, 1]] * 3, np.float32), "w")
    bias = numpy_helper.from_array(np.array([1.0, -1.0], np.float32), "b")
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["means"]),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w", "b"], ["scores"]),
    ]
    given = helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [1, 3, 32, 32])
    found = helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, [1, 2])
    graph = helper.make_graph(nodes, "g", [given], [found], [weights, bias])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    path = tmp_path / "bright.onnx"
    onnx.save(model, path)
    (tmp_path / "labels.txt").write_text("dark\nbright\n")
    return path


def converted(network: Path, count: int, *flags: str) -> Manifest:
    sample = network.parent / "sample"
    sample.mkdir(exist_ok=True)
    random = np.random.default_rng(1)
    for number in range(count):
        pixels = random.integers(0, 100 + 150 * (number % 2), (48, 64, 3)).astype(np.uint8)
        Pillow.fromarray(pixels).save(sample / f"{number}.png")
    path = network.parent / "made.onnx"
    said = ("--task", "classify", "--labels", str(network.parent / "labels.txt"), "--mean", "0", "--std", "255")
    assert cli.main([str(network), "--sample", str(sample), "-o", str(path), *said, *flags]) == 0
    return of_file(path)


def test_of_pictures_statistics_a_thumbnail_and_the_shares_of_the_classes_are_told(network: Path) -> None:
    manifest = converted(network, 12)
    found = reference.read(manifest.reference, (), pictures=True)

    assert (found.rows, [f.name for f in found.features]) == (12, ["sharpness", "brightness", "contrast"])
    assert found.features[1].edges()[0] < 0.3 < found.features[1].edges()[-1]
    assert found.mean_thumbnail().shape == (192,)
    assert found.predictions[0].categories == {"dark": 0.5, "bright": 0.5}
    assert len(msgspec.json.encode(manifest.reference)) < 1200


def test_few_pictures_are_no_reference_and_it_can_be_left_out(network: Path) -> None:
    assert converted(network, 9).reference is None
    assert converted(network, 12, "--no-reference").reference is None


def test_of_a_detector_the_classes_of_the_objects_how_many_there_are_and_their_scores_are_told(tmp_path: Path) -> None:
    sample = tmp_path / "sample"
    sample.mkdir()
    for number in range(12):
        pixels = np.zeros((64, 64, 3), np.uint8)
        for channel in range(number % 3 + 1):  # the model sees one thing in each channel that is lit
            pixels[20:30, 20:30, channel] = 255
        Pillow.fromarray(pixels).save(sample / f"{number}.png")
    path = tmp_path / "made.onnx"
    model = onnxmodels.blobs(tmp_path / "blobs.onnx")

    assert cli.main([str(model), "--sample", str(sample), "-o", str(path), "--mean", "0", "--std", "255"]) == 0

    found = reference.read(of_file(path).reference, (), pictures=True)
    classes, objects, scores = found.predictions
    assert (classes.name, classes.categories) == ("class", {"1": 1.0})
    assert (objects.name, len(objects.bin_shares())) == ("objects", 3)
    assert objects.bin_shares() == pytest.approx([1 / 3] * 3, abs=1e-4)
    assert (scores.name, scores.missing) == ("object score", 0.0)
    assert 0.0 <= scores.edges()[0] <= scores.edges()[-1] <= 1.0 + 1e-6
