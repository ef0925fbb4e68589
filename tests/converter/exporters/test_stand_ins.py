"""Estimators that skl2onnx converts wrongly or not at all, and which answer on the device as they did in Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import BisectingKMeans
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import FactorAnalysis, FastICA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    GradientBoostingClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.feature_selection import SelectFromModel, SelectKBest
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import NearestCentroid
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, MaxAbsScaler, OneHotEncoder, StandardScaler
from sklearn.random_projection import SparseRandomProjection
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

import converter
import edge
from converter.errors import UnsupportedError
from converter.rows import files
from converter.rows.tensors import feed

RANDOM = np.random.default_rng(11)
ROWS, HELD = RANDOM.normal(size=(240, 5)), RANDOM.normal(size=(80, 5)) * 1.5
TWO = ROWS[:, 0] + 0.3 * ROWS[:, 1] > 0
THREE = np.array(["low", "mid", "high"])[(ROWS[:, 0] > 0).astype(int) + (ROWS[:, 2] > 0.7)]
NUMBERS = np.stack([ROWS[:, 0] * 3 + 5, -ROWS[:, 1]], axis=1)


def scores(model: Any, sample: Any, rows: list[Any], folder: Path) -> np.ndarray:
    """What the file answers to each row alone, [rows, classes]."""
    loaded = edge.load(converter.convert(model, sample=sample).save(folder / "m.onnx"))
    inputs = loaded.manifest.inputs
    made = []
    for row in rows:
        values = row.values() if isinstance(row, dict) else [np.array(row)]
        fed = {
            i.name: np.array([v], dtype=object if isinstance(v, str) else i.dtype).reshape(1, -1)
            for i, v in zip(inputs, values, strict=True)
        }
        made.append(loaded.infer(fed)["scores"][0])
    return np.array(made)


@pytest.mark.parametrize("classes", [TWO, THREE], ids=["two classes", "three"])
def test_linear_discriminants_keep_their_probabilities(classes: np.ndarray, tmp_path: Path) -> None:
    model = LinearDiscriminantAnalysis().fit(ROWS, classes)

    got = scores(model, ROWS, list(HELD), tmp_path)

    np.testing.assert_allclose(got, model.predict_proba(HELD), atol=1e-5)


@pytest.mark.parametrize(
    "step",
    [
        LinearDiscriminantAnalysis(), FastICA(3, random_state=0), FactorAnalysis(2),
        SparseRandomProjection(3, random_state=0),
        FeatureUnion([("mixed", FastICA(2, random_state=0)), ("scaled", StandardScaler())]),
    ],
    ids=lambda s: type(s).__name__,
)  # fmt: skip
def test_what_only_projects_is_a_step_like_any_other(step: Any, tmp_path: Path) -> None:
    model = make_pipeline(step, LogisticRegression()).fit(ROWS, THREE)

    got = scores(model, ROWS, list(HELD), tmp_path)

    np.testing.assert_allclose(got, model.predict_proba(HELD), atol=1e-5)


@pytest.mark.parametrize(
    "model",
    [
        AdaBoostClassifier(n_estimators=5, random_state=0),
        RandomizedSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, n_iter=2),
        make_pipeline(StandardScaler(), RandomizedSearchCV(GaussianNB(), {"var_smoothing": [1e-9]}, n_iter=1)),
    ],
    ids=["boosting of truths", "search", "search in a pipeline"],
)
def test_classes_false_and_true_and_searches_are_taken(model: Any, tmp_path: Path) -> None:
    model.fit(ROWS, TWO)

    got = scores(model, ROWS, list(HELD), tmp_path)

    np.testing.assert_allclose(got, model.predict_proba(HELD), atol=1e-5)


def test_a_model_that_trained_itself_further_predicts_with_what_it_ended_with(tmp_path: Path) -> None:
    partly = np.where(np.arange(len(ROWS)) % 3 == 0, -1, TWO.astype(int))
    model = SelfTrainingClassifier(LogisticRegression()).fit(ROWS, partly)

    got = scores(model, ROWS, list(HELD), tmp_path)

    np.testing.assert_allclose(got, model.predict_proba(HELD), atol=1e-5)


@pytest.mark.parametrize(
    "model",
    [
        VotingClassifier([("a", LinearDiscriminantAnalysis()), ("b", GaussianNB())], voting="soft"),
        VotingClassifier([("a", make_pipeline(FastICA(3, random_state=0), GaussianNB()))], voting="soft"),
        VotingClassifier([("a", make_pipeline(SelectKBest(k=2), SelectFromModel(LogisticRegression()), GaussianNB()))],
                         voting="soft"),
        StackingClassifier([("a", LinearDiscriminantAnalysis()), ("b", BaggingClassifier(GaussianNB(), 2))]),
    ],
    ids=["discriminant in a vote", "projection in a vote", "selection in a vote", "bagging in a stack"],
)  # fmt: skip
def test_what_a_model_was_made_with_need_not_be_trained(model: Any, tmp_path: Path) -> None:
    """It holds what was given to it beside the copies that it trained."""
    model.fit(ROWS, THREE)

    got = scores(model, ROWS, list(HELD), tmp_path)

    np.testing.assert_allclose(got, model.predict_proba(HELD), atol=1e-5)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize(("loss", "target"), [("squared_error", NUMBERS), ("poisson", np.abs(NUMBERS[:, 0]))])
def test_a_perceptron_gives_all_its_numbers(loss: str, target: np.ndarray, tmp_path: Path) -> None:
    model = MLPRegressor(hidden_layer_sizes=(6,), loss=loss, max_iter=60, random_state=0).fit(ROWS, target)

    loaded = edge.load(converter.convert(model, sample=ROWS).save(tmp_path / "m.onnx"))

    got = [[p.value for p in loaded.predict(row.tolist()).predictions] for row in HELD]
    np.testing.assert_allclose(
        np.array(got).reshape(model.predict(HELD).shape), model.predict(HELD), rtol=1e-3, atol=1e-4
    )


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "age": RANDOM.integers(18, 80, 240).astype(float), "city": RANDOM.choice(["Bern", "Oslo", "Rome"], 240),
            "rooms": RANDOM.integers(1, 5, 240), "own": RANDOM.random(240) < 0.5,
        }
    )  # fmt: skip


def encoded(encoder: Any, columns: Any) -> Pipeline:
    return make_pipeline(
        ColumnTransformer([("coded", encoder, columns), ("age", StandardScaler(), ["age"])]), LogisticRegression()
    )


def odd_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows with numbers that are not whole, numbers and texts that training never saw."""
    odd = frame.head(60).astype({"rooms": float, "own": float})
    odd.loc[::3, "rooms"] += 0.4
    odd.loc[1::3, "rooms"] = 9
    odd.loc[::4, "own"] = 0.3
    odd.loc[::5, "city"] = "Paris"
    return odd


@pytest.mark.parametrize(
    "columns", [["rooms", "own"], ["city", "rooms", "own"], ["city", "own"]], ids=lambda c: " ".join(c)
)
@pytest.mark.parametrize("unknown", ["ignore", "warn", "infrequent_if_exist"])
@pytest.mark.filterwarnings("ignore:Found unknown categories")
def test_one_hot_of_texts_and_numbers_knows_only_what_it_saw(
    columns: list[str], unknown: str, frame: pd.DataFrame, tmp_path: Path
) -> None:
    model = encoded(OneHotEncoder(handle_unknown=unknown), columns).fit(frame, TWO)

    odd = odd_rows(frame)
    got = scores(model, frame, odd.to_dict("records"), tmp_path)

    np.testing.assert_allclose(got, model.predict_proba(odd), atol=1e-5)


@pytest.mark.parametrize("columns", [["city"], ["rooms"], ["city", "rooms", "own"]], ids=lambda c: " ".join(c))
@pytest.mark.parametrize(("unknown", "drop"), [("ignore", None), ("infrequent_if_exist", None), ("warn", "first")])
@pytest.mark.filterwarnings("ignore:Found unknown categories")
def test_one_hot_takes_rare_categories_and_unknown_ones_together(
    columns: list[str], unknown: str, drop: str | None, frame: pd.DataFrame
) -> None:
    frame = frame.assign(city=frame["city"].where(frame.index % 40 > 1, "Nice").where(frame.index % 60 > 0, "Lund"))
    encoder = OneHotEncoder(handle_unknown=unknown, drop=drop, min_frequency=0.3)
    model = encoded(encoder, columns).fit(frame, frame["city"].isin(["Nice", "Oslo"]))
    odd = odd_rows(frame)

    artifact = converter.convert(model, sample=frame[:60])

    made = onnxruntime.InferenceSession(artifact.model).run(["scores"], feed(files.of(odd), artifact.manifest.inputs))
    np.testing.assert_allclose(made[0], model.predict_proba(odd), atol=1e-5)


def test_one_hot_of_many_categories_with_a_rare_gap_is_no_table_of_all_by_all() -> None:
    numbers = np.r_[np.repeat(np.arange(300.0), 3), [np.nan, np.nan, 999.5]].reshape(-1, 1)
    encoder = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=3)
    model = make_pipeline(encoder, Ridge()).fit(numbers, np.arange(len(numbers)) % 7)

    artifact = converter.convert(model, sample=numbers[-40:])

    odd = np.array([[np.nan], [999.5], [5.25], [7.0]], np.float32)
    made = onnxruntime.InferenceSession(artifact.model).run(None, {artifact.manifest.inputs[0].name: odd})
    np.testing.assert_allclose(made[0].ravel(), model.predict(odd), atol=1e-4)
    assert len(artifact.model) < 60_000  # a table has 90,000 numbers


@pytest.mark.parametrize(
    "columns",
    [
        [-3],
        [1, -2],
        slice("city", "rooms"),
        slice(None, "rooms"),
        slice(1, 3),
        [False, True, False, True],
        np.array([False, False, True, True]),
    ],
    ids=str,
)
def test_columns_may_be_counted_from_the_end_cut_or_marked(columns: Any, frame: pd.DataFrame, tmp_path: Path) -> None:
    model = encoded(OneHotEncoder(handle_unknown="ignore"), columns).fit(frame, TWO)

    got = scores(model, frame, frame.head(60).to_dict("records"), tmp_path)

    np.testing.assert_allclose(got, model.predict_proba(frame.head(60)), atol=1e-5)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (BaggingClassifier(LinearSVC(), n_estimators=3), "BaggingClassifier: its members have no probabilities"),
        (StackingClassifier([("a", GaussianNB())], stack_method="predict"), "use 'predict_proba'"),
        (make_pipeline(MaxAbsScaler(clip=True), LogisticRegression()), "use MinMaxScaler"),
        (GradientBoostingClassifier(init=GaussianNB(), n_estimators=2), "train without it, or with init='zero'"),
        (CalibratedClassifierCV(GaussianNB(), method="isotonic"), "calibrate with method='sigmoid'"),
    ],
    ids=lambda v: type(v).__name__ if not isinstance(v, str) else "",
)
def test_what_cannot_be_converted_says_why_and_the_way_out(model: Any, reason: str) -> None:
    model.fit(ROWS, THREE)

    with pytest.raises(UnsupportedError, match=reason):
        converter.convert(model, sample=ROWS)


@pytest.mark.parametrize(
    "model",
    [
        VotingClassifier([("a", GaussianNB()), ("b", LogisticRegression())], voting="soft", weights=[1, 3]),
        FrozenEstimator(LogisticRegression().fit(ROWS, THREE)),
        make_pipeline(KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf"), LogisticRegression()),
        make_pipeline(GridSearchCV(StandardScaler(), {"with_mean": [True]}, scoring=lambda *_: 1.0), GaussianNB()),
    ],
    ids=["a vote", "frozen", "bins", "a search as a step"],
)
def test_what_wraps_or_cuts_answers_as_the_original(model: Any, tmp_path: Path) -> None:
    model.fit(ROWS, THREE)

    np.testing.assert_allclose(scores(model, ROWS, list(HELD), tmp_path), model.predict_proba(HELD), atol=1e-5)


@pytest.mark.parametrize("column", ["text", 0, -1], ids=str)
def test_words_of_one_column_that_is_said_alone_are_counted(column: Any, tmp_path: Path) -> None:
    texts = pd.DataFrame({"text": RANDOM.choice(["low tide", "high tide", "high water"], 240)})
    model = make_pipeline(ColumnTransformer([("words", CountVectorizer(), column)]), LogisticRegression())
    model.fit(texts, texts["text"].str.startswith("low"))

    got = scores(model, texts, texts.head(20).to_dict("records"), tmp_path)

    np.testing.assert_allclose(got, model.predict_proba(texts.head(20)), atol=1e-5)


def test_a_pattern_of_words_that_onnx_has_not_is_refused() -> None:
    texts = ["low tide", "high tide"] * 20
    model = make_pipeline(CountVectorizer(token_pattern="(?<=h)i.*?x?"), LogisticRegression()).fit(
        ["high ix", "hit"] * 20, [0, 1] * 20
    )

    with pytest.raises(UnsupportedError, match="has no counterpart in ONNX; take the default"):
        converter.convert(model, sample=np.array(texts, dtype=object))


def test_a_model_that_knows_one_class_only_is_refused() -> None:
    model = DecisionTreeClassifier().fit(ROWS, ["good"] * len(ROWS))

    with pytest.raises(UnsupportedError, match=r"one class only \(good\)"):
        converter.convert(model, sample=ROWS)


def test_an_empty_text_beside_missing_ones_is_refused(frame: pd.DataFrame) -> None:
    gaps = frame.assign(city=np.where(np.arange(240) % 5 == 0, "", frame.city.where(frame.index % 7 != 0, None)))
    filled = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    model = encoded(filled, ["city"]).fit(gaps, TWO)

    with pytest.raises(UnsupportedError, match="one and the same to a device"):
        converter.convert(model, sample=gaps)


def test_an_empty_text_of_one_column_is_kept_where_another_has_gaps(frame: pd.DataFrame, tmp_path: Path) -> None:
    gaps = pd.DataFrame(
        {
            "city": frame.city.where(frame.index % 7 != 0, None),
            "kind": np.where(np.arange(240) % 5 == 0, "", frame.city),
        }
    )
    filled = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    columns = ColumnTransformer([("filled", filled, ["city"]), ("kind", OneHotEncoder(), ["kind"])])
    model = make_pipeline(columns, LogisticRegression()).fit(gaps, TWO)

    whole = gaps[gaps.city.notna()].head(60)
    got = scores(model, gaps, whole.to_dict("records"), tmp_path)

    assert "" in set(whole.kind)
    np.testing.assert_allclose(got, model.predict_proba(whole), atol=1e-5)


def test_advice_for_writers_of_skl2onnx_is_left_out() -> None:
    model = make_pipeline(CountVectorizer(strip_accents="unicode"), LogisticRegression())
    model.fit(["a word", "another"] * 10, [0, 1] * 10)

    with pytest.raises(UnsupportedError) as refused:
        converter.convert(model, sample=np.array(["a word", "another"]))

    assert "strip_accents" in str(refused.value)
    assert "github" not in str(refused.value)


@pytest.mark.parametrize(
    ("model", "way_out"),
    [
        (BisectingKMeans(3, random_state=0), "use KMeans in its place"),
        (NearestCentroid(), "use KNeighborsClassifier or LogisticRegression"),
        (FastICA(3, random_state=0), "put an estimator behind it"),
        (DummyClassifier(), "without looking at its features"),
    ],
    ids=lambda v: type(v).__name__ if not isinstance(v, str) else "",
)
def test_what_has_no_converter_names_what_has(model: Any, way_out: str) -> None:
    with pytest.raises(UnsupportedError, match=way_out):
        converter.convert(model.fit(ROWS, THREE), sample=ROWS)
