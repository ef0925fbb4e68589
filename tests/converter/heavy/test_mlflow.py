"""MLflow: from the registry by version or alias, or from a folder, whatever framework is inside."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.networks import keras_network, task, torch_network
from support.tables import split

import converter
from converter.cli import main
from converter.errors import UnrecognisedError, UnsafeError, UnsupportedError

os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
FAST: dict[str, Any] = {"pip_requirements": []}  # else MLflow starts a process to find out what each model needs


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """MLflow on a store of its own."""
    module = pytest.importorskip("mlflow")
    folder = tmp_path_factory.mktemp("mlflow")
    before = os.environ.get("MLFLOW_TRACKING_URI")
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/store.db"
    module.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    module.create_experiment("tests", artifact_location=(folder / "artifacts").as_uri())
    module.set_experiment("tests")
    yield module
    os.environ.pop("MLFLOW_TRACKING_URI")
    if before is not None:
        os.environ["MLFLOW_TRACKING_URI"] = before


def fitted(flavour: str) -> tuple[Any, Any]:
    """A trained model and some rows."""
    wine = split("wine")
    rows = wine.train.to_numpy()
    if flavour == "sklearn":
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(max_iter=3000).fit(rows, wine.target), rows
    if flavour == "xgboost":
        from xgboost import XGBClassifier

        return XGBClassifier(n_estimators=5, max_depth=3).fit(rows, wine.target), rows
    if flavour == "lightgbm":
        from lightgbm import LGBMClassifier

        return LGBMClassifier(n_estimators=5, verbose=-1).fit(rows, wine.target), rows
    if flavour == "catboost":
        from catboost import CatBoostClassifier

        return CatBoostClassifier(iterations=5, verbose=0, allow_writing_files=False).fit(rows, wine.target), rows
    if flavour in ("keras", "tensorflow"):
        return keras_network("mlp"), task("diabetes").train
    if flavour == "pytorch":
        return torch_network("mlp"), task("diabetes").train
    return converter.convert(fitted("sklearn")[0], sample=rows).model, rows


@pytest.mark.parametrize(
    "flavour", ["sklearn", "xgboost", "lightgbm", "catboost", "keras", "tensorflow", "pytorch", "onnx"]
)
def test_a_folder_is_converted_by_what_it_holds(flavour: str, mlflow: Any, tmp_path: Path) -> None:
    model, rows = fitted(flavour)
    if flavour == "onnx":
        import onnx

        model = onnx.load_model_from_string(model)
    example = {"input_example": rows[:3].astype(np.float32)} if flavour == "pytorch" else {}
    getattr(mlflow, flavour).save_model(model, str(tmp_path / "model"), **example, **FAST)

    artifact = converter.convert(tmp_path / "model", sample=np.asarray(rows, dtype=np.float32))

    assert artifact.manifest.parity.passed
    assert artifact.manifest.parity.max_difference < 1e-4
    assert f"flavour {flavour}" in artifact.notes[-1]


def test_a_version_and_an_alias_of_the_registry_name_the_model(mlflow: Any) -> None:
    model, rows = fitted("sklearn")
    for _ in range(2):
        with mlflow.start_run():
            mlflow.sklearn.log_model(model, name="wine", registered_model_name="wine", **FAST)
    mlflow.MlflowClient().set_registered_model_alias("wine", "champion", "2")

    first, champion = (converter.convert(f"models:/wine{v}", sample=rows) for v in ("/1", "@champion"))

    assert (first.manifest.name, first.manifest.version) == ("wine", "1")
    assert (champion.manifest.name, champion.manifest.version) == ("wine", "2")
    assert "run " in champion.notes[-1]


def test_what_the_registry_has_not_is_told_in_a_line(mlflow: Any, tmp_path: Path, capsys: Any) -> None:
    assert main(["models:/nothing/1", "-o", str(tmp_path / "out.onnx")]) == 3

    told = capsys.readouterr().err
    assert "models:/nothing/1" in told
    assert len(told.splitlines()) == 1


def test_a_pickle_inside_is_opened_with_trust_only(mlflow: Any, tmp_path: Path) -> None:
    model, rows = fitted("sklearn")
    mlflow.sklearn.save_model(model, tmp_path / "model", serialization_format="cloudpickle", **FAST)

    with pytest.raises(UnsafeError, match="trust-pickle"):
        converter.convert(tmp_path / "model", sample=rows)
    assert converter.convert(tmp_path / "model", sample=rows, trust_pickle=True).manifest.parity.passed


@pytest.mark.parametrize(
    ("flavours", "way_out"),
    [
        ("{spacy: {}, python_function: {}}", "the flavour spacy has no way .* train the like of it with one of those"),
        ("{transformers: {}, python_function: {}}", "the flavour transformers .*optimum-cli export onnx"),
        ("{spark: {}}", "convert_sparkml"),
        ("{statsmodels: {}, python_function: {}}", "flavour statsmodels .*scikit-learn .LinearRegression"),
        ("{prophet: {}, python_function: {}}", "flavour prophet .*hangs on the date alone: .*send the numbers"),
        ("{python_function: {}}", "Python code alone .* log the model that the code calls with its own flavour"),
        ("{}", "names no flavour"),
        ("[sklearn]", "names no flavour"),
    ],
)
def test_a_flavour_that_nobody_converts_is_named_with_a_way_out(
    flavours: str, way_out: str, mlflow: Any, tmp_path: Path
) -> None:
    (tmp_path / "MLmodel").write_text(f"flavors: {flavours}\n")

    with pytest.raises(UnsupportedError, match=way_out):
        converter.convert(tmp_path)


def test_a_file_outside_of_the_folder_is_not_read(mlflow: Any, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/MLmodel").write_text("flavors:\n  onnx: {data: ../../secret.onnx}\n")

    with pytest.raises(UnrecognisedError, match="outside"):
        converter.convert(tmp_path / "model")
