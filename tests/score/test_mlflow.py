"""A model file as a model of MLflow's: saved, logged, loaded and served by MLflow, with the rows of edge-score."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from support import onnxmodels, peers
from support.processes import BINARIES, free_port

import edge.score
from edge.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
peer = [pytest.mark.peers, pytest.mark.timeout(1800)]  # the first run installs 500 MB


@pytest.fixture(scope="module")
def bins() -> Path:
    """An environment with MLflow and the wheel that is tested."""
    (wheel,) = (ROOT / "dist").glob("*.whl")
    found = peers.environment(peers.CACHE, "mlflow", "mlflow==3.17.2", f"{wheel}[score,vision]")
    subprocess.run([found / "pip", "install", "--quiet", "--force-reinstall", "--no-deps", wheel], check=True)
    return found


@pytest.fixture
def folder(trees, tmp_path):
    (tmp_path / "model.onnx").write_bytes(trees.path.read_bytes())
    trees.write(tmp_path / "rows.parquet")
    return tmp_path


@pytest.fixture
def python(bins, folder):
    def run(script: str) -> str:
        head = "import edge.score, mlflow, pandas as pd, pyarrow.parquet as pq\n"
        done = subprocess.run([bins / "python", "-c", head + script], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def typed(name: str) -> str:
    page = (ROOT / "docs" / "MLOPS.md").read_text()
    return page.partition(f"<!-- test: {name} -->\n```python\n")[2].partition("```")[0]


def scored(folder: Path) -> list[dict[str, object]]:
    command = [BINARIES / "edge-score", "model.onnx", "rows.parquet", "-o", "here.parquet"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return pq.read_table(folder / "here.parquet").to_pandas().to_dict("records")


def same(found: list[dict[str, object]], rows: list[dict[str, object]]) -> bool:
    """None and NaN are one to pandas."""
    plain = [[{k: None if v != v else v for k, v in row.items()} for row in rows_] for rows_ in (found, rows)]
    return plain[0] == plain[1]


@pytest.mark.parametrize("how", ["save", "log"])
class TestBesideMlflow:
    pytestmark = peer

    def test_a_model_that_is_loaded_gives_the_rows_of_edge_score(self, how, python, folder):
        python(typed(how) + "\nmodel.predict(pd.read_parquet('rows.parquet')).to_parquet('out.parquet')")
        assert same(pq.read_table(folder / "out.parquet").to_pandas().to_dict("records"), scored(folder))


class TestServedByMlflow:
    pytestmark = peer

    def test_rows_are_answered_over_http_and_wrong_ones_refused(self, bins, python, folder):
        python(typed("save"))
        port = free_port()
        command = [bins / "mlflow", "models", "serve", "-m", "flowers", "--env-manager", "local", "-p", str(port)]
        rows = pq.read_table(folder / "rows.parquet").drop(["id", "note"]).slice(8, 40).to_pandas()
        with peers.started("mlflow", port, command, folder, health="/health", PATH=f"{bins}:/usr/bin:/bin") as server:
            found = asked(server.port, {"dataframe_split": rows.to_dict("split")})["predictions"]
            whole = asked(server.port, {"dataframe_records": [{"width": 1, "height": 2, "hole": 3, "age": None}]})
            with pytest.raises(urllib.error.HTTPError) as refused:
                asked(server.port, {"dataframe_records": [{"width": 1}]})
            refused.value.close()
        assert same(found, scored(folder)[8:48])
        (alone,) = whole["predictions"]
        expected = edge.load(folder / "model.onnx").predict({"width": 1, "height": 2, "hole": 3, "age": None})
        assert (alone["error"], alone["label"]) == (None, expected.predictions[0].label)  # LightGBM takes gaps
        assert refused.value.code == 400


class TestPictures:
    pytestmark = peer

    def test_pictures_go_in_as_bytes(self, python, folder):
        onnxmodels.pictures(folder / "model.onnx")
        (folder / "a.png").write_bytes(cv2.imencode(".png", np.full((40, 40, 3), 90, np.uint8))[1].tobytes())
        ask = """
rows = pd.DataFrame({"content": [open("a.png", "rb").read(), b"no picture"]})
print(model.predict(rows).to_json(orient="records"))
"""
        good, bad = json.loads(python(typed("save") + ask).splitlines()[-1])
        loaded = edge.load(folder / "model.onnx")
        best = loaded.predict((folder / "a.png").read_bytes()).predictions[0]
        loaded.close()
        assert (good["label"], good["index"], good["error"]) == (best.label, best.index, None)
        assert bad["label"] is None
        assert bad["error"]


def asked(port: int, what: dict[str, object]) -> dict[str, list[dict[str, object]]]:
    body = json.dumps(what).encode()
    url, kind = f"http://127.0.0.1:{port}/invocations", {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, body, kind), timeout=60) as answer:
        return json.loads(answer.read())


@pytest.mark.skipif(importlib.util.find_spec("mlflow") is not None, reason="MLflow is here")
def test_without_mlflow_the_extra_is_named(trees, tmp_path):
    with pytest.raises(ConfigError, match=r"edge-run\[score-mlflow\]"):
        edge.score.save_mlflow(trees.path, tmp_path / "model")
