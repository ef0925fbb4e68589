"""The limit: `session.run` and nothing else, on an input that was made before. `bare.py MODEL SECONDS`."""

from __future__ import annotations

import json
import statistics
import sys
import time

import numpy as np
import onnxruntime as ort


def main(path: str, seconds: str) -> None:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    one = session.get_inputs()[0]
    shape = [d if isinstance(d, int) else 1 for d in one.shape]
    feed = {one.name: np.random.default_rng(1).random(shape, dtype=np.float32)}
    for _ in range(20):
        session.run(names, feed)
    spent = []
    began, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < float(seconds):
        started = time.perf_counter()
        session.run(names, feed)
        spent.append(time.perf_counter() - started)
    passed, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(json.dumps({
        "per_s": len(spent) / passed, "cpu_ms": cpu / len(spent) * 1e3, "median_ms": statistics.median(spent) * 1e3,
    }))  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
