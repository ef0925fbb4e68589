"""The judge: it must not pass what is wrong, nor fail what is right."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import onnx
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import Ridge
from support.tables import Split

import converter
from converter.artifact import Artifact
from converter.errors import SampleFileError
from converter.graph import graph
from converter.options import Options
from converter.proof import parity
from converter.proof.parity import ParityError
from converter.rows.rows import Rows
from edge.data.tensor import Array
from edge.errors import ModelError


@pytest.fixture(scope="module")
def artifact(forest: RandomForestClassifier, wine: Split) -> Artifact:
    return converter.convert(forest, sample=wine.held, expect=wine.true_names)


def judged(artifact: Artifact, change: object) -> Artifact:
    """The artifact with a reference that `change` makes another, judged again."""

    def reference(rows: Rows) -> dict[str, Array]:
        return change(artifact.reference(rows))

    return parity.prove(replace(artifact, reference=reference, challenges=()), Options())


def test_figures_are_those_of_the_rows(artifact: Artifact, forest: RandomForestClassifier, wine: Split) -> None:
    figures = artifact.manifest.parity

    assert (figures.rows, figures.source, figures.agreement) == (len(wine.held), "sample", 1.0)
    assert figures.max_difference < 1e-6
    assert figures.accuracy_before == forest.score(wine.held, wine.true_names) == figures.accuracy_after


def test_another_class_fails(artifact: Artifact) -> None:
    def other(answers: dict[str, Array]) -> dict[str, Array]:
        turned = np.where(answers["label"] == "class 0", "class 1", answers["label"]).astype(object)
        return {**answers, "label": turned}

    with pytest.raises(ParityError, match="rows get another class"):
        judged(artifact, other)


def test_another_score_fails(artifact: Artifact) -> None:
    with pytest.raises(ParityError, match=r"rows differ, by up to 0\.01"):
        judged(artifact, lambda answers: {**answers, "scores": answers["scores"] + 0.01})


def test_a_tie_does_not_count_against_the_file(artifact: Artifact) -> None:
    def tied(answers: dict[str, Array]) -> dict[str, Array]:
        scores = answers["scores"].copy()
        best = scores.argmax(axis=1)
        rows = np.arange(len(best))
        label = answers["label"].copy()
        # The original prefers, by next to nothing, the class after that of the file.
        scores[rows, (best + 1) % 3] = scores[rows, best] + 1e-6
        label[:1] = f"class {(best[0] + 1) % 3}"
        return {"label": label, "scores": scores}

    with pytest.raises(ParityError) as failed:
        judged(artifact, tied)

    assert "another class" not in str(failed.value), "the scores differ, the classes are tied"
    assert failed.value.artifact.manifest.parity.agreement < 1.0


def test_equal_scores_excuse_no_other_class_where_they_do_not_decide(artifact: Artifact) -> None:
    """Probabilities that are cut off at 1 are equal for several classes; the class comes from the margins."""

    def cut_off(answers: dict[str, Array]) -> dict[str, Array]:
        scores = answers["scores"].copy()
        scores[:, 1] = scores[:, 2] = np.maximum(scores[:, 1], scores[:, 2])
        turned = np.where(answers["label"] == "class 1", "class 2", answers["label"]).astype(object)
        return {"label": turned, "scores": scores}

    with pytest.raises(ParityError, match="rows get another class"):
        judged(artifact, cut_off)


def test_an_original_that_answers_by_chance_is_named(artifact: Artifact) -> None:
    chance = np.random.default_rng(0)

    def noisy(answers: dict[str, Array]) -> dict[str, Array]:
        return {**answers, "scores": answers["scores"] + chance.normal(size=answers["scores"].shape)}

    with pytest.raises(ParityError, match="answers the same rows otherwise each time"):
        judged(artifact, noisy)


def test_an_original_whose_answers_depend_on_the_other_rows_is_refused(artifact: Artifact) -> None:
    def of_the_batch(answers: dict[str, Array]) -> dict[str, Array]:
        return {**answers, "scores": answers["scores"] - answers["scores"].mean(axis=0)}

    with pytest.raises(ParityError, match="depends on the rows that come with it"):
        judged(artifact, of_the_batch)


def test_what_is_not_finite_fails(diabetes: Split) -> None:
    artifact = converter.convert(Ridge().fit(diabetes.train, diabetes.target), sample=diabetes.held)
    model = onnx.load_model_from_string(artifact.model)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "intercepts":
                attribute.floats[:] = [float("nan")]

    with pytest.raises(ParityError, match=r"output 'value' is not finite in 148 of 148 rows"):
        parity.prove(replace(artifact, model=model.SerializeToString()), Options())


def test_a_file_that_does_not_answer_each_row_once_is_refused(artifact: Artifact) -> None:
    model = onnx.load_model_from_string(artifact.model)
    graph.rename_output(model, "label", "one_label")
    twice = onnx.helper.make_node("Concat", ["one_label", "one_label"], ["label"], axis=0)
    model.graph.node.append(twice)
    next(o for o in model.graph.output if o.name == "one_label").name = "label"

    with pytest.raises(ModelError, match="gives 120 labels for 60 rows"):
        parity.prove(replace(artifact, model=model.SerializeToString()), Options())


@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e6])
def test_small_and_large_targets_are_measured_alike(scale: float, diabetes: Split) -> None:
    model = Ridge().fit(diabetes.train, diabetes.target * scale)
    artifact = converter.convert(model, sample=diabetes.held)

    with pytest.raises(ParityError, match=r"by up to 0\.0314"):
        judged(artifact, lambda answers: {"value": answers["value"] * 1.02})


def test_force_passes_what_failed_and_the_manifest_says_so(forest: RandomForestClassifier, wine: Split) -> None:
    figures = converter.convert(forest, sample=wine.held, tolerance=0.0, force=True).manifest.parity

    assert (figures.passed, figures.forced) == (False, True)


def test_labels_that_do_not_fit_are_refused(forest: RandomForestClassifier, wine: Split) -> None:
    with pytest.raises(SampleFileError, match="2 labels, but the model has 3 classes"):
        converter.convert(forest, sample=wine.held, labels=("a", "b"))


def test_other_labels_keep_the_order_of_the_classes(forest: RandomForestClassifier, wine: Split) -> None:
    manifest = converter.convert(
        forest, sample=wine.held, labels=("barolo", "grignolino", "barbera"), expect=wine.true_names
    ).manifest

    assert manifest.labels == ("barolo", "grignolino", "barbera")
    assert manifest.outputs[0].values == ("class 0", "class 1", "class 2")
    assert manifest.parity.accuracy_after > 0.9


def test_text_as_the_truth_of_a_regression_is_refused(diabetes: Split) -> None:
    model = Ridge().fit(diabetes.train, diabetes.target)

    with pytest.raises(SampleFileError, match="the expected answers are text"):
        converter.convert(model, sample=diabetes.held, expect=["high"] * len(diabetes.held))


def test_a_sample_that_the_original_refuses_is_told_in_its_words(columns_model: object, people: object) -> None:
    from sklearn.preprocessing import OneHotEncoder

    encoder = OneHotEncoder().fit(people[["city"]])
    strange = people[["city"]].head(3).assign(city="Atlantis")

    with pytest.raises(SampleFileError, match=r"the original model refuses the sample: .*Atlantis"):
        converter.convert(encoder, sample=strange)


def test_a_refusal_shows_the_row_that_is_furthest_off(artifact: Artifact) -> None:
    def off(answers: dict[str, Array]) -> dict[str, Array]:
        scores = answers["scores"].copy()
        scores[answers["label"] == "class 1", 1] += 0.25
        return {**answers, "scores": scores}

    with pytest.raises(ParityError, match="rows differ") as refused:
        judged(artifact, off)

    found = re.search(r"\(row (\d+): (\S+) instead of (\S+)\); allowed is 0\.001", str(refused.value))
    assert found is not None
    answers, row = artifact.reference(artifact.rows), int(found[1]) - 1
    mine = answers["scores"][row, 1]
    assert (answers["label"][row], float(found[2]), float(found[3])) == (
        "class 1",
        pytest.approx(mine),
        pytest.approx(mine + 0.25),
    )


def test_a_refusal_shows_a_row_of_another_class(artifact: Artifact) -> None:
    own = artifact.reference(artifact.rows)["label"]

    with pytest.raises(ParityError, match=rf"rows get another class \(row 1: {own[0]} instead of class 9\)"):
        judged(artifact, lambda answers: {**answers, "label": np.array(["class 9"] * len(answers["label"]), object)})


def test_a_refusal_over_made_up_rows_shows_their_values(artifact: Artifact) -> None:
    def reference(rows: Rows) -> dict[str, Array]:
        answers = artifact.reference(rows)
        return answers if rows.source == "sample" else {**answers, "scores": answers["scores"] + 0.5}

    first = artifact.manifest.features[0].name

    with pytest.raises(ParityError, match=rf"outside of the sample's: .* rows differ, .*\({first}=.*instead of"):
        parity.prove(replace(artifact, reference=reference), Options())
