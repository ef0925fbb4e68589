"""One archive through one local Spark by `edge.score.spark_udf` and by MLflow's of the source model, turn about.

`on_spark.py FOLDER ROUNDS`, where FOLDER holds `archive/`, `trees.onnx` and `trees.txt`, the booster as
LightGBM saves it. Prints a line for each way: its name, and the seconds of processor of each round, of Spark's own
process and its workers together. Both write to Spark's sink `noop`, so that every row is made and none is kept.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import lightgbm
import mlflow
from pyspark.sql import SparkSession

import edge.score


def used(pid: int) -> float:
    """Seconds of processor of a process, of what it has waited for and of its children."""
    ticks = [int(n) for n in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]]
    children = [int(c) for task in Path(f"/proc/{pid}/task").iterdir() for c in (task / "children").read_text().split()]
    return sum(ticks) / os.sysconf("SC_CLK_TCK") + sum(used(child) for child in children)


def main(folder: str, rounds: str) -> None:
    builder = SparkSession.builder.master("local[1]").config("spark.driver.host", "127.0.0.1")
    spark = builder.config("spark.ui.enabled", "false").config("spark.log.level", "ERROR").getOrCreate()
    rows = spark.read.parquet(f"{folder}/archive")
    scores = edge.score.spark_udf(spark, f"{folder}/trees.onnx", columns="id bigint")
    mlflow.lightgbm.save_model(lightgbm.Booster(model_file=f"{folder}/trees.txt"), f"{folder}/source")
    source = mlflow.pyfunc.spark_udf(spark, f"{folder}/source", result_type="double", env_manager="local")
    features = [name for name in rows.columns if name != "id"]
    ways = {
        "edge-score": lambda some: some.mapInArrow(scores, scores.schema),
        "mlflow": lambda some: some.select("id", source(*features).alias("score")),
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(1 + int(rounds)):
        for name, way in ways.items():
            before = used(os.getpid())
            way(rows).write.format("noop").mode("overwrite").save()
            took[name].append(used(os.getpid()) - before)
    for name, seconds in took.items():
        print(name, *(f"{s:.2f}" for s in seconds[1:]))  # in the first Spark loads its classes, and its workers import
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
