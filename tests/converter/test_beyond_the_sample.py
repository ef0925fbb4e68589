"""What a few rows do not show: the original is asked on rows that were made for it, unrounded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor, Ridge
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    StandardScaler,
)
from sklearn.tree import DecisionTreeRegressor

import converter
import edge
from converter.errors import SampleFileError, UnsupportedError
from converter.options import Options
from converter.proof import parity
from converter.proof.parity import ParityError
from converter.rows import files
from converter.rows.tensors import feed
from edge.errors import ConfigError

RANDOM = np.random.default_rng(5)
ROWS = RANDOM.normal(size=(240, 4))
CLASSES = (ROWS[:, 0] + RANDOM.normal(size=240) > 0).astype(int)
OTHERS = RANDOM.normal(size=(1500, 4))


def outputs(artifact: converter.Artifact, rows: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(artifact.model)
    made = session.run(None, feed(files.of(rows), artifact.manifest.inputs))
    return dict(zip((o.name for o in session.get_outputs()), made, strict=True))


@pytest.mark.parametrize("kind", [RandomForestClassifier, ExtraTreesClassifier])
def test_trees_that_are_divided_choose_the_class_that_the_original_chooses(kind: type) -> None:
    model = kind(20, random_state=0).fit(ROWS, np.array(["no", "yes"])[CLASSES])
    scores = model.predict_proba(OTHERS)
    assert (scores[:, 0] == scores[:, 1]).sum() > 20, "there are ties among the rows"

    artifact = converter.convert(model, sample=ROWS[:20])

    assert outputs(artifact, OTHERS)["label"].tolist() == model.predict(OTHERS).tolist()


def test_a_threshold_of_the_owner_is_carried_where_no_row_of_the_sample_shows_it() -> None:
    model = FixedThresholdClassifier(LogisticRegression(), threshold=0.9).fit(ROWS, CLASSES)
    unsure = ROWS[model.predict_proba(ROWS)[:, 1] < 0.5]

    artifact = converter.convert(model, sample=unsure)

    assert outputs(artifact, OTHERS)["label"].tolist() == model.predict(OTHERS).tolist()


def test_a_threshold_that_would_be_lost_inside_is_refused() -> None:
    inner = FixedThresholdClassifier(LogisticRegression(), threshold=0.9)
    model = VotingClassifier([("a", inner), ("b", LogisticRegression())]).fit(ROWS, CLASSES)

    with pytest.raises(UnsupportedError, match="threshold is lost"):
        converter.convert(model, sample=ROWS)


@pytest.mark.parametrize("encoder", [OneHotEncoder(), OrdinalEncoder()], ids=lambda e: type(e).__name__)
def test_whole_numbers_that_float32_makes_equal_stay_apart(encoder: BaseEstimator) -> None:
    articles = (7610000000000 + 7 * RANDOM.integers(0, 20, (240, 1))).astype(float)
    model = make_pipeline(encoder, Ridge()).fit(articles, articles[:, 0] // 7 % 5)

    artifact = converter.convert(model, sample=articles)

    np.testing.assert_allclose(outputs(artifact, articles)["value"].ravel(), model.predict(articles), atol=1e-4)


def test_a_one_hot_of_whole_numbers_knows_no_fraction_though_the_sample_has_none() -> None:
    counts = RANDOM.integers(-1, 4, (240, 2)).astype(float)
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()).fit(counts, CLASSES)
    others = np.concatenate((counts[:20], counts[:20] + 0.3, counts[:20] - 0.3))

    artifact = converter.convert(model, sample=counts)

    np.testing.assert_allclose(outputs(artifact, others)["scores"], model.predict_proba(others), atol=1e-5)


def test_seconds_since_1970_are_scaled_in_float64() -> None:
    seconds = np.stack([1.7e9 + RANDOM.integers(0, 1000, 240), ROWS[:, 0]], axis=1)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(seconds, seconds[:, 0] > 1.7e9 + 500)

    artifact = converter.convert(model, sample=seconds)

    assert artifact.manifest.inputs[0].dtype == "float64"
    np.testing.assert_allclose(outputs(artifact, seconds)["scores"], model.predict_proba(seconds), atol=1e-5)


@pytest.mark.parametrize(("middle", "spread"), [(52.52, 2e-6), (101325, 0.02)])
def test_answers_that_vary_little_for_how_large_they_are_are_measured_by_how_they_vary(
    middle: float, spread: float
) -> None:
    answers = middle + spread * ROWS[:, 0]
    line, tree = LinearRegression().fit(ROWS, answers), DecisionTreeRegressor(max_depth=4).fit(ROWS, answers)
    inside = TransformedTargetRegressor(DecisionTreeRegressor(max_depth=4), transformer=StandardScaler())
    for model in (line, inside.fit(ROWS, answers)):
        value = outputs(converter.convert(model, sample=ROWS[:100]), OTHERS)["value"].reshape(-1)

        np.testing.assert_allclose((value - middle) / spread, (model.predict(OTHERS) - middle) / spread, atol=1e-3)
    with pytest.raises(ParityError, match="vary little for how large they are"):
        converter.convert(tree, sample=ROWS[:100])


@pytest.mark.parametrize("include_bias", [True, False])
def test_products_of_features_are_made_in_float64_where_trees_compare_them(include_bias: bool) -> None:
    products = PolynomialFeatures(include_bias=include_bias)
    model = make_pipeline(products, DecisionTreeRegressor(max_depth=5)).fit(ROWS, ROWS[:, 0] * ROWS[:, 1])

    artifact = converter.convert(model, sample=ROWS[:100])

    assert artifact.manifest.inputs[0].dtype == "float64"
    np.testing.assert_allclose(outputs(artifact, OTHERS)["value"].reshape(-1), model.predict(OTHERS), atol=1e-5)


@pytest.mark.parametrize("norm", ["max", "l1", "l2"])
def test_a_normaliser_is_right_for_rows_of_both_signs_where_the_sample_has_one(norm: str) -> None:
    model = make_pipeline(Normalizer(norm), LogisticRegression()).fit(ROWS, CLASSES)

    artifact = converter.convert(model, sample=np.abs(ROWS[:30]))

    np.testing.assert_allclose(outputs(artifact, OTHERS)["scores"], model.predict_proba(OTHERS), atol=1e-5)


def test_trees_send_a_missing_value_where_training_sent_it_though_the_sample_has_none() -> None:
    rows = np.where(RANDOM.random(ROWS.shape) < 0.2, np.nan, ROWS)
    model = RandomForestClassifier(12, random_state=0).fit(rows, CLASSES)

    artifact = converter.convert(model, sample=ROWS)

    assert all(f.missing for f in artifact.manifest.features)
    assert outputs(artifact, rows)["label"].tolist() == model.predict(rows).tolist()


WORDS = ["the quick brown fox jumps over the lazy dog", "a dog and a cat are friends", "cats sleep all day long",
         "fox and dog run", "noise is not fun at all", "models learn from data"] * 4  # fmt: skip


@pytest.mark.parametrize(
    "vectorizer",
    [TfidfVectorizer(sublinear_tf=True, norm="l1"), CountVectorizer(ngram_range=(1, 2), stop_words="english")],
    ids=["sublinear", "bigrams over stop words"],
)
def test_a_text_model_without_a_sample_is_asked_on_sentences_of_its_words(vectorizer: BaseEstimator) -> None:
    model = make_pipeline(vectorizer, LogisticRegression(C=10)).fit(WORDS, np.arange(24) % 2)

    with pytest.raises(ParityError):
        converter.convert(model)


def test_a_pattern_of_words_is_translated() -> None:
    model = make_pipeline(CountVectorizer(token_pattern=r"(?u)\b\w+\b"), LogisticRegression())

    artifact = converter.convert(model.fit(WORDS, np.arange(24) % 2))

    assert artifact.manifest.parity is not None
    assert artifact.manifest.parity.passed


def test_labels_that_exchange_the_classes_are_refused() -> None:
    model = LogisticRegression().fit(ROWS, np.array(["no", "yes"])[CLASSES])

    with pytest.raises(SampleFileError, match="the classes are no, yes"):
        converter.convert(model, sample=ROWS, labels=("yes", "no"))


@pytest.mark.parametrize("tolerance", [float("nan"), float("inf"), -1.0])
def test_a_tolerance_that_nothing_could_exceed_is_refused(tolerance: float) -> None:
    with pytest.raises(ConfigError, match="--tolerance"):
        converter.convert(LogisticRegression().fit(ROWS, CLASSES), sample=ROWS, tolerance=tolerance)


def test_expected_answers_that_are_no_class_are_not_called_wrong_answers() -> None:
    with pytest.raises(SampleFileError, match="none of the answers"):
        converter.convert(LogisticRegression().fit(ROWS, CLASSES), sample=ROWS, expect=["Bern"] * len(ROWS))


def test_numbers_are_judged_by_their_span_and_not_by_their_size() -> None:
    model = Ridge().fit(ROWS, 101325 + 30 * ROWS[:, 0])
    artifact = converter.convert(model, sample=ROWS)
    answers = artifact.reference
    moved = replace(artifact, reference=lambda rows: {"value": answers(rows)["value"] + 5})

    with pytest.raises(ParityError, match=r"rows differ, by up to 0\.0"):
        parity.prove(moved, Options())


def test_a_model_in_memory_is_named_after_the_file(tmp_path: Path) -> None:
    artifact = converter.convert(Ridge().fit(ROWS, ROWS[:, 0]), sample=ROWS)

    path = converter.write(artifact, tmp_path / "boiler pressure.onnx")

    assert edge.load(path).manifest.name == "boiler-pressure"


@pytest.mark.parametrize("number", ["1.5", "1,5"])
def test_a_sample_with_semicolons_is_read(tmp_path: Path, number: str) -> None:
    (tmp_path / "rows.csv").write_text(f"a;b\n{number};2\n3;4\n")

    rows = files.of(tmp_path / "rows.csv")

    assert rows.names == ("a", "b")
    assert rows.numbers("a").tolist() == [1.5, 3.0]


def test_decimal_commas_between_semicolons_are_no_header(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("1,5;2\n3;-4,25\n")

    assert files.of(tmp_path / "rows.csv").arrays[""].tolist() == [[1.5, 2.0], [3.0, -4.25]]


def test_a_number_of_two_readings_in_a_file_without_header_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("1,5;2\n1.234;-4,25\n")

    with pytest.raises(SampleFileError, match=r"'1\.234' is 1\.234 or 1234"):
        files.of(tmp_path / "rows.csv")


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("a;b;serial\n1,5;2;7\n2;3,5;1.234\n1;2;8\n", False),
        ("a;b;serial\n1,5;2;7\n2;1.234;7\n1;2;8\n", True),
        ("a;b;serial\n1,5;n/a;7\n2;1.234;7\n1;2;8\n", True),
    ],
    ids=["in a column that is not used", "in one that is", "in one with gaps"],
)
def test_numbers_of_two_readings_matter_in_the_columns_of_the_model(text: str, refused: bool, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(text)
    known = pd.DataFrame({"a": [1.5, 2.0, 1.0, 3.0], "b": [2.0, 3.5, np.nan, 4.0]})
    model = HistGradientBoostingRegressor(max_iter=2, min_samples_leaf=1).fit(known, [1.0, 2.0, 3.0, 4.0])

    if not refused:
        converter.convert(model, sample=tmp_path / "rows.csv")
        return
    with pytest.raises(SampleFileError, match=r"'1\.234' is 1\.234 or 1234"):
        converter.convert(model, sample=tmp_path / "rows.csv")


@pytest.mark.parametrize("quantiles", [1, 2, 100, 1000])
def test_a_quantile_transformer_is_right_with_any_number_of_quantiles(quantiles: int, tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    rows = random.normal(size=(2000, 4)).astype(np.float32)
    rows[:, 1] = np.round(rows[:, 1] * 2)  # the same value at many quantiles
    rows[:, 2] = 7.0
    rows[::9, 3] = np.nan
    model = QuantileTransformer(n_quantiles=quantiles).fit(rows)
    converter.convert(model, sample=rows[:100]).save(tmp_path / "model.onnx")

    others = np.concatenate([rows, 4 * random.normal(size=(2000, 4)).astype(np.float32)])
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (shares,) = session.run(None, {session.get_inputs()[0].name: others})

    np.testing.assert_allclose(shares, model.transform(others), atol=1e-6)


def test_neighbours_by_angle_are_asked_a_row_of_zeros_which_has_none() -> None:
    # what a sensor without power gives: scikit-learn takes all rows for equally far, ONNX divides by 0
    rows = np.random.default_rng(0).normal(size=(300, 4))
    model = KNeighborsClassifier(metric="cosine").fit(rows, np.digitize(rows[:, 0], [-0.5, 0.5]))
    with pytest.raises(ParityError, match="nothing but zeros"):
        converter.convert(model, sample=rows)


@pytest.mark.parametrize(
    "model", [KNeighborsClassifier(), PoissonRegressor(), PowerTransformer()], ids=lambda m: type(m).__name__
)
def test_values_of_a_failed_sensor_are_answered_as_the_original_does(model: BaseEstimator) -> None:
    # float32 makes neighbours equally far, and what grows without bound infinite
    model.fit(np.abs(ROWS), CLASSES)
    failed = np.abs(ROWS) + np.array([0.0, 3e4, 0.0, 0.0])

    got = outputs(converter.convert(model, sample=np.abs(ROWS[:60])), failed)

    asked = {"scores": "predict_proba", "value": "predict", "output": "transform"}
    name = next(n for n in asked if n in got)
    np.testing.assert_allclose(got[name].ravel(), getattr(model, asked[name])(failed).ravel(), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_refusal_for_values_far_outside_says_how_to_bound_them() -> None:
    classes = np.digitize(ROWS[:, 0] + ROWS[:, 1], [-0.5, 0.5])
    model = OneVsRestClassifier(MLPClassifier((8,), max_iter=60, random_state=0)).fit(ROWS, classes)

    with pytest.raises(ParityError, match=r"far outside.*MinMaxScaler\(clip=True\)"):
        converter.convert(model, sample=ROWS)

    bounded = make_pipeline(MinMaxScaler(clip=True), model).fit(ROWS, classes)
    far = OTHERS * 1e4
    assert outputs(converter.convert(bounded, sample=ROWS), far)["label"].tolist() == bounded.predict(far).tolist()


def test_forests_that_are_compared_with_each_other_have_exact_probabilities() -> None:
    classes = np.digitize(ROWS[:, 0] + ROWS[:, 1], [-0.5, 0.5])
    model = OneVsRestClassifier(ExtraTreesClassifier(10, random_state=0)).fit(ROWS, classes)
    scores = np.sort([m.predict_proba(OTHERS)[:, 1] for m in model.estimators_], axis=0)
    assert (scores[-1] == scores[-2]).sum() > 20, "there are ties among the rows"

    artifact = converter.convert(model, sample=ROWS[:20])

    assert outputs(artifact, OTHERS)["label"].tolist() == model.predict(OTHERS).tolist()
