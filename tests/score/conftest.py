"""Archives and models that are made on the spot."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="pip install 'edge-run[score]'")

import pyarrow as pa
import pyarrow.parquet as pq


class Trees:
    """A model of trees that takes missing values, and a table of its rows, some of which it refuses."""

    def __init__(self, folder):
        import lightgbm
        import pandas as pd

        import converter

        rng = np.random.default_rng(3)
        values = rng.normal(size=(600, 4)).round(3)
        values[::50, 2] = np.nan
        self.names = ["width", "height", "hole", "age"]
        kinds = np.array(["low", "mid", "high"])[(values[:, 0] > 0).astype(int) + (values[:, 2] > 0)]
        frame = pd.DataFrame(values, columns=self.names)
        fitted = lightgbm.LGBMClassifier(n_estimators=8, num_leaves=6, verbose=-1, n_jobs=1).fit(frame, kinds)
        self.path = folder / "trees.onnx"
        converter.convert(fitted, target="onnx", sample=frame, name="trees").save(self.path)
        self.table = pa.table(
            {
                "id": pa.array(range(100, 700)),
                **{name: values[:, i] for i, name in enumerate(self.names)},
                "note": [f"n{i % 5}" for i in range(600)],
            }
        )
        bad = values[:, 3].copy()
        bad[[7, 300]] = np.inf
        self.table = self.table.set_column(4, "age", pa.array(bad))

    def write(self, path, start=0, rows=600, **more):
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(self.table.slice(start, rows), path, **{"row_group_size": 100, **more})
        return path

    def rows(self, start=0, rows=600):
        """As a device gets them; NaN, which JSON has not, is null."""
        found = self.table.slice(start, rows).select(self.names).to_pylist()
        return [{k: None if v != v else v for k, v in row.items()} for row in found]


@pytest.fixture(scope="session")
def trees(tmp_path_factory):
    return Trees(tmp_path_factory.mktemp("trees"))


@pytest.fixture
def score(capsys):
    """`edge-score` with these arguments in this process: the exit code, and what it said."""
    from edge.cli import score as command

    def run(*args):
        code = command.run([*map(str, args)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def table():
    """A Parquet file, or a folder of them in the order of their names, as rows."""

    def read(path):
        files = sorted(path.glob("part-*.parquet")) if path.is_dir() else [path]
        return [row for file in files for row in pq.read_table(file, partitioning=None).to_pylist()]

    return read


@pytest.fixture
def lines():
    return lambda path: [json.loads(line) for line in path.read_text().splitlines()]
