"""Columns as people have them: odd names, missing and unknown texts, yes and no."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import RFE, SelectFromModel, SequentialFeatureSelector
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import CategoricalNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from support.tables import Split, run, table

import converter
import edge
from converter.errors import SampleFileError, UnsupportedError
from edge.errors import SampleError


def pipeline(numbers: list[str], texts: list[str], **encoder: str) -> Pipeline:
    steps = [("numbers", StandardScaler(), numbers), ("texts", OneHotEncoder(**encoder), texts)]
    return make_pipeline(ColumnTransformer(steps), LogisticRegression(max_iter=500))


def served(model: Pipeline, rows: pd.DataFrame, tmp_path: Path, held: pd.DataFrame | None = None) -> list[str]:
    path = converter.convert(model, sample=rows).save(tmp_path / "model.onnx")
    loaded = edge.load(path)
    given = rows if held is None else held
    records = given.astype(object).where(given.notna(), None).to_dict("records")
    return [loaded.predict(r).predictions[0].label for r in records]


@pytest.mark.parametrize(
    "names",
    [
        {"age": "a ge", "income": "in/come (kg)", "city": "cité:0", "plan": "a_ge"},
        {"age": "label", "income": "scores", "city": "input", "plan": "value"},
    ],
    ids=["not of letters", "those of outputs"],
)
def test_a_column_may_have_any_name(
    names: dict[str, str], people: pd.DataFrame, buys: np.ndarray, tmp_path: Path
) -> None:
    rows = people.rename(columns=names)
    model = pipeline([names["age"], names["income"]], [names["city"], names["plan"]]).fit(rows, buys)

    assert served(model, rows, tmp_path) == model.predict(rows).tolist()


def test_a_text_that_is_missing_is_a_category_of_its_own(
    people: pd.DataFrame, buys: np.ndarray, tmp_path: Path
) -> None:
    rows = people.assign(city=people.city.astype(object))
    rows.loc[::5, "city"] = np.nan
    answers = np.where(rows.city.isna(), "no", buys)
    model = pipeline(["age", "income"], ["city", "plan"]).fit(rows, answers)

    assert served(model, rows, tmp_path) == model.predict(rows).tolist()


def test_a_text_that_the_original_refuses_is_refused(
    columns_model: Pipeline, people: pd.DataFrame, tmp_path: Path
) -> None:
    strict = pipeline(["age", "income"], ["city", "plan"]).fit(people, people.age > 40)
    loaded = edge.load(converter.convert(strict, sample=people).save(tmp_path / "strict.onnx"))
    stranger = {**people.iloc[0].to_dict(), "city": "Paris"}

    with pytest.raises(
        SampleError, match="'city' is 'Paris', which the model does not know; it knows Bern, Oslo, Rome"
    ):
        loaded.predict(stranger)

    loose = edge.load(converter.convert(columns_model, sample=people).save(tmp_path / "loose.onnx"))
    wanted = columns_model.predict(pd.DataFrame([stranger]))[0]
    assert loaded.predict({**stranger, "city": "Bern"}).predictions
    assert loose.predict(stranger).predictions[0].label == wanted


def test_true_and_false_in_a_csv_are_numbers(people: pd.DataFrame, buys: np.ndarray, tmp_path: Path) -> None:
    rows = people[["age", "income"]].assign(member=people.age % 2 == 0)
    model = DecisionTreeClassifier(max_depth=4, random_state=0).fit(rows, buys)
    rows.to_csv(tmp_path / "rows.csv", index=False)

    path = converter.convert(model, sample=tmp_path / "rows.csv").save(tmp_path / "model.onnx")

    assert [f.kind for f in edge.load(path).manifest.features] == ["number"] * 3


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (CalibratedClassifierCV(pipeline(["age"], ["city"]), cv=2), "gets no columns in ONNX; put it in front"),
        (RFE(LogisticRegression(max_iter=500)), "it ends the model, where ONNX only selects"),
    ],
    ids=["columns inside", "selection at the end"],
)
def test_what_has_no_way_is_refused_with_the_reason(model: Pipeline, reason: str, people: pd.DataFrame) -> None:
    rows = people if isinstance(model, CalibratedClassifierCV) else people[["age", "income"]]
    model.fit(rows, people.income > 30000)

    with pytest.raises(UnsupportedError, match=reason):
        converter.convert(model, sample=rows)


def test_a_sample_that_the_original_cannot_take_is_one_line(people: pd.DataFrame, buys: np.ndarray) -> None:
    rows = people[["age"]] % 5
    model = CategoricalNB().fit(rows, buys)

    with pytest.raises(SampleFileError, match=r"the original model refuses the sample: index . is out of bounds"):
        converter.convert(model, sample=rows + 5)


@pytest.mark.parametrize(
    "choice",
    [
        RFE(DecisionTreeClassifier(random_state=0), n_features_to_select=2),
        SequentialFeatureSelector(DecisionTreeClassifier(max_depth=2), n_features_to_select=2, cv=2),
        SelectFromModel(DecisionTreeClassifier(random_state=0), max_features=2, threshold=-np.inf),
    ],
    ids=["RFE", "one after the other", "from a model"],
)
def test_a_choice_of_features_by_a_model_is_only_a_choice(choice: object, wine: Split, tmp_path: Path) -> None:
    model = make_pipeline(choice, StandardScaler(), LogisticRegression()).fit(wine.train, wine.names)

    path = converter.convert(model, sample=wine.train).save(tmp_path / "wine.onnx")

    np.testing.assert_allclose(run(path, table(path, wine.held))["scores"], model.predict_proba(wine.held), atol=2e-6)


def test_words_are_cut_as_in_the_original(tmp_path: Path) -> None:
    texts = [f"{a} a {b} it's" for a in ("été", "nuit", "x1") for b in ("naïve", "big-small", "b", "two_words")] * 3
    rows = pd.DataFrame({"text": texts})
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression())
    model.fit(rows["text"], ["é" in t for t in texts])

    artifact = converter.convert(model, sample=rows)

    served = edge.load(artifact.save(tmp_path / "text.onnx"))
    scores = [{p.label: p.score for p in served.predict({"text": t}).predictions}["True"] for t in texts[:12]]
    np.testing.assert_allclose(scores, model.predict_proba(texts[:12])[:, 1], atol=1e-5)
    assert any("capital letters beyond A to Z" in note for note in artifact.notes)
