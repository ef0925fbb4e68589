"""Which number type a scikit-learn model is converted in, and what is told where float64 cannot be had."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, PowerTransformer

import converter
from converter.artifact import Artifact
from converter.errors import UnsupportedError
from converter.exporters.sklearn import attempts, traps
from converter.options import Options
from converter.rows import files
from converter.rows.tensors import feed

ROWS = np.random.default_rng(0).normal(size=(60, 2))


def outputs(artifact: Artifact, rows: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(artifact.model)
    (made,) = session.run(None, feed(files.of(rows), artifact.manifest.inputs))
    return made.ravel()


@pytest.mark.parametrize(
    ("offset", "deviation", "first"),
    [(0, 1, "float32"), (100, 1e-4, "float64"), (1.7e9, 3600, "float64"), (1013, 5, "float32"), (7, 0, "float32")],
)
def test_a_feature_that_hardly_moves_for_how_large_it_is_asks_for_float64(
    offset: float, deviation: float, first: str
) -> None:
    rows = files.of(offset + deviation * ROWS)
    assert attempts.ways(LogisticRegression(), rows)[0][0] == first


@pytest.mark.parametrize(("wanted", "told"), [("float64", True), ("float32", False)])
def test_what_needs_float64_and_cannot_have_it_is_told_with_the_reason(wanted: Any, told: bool) -> None:
    made = converter.convert(LogisticRegression().fit(ROWS, ROWS[:, 0] > 0), sample=ROWS)

    def attempt(dtype: str, widen: bool) -> Artifact:
        if dtype == "float64":
            raise UnsupportedError("no operator for it; use another")
        return made

    artifact = attempts.best(attempt, [(wanted, False), ("float32", False)], Options())

    assert any("float64 cannot be had (no operator for it)" in note for note in artifact.notes) is told


def test_powers_behind_bins_give_the_original_s_answers_on_the_very_edges() -> None:
    # skl2onnx has PowerTransformer in float32 only, and float32 puts an edge that is no float32 into the other bin
    bins = KBinsDiscretizer(3, encode="ordinal", quantile_method="averaged_inverted_cdf")
    model = make_pipeline(bins, PowerTransformer(), GradientBoostingRegressor(n_estimators=3)).fit(ROWS, ROWS[:, 0])
    edges = np.column_stack([edges[1:-1] for edges in bins.bin_edges_])

    assert outputs(converter.convert(model, sample=ROWS), edges) == pytest.approx(model.predict(edges))


def test_powers_after_box_and_cox_are_the_original_s_to_the_last_digits_of_float32() -> None:
    # an exponent near 0, where the powers of float32 cancel, and one at 0, which is the logarithm
    rows = np.exp(ROWS) + 1e-3
    model = PowerTransformer(method="box-cox").fit(rows)
    model.lambdas_ = np.array([1e-6, 0.0])

    np.testing.assert_allclose(
        outputs(converter.convert(model, sample=rows), rows), model.transform(rows).ravel(), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ("values", "encoder", "told"),
    [
        ([0.5, 1.0], OneHotEncoder(), True),
        ([1.0, 2.0], OneHotEncoder(), False),
        ([0.5, 1.0], OneHotEncoder(handle_unknown="ignore"), False),
    ],
)
def test_a_number_that_one_hot_refuses_and_the_file_does_not_is_told(
    values: list[float], encoder: OneHotEncoder, told: bool
) -> None:
    model = make_pipeline(encoder, LogisticRegression()).fit(np.reshape(values * 5, (-1, 1)), [0, 1] * 5)

    assert (traps.UNKNOWN_AS_ZEROS in traps.notes(model, "float32")) is told
