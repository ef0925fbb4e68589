"""Results a second against the time of the model: what is not inference weighs less and less."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
from flow import models
from flow.contest import Stage
from onnx import TensorProto, helper
from support import onnxmodels

from edge.model.manifest import Feature, Input, Manifest, Output
from scale.plot import Panel, Plot, Series
from scale.quiet import Quiet

STEPS = {"10 us": 1e-5, "100 us": 1e-4, "1 ms": 1e-3, "10 ms": 1e-2, "100 ms": 1e-1}
FEATURES, CLASSES = 64, 10
SIZES = {1e-5: 8, 1e-4: 32, 1e-3: 64, 1e-2: 128, 1.0: 256}
"""Of the matrices, for models up to so many seconds: small enough for a processor's cache."""

ROUNDS = 3
FITTING_S = 0.3
OVERHEAD_S = 1.2e-4
"""About what edge-run needs for a result beside the model, to choose how many there are."""


def chain(path: Path, size: int, steps: int) -> Path:
    """64 numbers in, 10 scores out, `steps` products of two matrices of `size` x `size` between them."""
    rng = np.random.default_rng(13)

    def weights(name: str, *shape: int) -> helper.TensorProto:
        values = (rng.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32)
        return helper.make_tensor(name, TensorProto.FLOAT, shape, values.ravel())

    given = [weights("first", FEATURES, size), weights("again", size, size), weights("last", size, CLASSES)]
    nodes = [helper.make_node("MatMul", ["x", "first"], ["row"])]
    nodes.append(helper.make_node("Transpose", ["row"], ["column"], perm=[1, 0]))
    nodes.append(helper.make_node("MatMul", ["column", "row"], ["m0"]))
    for number in range(steps):
        nodes.append(helper.make_node("MatMul", [f"m{number}", "again"], [f"p{number}"]))
        nodes.append(helper.make_node("Softsign", [f"p{number}"], [f"m{number + 1}"]))
    nodes.append(helper.make_node("ReduceMean", [f"m{steps}"], ["mean"], axes=[0], keepdims=1))
    nodes.append(helper.make_node("MatMul", ["mean", "last"], ["z"]))
    nodes.append(helper.make_node("Softmax", ["z"], ["scores"], axis=1))
    scores = [onnxmodels.info("scores", "float32", (1, CLASSES))]
    onnxmodels.save(path, nodes, [onnxmodels.info("x", "float32", (1, FEATURES))], scores, initializer=given)
    features = tuple(Feature(name=f"f{n}") for n in range(FEATURES))
    part = Input(name="x", kind="table", shape=(1, FEATURES), features=features)
    return models.describe(
        path, Manifest(name=path.stem, task="classify", inputs=(part,), outputs=(Output(name="scores"),))
    )


def fitted(folder: Path, wanted_s: float) -> Path:
    """A chain that takes so long here, by two shorter ones."""
    path = folder / f"chain{wanted_s * 1e6:.0f}us.onnx"
    size = next(size for most, size in SIZES.items() if wanted_s <= most)
    short, long = (_seconds(chain(path, size, steps)) for steps in (1, 11))
    each = (long - short) / 10
    return chain(path, size, max(1, round((wanted_s - short) / each) + 1))


def _seconds(path: Path) -> float:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {"x": np.ones((1, FEATURES), np.float32)}
    found, until = [], time.perf_counter() + FITTING_S
    while (began := time.perf_counter()) < until:
        session.run(None, feed)
        found.append(time.perf_counter() - began)
    return min(found)  # what else the machine does would make the model too short


def measure(folder: Path, port: int, few: int, quiet: Quiet) -> Plot:
    """Three contenders for each model, turn about, medians of three; `few`: so many times shorter."""
    found: dict[str, list[float]] = {"edge-run": [], "tutorial": [], "session.run alone": []}
    for wanted_s in STEPS.values():
        stage = Stage(port, fitted(folder, wanted_s))
        stage.edge_run("rows@0x5")  # a file that was never seen is tried in a child process first
        rounds = [_round(stage, wanted_s, few, quiet) for _ in range(ROUNDS)]
        for name in found:
            found[name].append(statistics.median(rates[name] for rates in rounds))
    *loops, most = found.items()
    shares = [Series(name, tuple(100 * r / b for r, b in zip(rates, most[1], strict=True))) for name, rates in loops]
    panels = (
        Panel("Results a second", tuple(Series(n, tuple(v)) for n, v in found.items()), log=True),
        Panel("% of session.run alone", tuple(shares)),
    )
    return Plot("model-time", "time of the model", tuple(STEPS), panels)


def _round(stage: Stage, wanted_s: float, few: int, quiet: Quiet) -> dict[str, float]:
    """Results a second of each, in about a second and a half."""
    quiet()
    count = max(10, int(1.5 / few / (wanted_s + OVERHEAD_S)))
    return {
        "edge-run": stage.edge_run(f"rows@0x{count}").per_s,
        "tutorial": stage.tutorial(f"rows@0x{max(10, count // 2)}").per_s,
        "session.run alone": stage.bare(0.7 / few).per_s,
    }
