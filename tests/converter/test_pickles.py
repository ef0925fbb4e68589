"""A pickle runs nothing while it is looked at, and nothing at all without the flag."""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression

import converter
from converter.errors import UnrecognisedError, UnsafeError, UnsupportedError
from converter.sources import pickles


class Payload:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def test_the_payload_would_work(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Payload(tmp_path / "mark")))

    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize("dump", [pickle.dump, joblib.dump], ids=["pickle", "joblib"])
def test_nothing_runs_without_the_flag(dump: Any, forest: RandomForestClassifier, tmp_path: Path) -> None:
    with (tmp_path / "model.pkl").open("wb") as file:
        dump([forest, np.zeros(5), Payload(tmp_path / "mark"), np.array([Payload(tmp_path / "mark")])], file)

    with pytest.raises(UnsafeError, match=r"imports .*posix\.mkdir.*--trust-pickle"):
        converter.convert(tmp_path / "model.pkl")

    assert not (tmp_path / "mark").exists()


def test_a_payload_alone_is_no_model_even_with_the_flag(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Payload(tmp_path / "mark")))

    with pytest.raises(UnrecognisedError, match=r"would import posix\.mkdir"):
        converter.convert(tmp_path / "model.pkl", trust_pickle=True)

    assert not (tmp_path / "mark").exists()


def test_a_class_that_cloudpickle_wrote_with_its_code_is_named_with_the_way_out(tmp_path: Path) -> None:
    class Around:
        def __init__(self) -> None:
            self.inner = LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])

        def predict(self, rows: Any) -> Any:
            return self.inner.predict(rows)

    (tmp_path / "model.pkl").write_bytes(cloudpickle.dumps(Around()))

    with pytest.raises(UnsafeError, match=r"imports .*cloudpickle\._make_skeleton_class"):
        converter.convert(tmp_path / "model.pkl")
    with pytest.raises(
        UnsupportedError, match=r"holds a Around, not a scikit-learn .*; save the model that it uses by"
    ):
        converter.convert(tmp_path / "model.pkl", trust_pickle=True)


def test_a_payload_behind_array_bytes_is_listed(tmp_path: Path) -> None:
    joblib.dump([np.arange(1000.0), np.array(["a", None], dtype=object), Payload(tmp_path / "mark")], tmp_path / "m")

    assert "posix.mkdir" in pickles.list_globals(tmp_path / "m")
    assert not (tmp_path / "mark").exists()


def test_a_trusted_pickle_is_listed_first(
    forest: RandomForestClassifier, wine: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    joblib.dump(forest, tmp_path / "model.joblib")

    artifact = converter.convert(tmp_path / "model.joblib", sample=wine.held, trust_pickle=True)

    assert artifact.manifest.parity.agreement == 1.0
    assert "it imports sklearn.ensemble._forest.RandomForestClassifier" in caplog.text


def test_bytes_that_go_round_in_circles_end(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04" + b"(" * 20000 + b".")
    begin = time.monotonic()

    with pytest.raises(UnrecognisedError, match="not a whole pickle"):
        pickles.list_globals(tmp_path / "model.pkl")

    assert time.monotonic() - begin < 20
