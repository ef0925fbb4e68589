"""`python -m score`: `edge-score` beside the same work by hand, in rows a second of processor time, and its memory.

make bench-score

Of a process all of it is counted, its start too. "By hand" reads the same Parquet by pyarrow, runs batches of 1024 rows
in one session of one thread, and writes nothing; bare is that without the reading. Pictures by hand: `by_hand.py`.
"""

from __future__ import annotations

import argparse
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pyarrow as pa
import pyarrow.parquet as pq
from flow import models
from flow.machine import busy, description
from support import peers
from support.marks import write_between
from support.processes import BINARIES

import converter
from edge.data.tensor import numpy_dtype
from edge.engines import onnxruntime as engine
from edge.plugins.protocols import EngineOptions

FEATURES = 30
BATCH = 1024
FILES = 8
ROW_BY_ROW = 1_000
ON_SPARK = {
    "linear": "scikit-learn's StandardScaler and LogisticRegression",
    "trees": "LightGBM, 100 trees",
    "boosting": "scikit-learn's HistGradientBoosting, 100 trees",
    "forest": "scikit-learn's random forest, 100 deep trees",
}
WAYS = {
    "mlflow": "`mlflow.pyfunc.spark_udf` of the source model, nothing written",
    "spark_udf": "`edge.score.spark_udf`, nothing written",
    "edge-score": "`edge-score --engine spark`, its Parquet written",
}


MEASURED = """import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3)
"""
"""In a small process: the memory of a large one would be taken for its child's."""


def archive(folder: Path, rows: int) -> None:
    rng = np.random.default_rng(0)
    folder.mkdir()
    for n in range(FILES):
        values = rng.normal(size=(rows // FILES, FEATURES)).astype(np.float32)
        table = {f"f{i}": values[:, i] for i in range(FEATURES)}
        pq.write_table(
            pa.table({**table, "id": np.arange(len(values))}), folder / f"{n}.parquet", row_group_size=50_000
        )


def model(folder: Path) -> tuple[Path, object]:
    """LightGBM, 100 trees, and the file that is made of it."""
    import lightgbm
    import pandas as pd

    rng = np.random.default_rng(1)
    frame = pd.DataFrame(rng.normal(size=(20_000, FEATURES)), columns=[f"f{i}" for i in range(FEATURES)])
    truth = (frame.f0 + frame.f1 * frame.f2 > 0).astype(int)
    fitted = lightgbm.LGBMClassifier(n_estimators=100, n_jobs=1, verbose=-1).fit(frame, truth)
    path = folder / "trees.onnx"
    converter.convert(fitted, target="onnx", sample=frame.head(500), name="trees").save(path)
    return path, fitted


def session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options)


def run_all(ready: ort.InferenceSession, values: np.ndarray) -> None:
    name = ready.get_inputs()[0].name
    for at in range(0, len(values), BATCH):
        ready.run(None, {name: values[at : at + BATCH]})


def read(folder: Path, path: Path) -> np.ndarray:
    spec = engine.load(path, EngineOptions(own_file=True)).inputs[0]
    table = pq.read_table(folder, columns=[f"f{i}" for i in range(FEATURES)])
    return np.stack([c.to_numpy() for c in table.columns], axis=1).astype(numpy_dtype(spec.dtype))


def timed(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def command(path: Path, folder: Path, out: Path, *more: str) -> tuple[float, float]:
    """`edge-score` in one process: see `process`."""
    return process([BINARIES / "edge-score", path, folder, "-o", out, "--workers", "1", *more], out.parent)


def process(typed: Sequence[str | Path], place: Path) -> tuple[float, float]:
    """Seconds of processor, and the largest resident set, in MB."""
    # An installed package is compiled (by pip); any other is compiled at each start, which takes as long again.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(place / "compiled")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    started = [sys.executable, "-c", MEASURED, *typed]
    done = subprocess.run(started, check=True, capture_output=True, text=True, env=environment)
    seconds, memory = map(float, done.stdout.split())
    return seconds, memory


def lines(rows: int, rounds: int, place: Path, shares: list[float]) -> list[str]:
    path, fitted = model(place)
    archive(place / "archive", rows)
    values, ready = read(place / "archive", path), session(path)
    took: dict[str, list[float]] = {"bare": [], "by hand": [], "edge-score": []}
    memory = 0.0
    command(path, place / "archive" / "0.parquet", place / "compiles.parquet")  # not counted
    for n in range(rounds):
        shares.append(busy())
        took["bare"].append(timed(lambda: run_all(ready, values)))
        took["by hand"].append(timed(lambda: run_all(session(path), read(place / "archive", path))))
        used, memory = command(path, place / "archive", place / f"out{n}.parquet", "--columns", "id")
        took["edge-score"].append(used)
    frame = pq.read_table(place / "archive").slice(0, ROW_BY_ROW).select([f"f{i}" for i in range(FEATURES)]).to_pandas()
    slow = timed(lambda: frame.apply(lambda row: fitted.predict_proba(row.to_frame().T), axis=1))
    rates = {name: rows / statistics.median(seconds) for name, seconds in took.items()}
    rates["row by row"] = ROW_BY_ROW / slow
    told = {
        "bare": "bare `session.run`, in batches of 1024, what it takes read and cast before",
        "by hand": "by hand: read, cast and run, nothing written",
        "edge-score": f"`edge-score`, one process ({memory:.0f} MB), from its start to the written Parquet",
        "row by row": "pandas `apply` of the source model's `predict_proba`",
    }
    return [f"| {text} | {rates[name]:,.0f} | {rates['edge-score'] / rates[name]:.2f} |" for name, text in told.items()]


def picture_lines(count: int, rounds: int, place: Path, shares: list[float]) -> list[str]:
    path = models.image(place / "image.onnx")
    folder = models.pictures(place / "pictures", count)
    script = Path(__file__).with_name("by_hand.py")
    took: dict[str, list[float]] = {"by hand": [], "edge-score": []}
    memory = 0.0
    command(path, models.pictures(place / "one", 1), place / "compiles.pictures.parquet")  # not counted
    for n in range(rounds):
        shares.append(busy())
        took["by hand"].append(process([sys.executable, script, path, folder, place / f"{n}.csv"], place)[0])
        used, memory = command(path, folder, place / f"pictures{n}.parquet")
        took["edge-score"].append(used)
    rates = {name: count / statistics.median(seconds) for name, seconds in took.items()}
    told = {
        "by hand": "by hand: OpenCV and `session.run`, from its start to the written CSV",
        "edge-score": f"`edge-score`, one process ({memory:.0f} MB), from its start to the written Parquet",
    }
    return [f"| {text} | {rates[name]:,.1f} | {rates['edge-score'] / rates[name]:.2f} |" for name, text in told.items()]


def of_sklearn(folder: Path) -> dict[str, object]:
    """Usual models as they are without a word, and the files that are made of them."""
    import pandas as pd
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(1)
    frame = pd.DataFrame(rng.normal(size=(20_000, FEATURES)), columns=[f"f{i}" for i in range(FEATURES)])
    truth = (frame.f0 + frame.f1 * frame.f2 > 0).astype(int)
    fitted = {
        "linear": make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, truth),
        # It stops early where the rows are many, after fewer trees.
        "boosting": HistGradientBoostingClassifier(early_stopping=False, random_state=0).fit(frame, truth),
        "forest": RandomForestClassifier(random_state=0).fit(frame, truth),
    }
    for name, one in fitted.items():
        converter.convert(one, target="onnx", sample=frame.head(500), name=name).save(folder / f"{name}.onnx")
    return fitted


def spark_lines(rows: int, rounds: int, place: Path, shares: list[float]) -> list[str]:
    """In an environment with MLflow, Spark and Java: see `on_spark.py`."""
    (wheel,) = (Path(__file__).parents[3] / "dist").glob("*.whl")
    asked = ("mlflow==3.17.2", "pyspark==4.3.0", "lightgbm==4.7.0", f"{wheel}[score]")
    bins = peers.environment(peers.CACHE, "score-on-spark", *asked)
    subprocess.run([bins / "pip", "install", "--quiet", "--force-reinstall", "--no-deps", wheel], check=True)
    archive(place / "archive", rows)
    for name, fitted in {"trees": model(place)[1], **of_sklearn(place)}.items():
        (place / f"{name}.pickle").write_bytes(pickle.dumps(fitted))
    script = Path(__file__).with_name("on_spark.py")
    shares.append(busy())
    done = subprocess.run(
        [bins / "python", script, place, str(rounds), *ON_SPARK], check=True, capture_output=True, text=True,
        env={**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": str(bins / "python")},
    )  # fmt: skip
    shares.append(busy())
    found: list[str] = []
    rates: dict[tuple[str, str], float] = {}
    for name, way, *seconds in (line.split() for line in done.stdout.splitlines()):
        rates[name, way] = rate = rows / statistics.median(map(float, seconds))
        found.append(f"| {ON_SPARK[name]} | {WAYS[way]} | {rate:,.0f} | {rate / rates[name, 'mlflow']:.2f} |")
    return found


def main() -> None:
    """Parses the options."""
    parser = argparse.ArgumentParser(prog="score", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--pictures", type=int, default=800)
    parser.add_argument("--rounds", type=int, default=5, help="of --spark three are enough")
    parser.add_argument("--spark", action="store_true", help="alone, beside MLflow in a local Spark: installs 1 GB")
    parser.add_argument("--quick", action="store_true", help="a hundredth of everything: to see that it works")
    parser.add_argument("--write", type=Path, metavar="README.md", help="puts the table between its marks")
    options = parser.parse_args()
    shares: list[float] = []
    with tempfile.TemporaryDirectory(prefix="edge-run-bench-") as place:
        rows, count, rounds = options.rows, options.pictures, options.rounds
        if options.quick:
            rows, count, rounds = rows // 100, count // 100, 1
        if options.spark:
            head = f"| {rows:,} rows in a warm local[1] | | rows a second of processor | to MLflow's |\n|-|-|-:|-:|"
            parts, name = [head, *spark_lines(rows, rounds, Path(place), shares)], "score-spark"
        else:
            head = (
                f"| {rows:,} rows x {FEATURES} features | rows a second of processor | `edge-score` to it |\n|-|-:|-:|"
            )
            second = (
                f"| {count:,} pictures of 640 x 480 | pictures a second of processor | `edge-score` to it |\n|-|-:|-:|"
            )
            table = lines(rows, rounds, Path(place), shares)
            parts, name = [head, *table, "", second, *picture_lines(count, rounds, Path(place), shares)], "score"
    text = "\n".join([*parts, "", description(shares)])
    print(text)
    if options.write is not None:
        write_between(options.write, f"<!-- {name}: begin -->", f"<!-- {name}: end -->", text)


if __name__ == "__main__":
    main()
