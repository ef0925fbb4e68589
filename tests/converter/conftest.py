"""Small real models and tables that the converter's tests share."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import onnx
import pandas as pd
import pytest
from skl2onnx.common import _container
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from support.tables import Split, split

from converter.proof import device


@pytest.fixture(scope="session", autouse=True)
def nothing_is_timed_or_looked_up_for_each_of_a_thousand_conversions() -> Iterator[None]:
    """Half of what a small one costs: a median of many calls, and skl2onnx's list of all operators that ONNX has."""
    once = functools.cache(lambda: [SimpleNamespace(domain=s.domain, name=s.name, since_version=s.since_version)
                                    for s in onnx.defs.get_all_schemas_with_history()])  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device, "LATENCY_BUDGET_S", 0.0)
        patch.setattr(_container, "get_all_schemas_with_history", once)
        yield


@pytest.fixture(scope="session")
def wine() -> Split:
    return split("wine")


@pytest.fixture(scope="session")
def cancer() -> Split:
    return split("breast_cancer")


@pytest.fixture(scope="session")
def diabetes() -> Split:
    return split("diabetes")


@pytest.fixture(scope="session")
def digits() -> Split:
    return split("digits")


@pytest.fixture(scope="session")
def people() -> pd.DataFrame:
    random = np.random.default_rng(7)
    count = 240
    return pd.DataFrame(
        {
            "age": random.integers(18, 80, count).astype(float),
            "city": random.choice(["Bern", "Oslo", "Rome"], count),
            "income": random.normal(3e4, 8e3, count).round(2),
            "plan": random.choice(["basic", "full"], count),
        }
    )


@pytest.fixture(scope="session")
def buys(people: pd.DataFrame) -> np.ndarray:
    return np.where((people.age > 45) & (people.city != "Oslo") | (people.income > 38000), "yes", "no")


@pytest.fixture(scope="session")
def columns_model(people: pd.DataFrame, buys: np.ndarray) -> Pipeline:
    columns = ColumnTransformer(
        [
            ("numbers", StandardScaler(), ["age", "income"]),
            ("texts", OneHotEncoder(handle_unknown="ignore"), ["city", "plan"]),
        ]
    )
    return make_pipeline(columns, LogisticRegression(max_iter=500)).fit(people[:160], buys[:160])


@pytest.fixture(scope="session")
def forest(wine: Split) -> RandomForestClassifier:
    return RandomForestClassifier(10, random_state=0).fit(wine.train, wine.names)
