"""The same archive through a real Ray and a real Spark on this machine: the rows of `edge-score`, to the last bit."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support import peers

ROOT = Path(__file__).resolve().parents[2]
SET_UP = {
    "ray": """import ray
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
""",
    "spark": """from pyspark.sql import SparkSession
local = SparkSession.builder.master("local[2]").config("spark.driver.host", "127.0.0.1")
spark = local.config("spark.ui.enabled", "false").getOrCreate()
""",
}
KEEP = {
    "ray": "pq.write_table(pa.Table.from_pylist(scored.take_all()), 'out.parquet')",
    "spark": "pq.write_table(pa.Table.from_pylist([r.asDict() for r in scored.collect()]), 'out.parquet')",
}

pytestmark = [pytest.mark.peers, pytest.mark.timeout(1800)]  # the first run installs 800 MB


@pytest.fixture(scope="module")
def bins() -> Path:
    """An environment with Ray, Spark and the wheel that is tested."""
    (wheel,) = (ROOT / "dist").glob("*.whl")
    found = peers.environment(peers.CACHE, "clusters", "ray[data]==2.60.0", "pyspark==4.3.0", f"{wheel}[score]")
    subprocess.run([found / "pip", "install", "--quiet", "--force-reinstall", "--no-deps", wheel], check=True)
    return found


def typed(name: str) -> str:
    page = (ROOT / "docs" / "SCORE.md").read_text()
    return page.partition(f"<!-- test: {name} -->\n```python\n")[2].partition("```")[0]


@pytest.mark.parametrize("cluster", ["ray", "spark"])
def test_a_cluster_gives_the_rows_of_edge_score(cluster, bins, trees, score, table, tmp_path):
    for i in range(3):
        trees.write(tmp_path / f"archive/{i}.parquet", i * 200, 200)
    (tmp_path / "model.onnx").write_bytes(trees.path.read_bytes())
    script = (
        f"import pyarrow as pa\nimport pyarrow.parquet as pq\n{SET_UP[cluster]}\n{typed(cluster)}\n{KEEP[cluster]}\n"
    )
    environ = {
        **os.environ, "RAY_USAGE_STATS_ENABLED": "0", "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": str(bins / "python"),
    }  # fmt: skip
    done = subprocess.run([bins / "python", "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    code, _, _ = score(trees.path, tmp_path / "archive", "-o", tmp_path / "local.parquet", "--columns", "id")
    assert code == 0
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert sorted(rows, key=lambda row: row["id"]) == table(tmp_path / "local.parquet")
