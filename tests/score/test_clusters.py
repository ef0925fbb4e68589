"""The same archive through a real Ray and a real Spark on this machine: the rows of `edge-score`, to the last bit."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from support import onnxmodels, peers
from support.processes import BINARIES, free_port, listens, until

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
    found = peers.environment(peers.CACHE, "clusters", "ray[data]==2.60.0", "pyspark==4.3.0", f"{wheel}[score,vision]")
    subprocess.run([found / "pip", "install", "--quiet", "--force-reinstall", "--no-deps", wheel], check=True)
    return found


def environ(bins: Path) -> dict[str, str]:
    return {
        **os.environ, "RAY_USAGE_STATS_ENABLED": "0", "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": str(bins / "python"),
    }  # fmt: skip


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
    done = subprocess.run(
        [bins / "python", "-c", script], cwd=tmp_path, env=environ(bins), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    code, _, _ = score(trees.path, tmp_path / "archive", "-o", tmp_path / "local.parquet", "--columns", "id")
    assert code == 0
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert sorted(rows, key=lambda row: row["id"]) == table(tmp_path / "local.parquet")


@pytest.fixture
def archive(trees, tmp_path):
    for i in range(60):
        trees.write(tmp_path / f"archive/{i:03}.parquet", i * 9, 60)
    return tmp_path / "archive"


@pytest.mark.parametrize(
    ("where", "process"), [("ray", "ray::Remote"), ("spark:local[2,4]", "pyspark.daemon")], ids=["ray", "spark"]
)
def test_the_command_on_a_cluster_gives_the_same_file_though_a_process_is_killed(
    where, process, bins, archive, trees, score, tmp_path
):
    out = tmp_path / "cluster.parquet"
    command = [trees.path, archive, "--columns", "id", "--batch", "1"]
    running = subprocess.Popen(
        [bins / "edge-score", *command, "-o", out, "--engine", where],
        cwd=tmp_path, env=environ(bins), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until(lambda: [*(tmp_path / "cluster.parquet.parts").glob("part-*")] or running.poll() is not None, "a part", 300)
    found = [pid for pid in peers.family(running.pid) if process in said_of(pid)]
    os.kill(found[-1], signal.SIGKILL)  # of Spark the last: the others are forked from the first
    _, wrong = running.communicate()
    assert running.returncode == 0, wrong
    assert score(*command, "-o", tmp_path / "here.parquet", "--workers", "1")[0] == 0
    assert pq.read_table(out).equals(pq.read_table(tmp_path / "here.parquet"))


def said_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


@pytest.mark.parametrize("where", ["ray", "spark"])
def test_pictures_are_scored_by_a_cluster_as_they_are_here(where, bins, tmp_path):
    (tmp_path / "in").mkdir()
    for i in range(5):
        picture = np.full((40, 40, 3), 50 * i, np.uint8)
        (tmp_path / f"in/{i}.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    (tmp_path / "in/9.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    command = [onnxmodels.pictures(tmp_path / "m.onnx"), "in", "--format", "jsonl"]
    done = subprocess.run(
        [bins / "edge-score", *command, "-o", "cluster", "--engine", where],
        cwd=tmp_path, env=environ(bins), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    here = subprocess.run([BINARIES / "edge-score", *command, "-o", "here"], cwd=tmp_path, capture_output=True)
    assert here.returncode == 0
    (part,) = (tmp_path / "here").glob("part-*")
    assert (tmp_path / "cluster" / part.name).read_bytes() == part.read_bytes()
    assert len(part.read_bytes().splitlines()) == 6


def test_spark_submit_runs_the_command(bins, archive, trees, score, tmp_path):
    (tmp_path / "score.py").write_text(typed("submit"))
    command = [trees.path, archive, "--columns", "id"]
    done = subprocess.run(
        [bins / "spark-submit", "--master", "local[2]", "score.py", *command, "-o", "cluster", "--engine", "spark"],
        cwd=tmp_path, env=environ(bins), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert score(*command, "-o", tmp_path / "here")[0] == 0
    for part in (tmp_path / "here").glob("part-*"):
        assert pq.read_table(tmp_path / "cluster" / part.name).equals(pq.read_table(part))


def test_the_command_leaves_the_spark_of_a_program_that_goes_on(bins, archive, trees, tmp_path):
    out = tmp_path / "out"
    script = f"""{SET_UP["spark"]}
from edge.cli.score import run
assert run([{str(trees.path)!r}, {str(archive)!r}, "-o", {str(out)!r}, "--engine", "spark"]) == 0
print("rows", spark.read.parquet({str(out)!r}).count())
"""
    done = subprocess.run([bins / "python", "-c", script], env=environ(bins), capture_output=True, text=True)
    assert f"rows {60 * 60}" in done.stdout, done.stderr


@pytest.fixture
def head(bins) -> Iterator[int]:
    """The port of a Ray of `ray start`, in a folder of its own: it notes itself as the cluster of this machine. Its
    sockets have long names, so the folder has a short one. Now and then one does not come up: then another is begun."""
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        for _ in range(3):
            port = free_port()
            process = subprocess.Popen(
                [bins / "ray", "start", "--head", "--block", f"--port={port}", "--num-cpus=1", "--include-dashboard=0"],
                env=environ(bins) | {"RAY_TMPDIR": folder}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            with contextlib.suppress(AssertionError):
                until(lambda at=port: listens(at), "Ray listens", 60)
                break
            ended(process)
        yield port
        ended(process)


def ended(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(120)


def test_a_cluster_that_wants_a_token_is_named_with_the_way_out_which_works(head, bins, trees, score, tmp_path):
    rows, out = trees.write(tmp_path / "rows.parquet"), tmp_path / "out.csv"
    command = [bins / "edge-score", trees.path, rows, "--engine", f"ray:127.0.0.1:{head}", "-o"]
    refused = subprocess.run([*command, tmp_path / "none.csv"], env=environ(bins), capture_output=True, text=True)
    assert refused.returncode == 2
    assert "is spoken to with RAY_AUTH_MODE=token in the environment" in refused.stderr
    token = {**environ(bins), "RAY_AUTH_MODE": "token"}
    done = subprocess.run([*command, out], env=token, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert score(trees.path, rows, "-o", tmp_path / "here.csv")[0] == 0
    assert out.read_bytes() == (tmp_path / "here.csv").read_bytes()
