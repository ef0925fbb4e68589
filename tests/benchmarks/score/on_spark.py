"""One archive through one local Spark: `edge-score`, `edge.score.spark_udf` and MLflow's of the source, turn about.

`on_spark.py FOLDER ROUNDS MODEL...`, where FOLDER holds `archive/` and of each model `MODEL.onnx` and `MODEL.pickle`.
Prints a line for each model and way: their names, and the seconds of processor of each round, of Spark's own process
and its workers together. Both functions write to Spark's sink `noop`, so that every row is made and none is kept;
`edge-score` writes its Parquet.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import mlflow
from pyspark.sql import DataFrame, SparkSession

import edge.score
from edge.cli import score


def used(pid: int) -> float:
    """Seconds of processor of a process, of what it has waited for and of its children."""
    ticks = [int(n) for n in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]]
    children = [int(c) for task in Path(f"/proc/{pid}/task").iterdir() for c in (task / "children").read_text().split()]
    return sum(ticks) / os.sysconf("SC_CLK_TCK") + sum(used(child) for child in children)


def command(*typed: str) -> None:
    """`edge-score` in this process, and so in the Spark that is there."""
    with contextlib.redirect_stdout(io.StringIO()):
        if score.run(typed) != 0:
            raise SystemExit(f"edge-score {typed} failed")


def ways(spark: SparkSession, archive: str, folder: Path, name: str) -> dict[str, Callable[[int], None]]:
    rows = spark.read.parquet(archive)
    scores = edge.score.spark_udf(spark, folder / f"{name}.onnx", columns="id bigint")
    fitted = pickle.loads((folder / f"{name}.pickle").read_bytes())
    features = [column for column in rows.columns if column != "id"]
    place = f"{folder}/{name}-{Path(archive).stem}.source"
    if hasattr(fitted, "booster_"):
        mlflow.lightgbm.save_model(fitted.booster_, place)
    else:  # without a signature its function gives scikit-learn columns 0, 1, ..., which a fit with names refuses
        signature = mlflow.models.infer_signature(rows.select(features).limit(5).toPandas())
        mlflow.sklearn.save_model(fitted, place, signature=signature, serialization_format="cloudpickle")
    source = mlflow.pyfunc.spark_udf(spark, place, result_type="double", env_manager="local")

    def keep_none(frame: DataFrame) -> None:
        frame.write.format("noop").mode("overwrite").save()

    out = f"{folder}/scored-{name}-{Path(archive).stem}-"
    return {
        "mlflow": lambda _: keep_none(rows.select("id", source(*features).alias("score"))),
        "spark_udf": lambda _: keep_none(rows.mapInArrow(scores, scores.schema)),
        "edge-score": lambda n: command(
            str(folder / f"{name}.onnx"), archive, "-o", f"{out}{n}", "--columns", "id", "--engine", "spark"
        ),
    }


def main(place: str, rounds: str, *models: str) -> None:
    builder = SparkSession.builder.master("local[1]").config("spark.driver.host", "127.0.0.1")
    spark = builder.config("spark.ui.enabled", "false").config("spark.log.level", "ERROR").getOrCreate()
    folder = Path(place)
    for model in models:
        # In the first Spark loads its classes, and its workers import: one file of the archive is enough for that.
        for way in ways(spark, f"{folder}/archive/0.parquet", folder, model).values():
            way(0)
        contenders = ways(spark, f"{folder}/archive", folder, model)
        took: dict[str, list[float]] = {}
        for n in range(int(rounds)):
            for name, way in contenders.items():
                before = used(os.getpid())
                way(n)
                took.setdefault(name, []).append(used(os.getpid()) - before)
        for name, seconds in took.items():
            print(model, name, *(f"{s:.2f}" for s in seconds), flush=True)
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
