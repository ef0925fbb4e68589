"""The child process: loads one model in one way, times it and answers in one line of JSON on stdout.

`python -m edge.tools.bench.child REQUEST`, where REQUEST is the JSON of `figures.Request`.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from array import array
from pathlib import Path

import msgspec
import numpy as np

from edge.app import assembly, loading
from edge.app.loading import Loaded
from edge.data.tensor import Tensors
from edge.data.units import SECOND_NS
from edge.describe import describe  # noqa: F401 - else what reads unknown files is imported while one loads
from edge.engines import choose
from edge.errors import FatalError, ModelError, SampleError
from edge.pipeline.pipeline import Pipeline
from edge.plugins.protocols import EngineOptions
from edge.settings.settings import Settings
from edge.sources.synthetic import SyntheticSource
from edge.telemetry.clock import SystemClock
from edge.tools.bench.figures import Answer, Request, Round, Subject

WARM_SHARE = 0.1
WINDOW_MOST = 4096
"""So many samples fill the longest window."""
PASSES = ("int8", "dynamic", "fp16")


def main() -> None:
    """Answers and ends with 0, whatever the answer is."""
    request = msgspec.json.decode(sys.argv[1], type=Request)
    try:
        answer = _answer(request)
    except FatalError as exc:
        answer = Answer(error=str(exc), code=exc.exit_code)
    # After a line end: what a library has printed stays a line of its own.
    os.write(1, b"\n" + msgspec.json.encode(answer) + b"\n")


def _answer(request: Request) -> Answer:
    case, path = request.case, Path(request.case.path)
    # The engine's library is loaded first: its import is the process's, not the model's.
    choose.find(path)[1].library().version()
    started = time.perf_counter_ns()
    # This process is the child in which a file may kill its engine: no other one is needed.
    loaded = loading.load_file(path, EngineOptions(case.threads, case.provider, own_file=True))
    load_ms = (time.perf_counter_ns() - started) / 1e6
    pipeline = assembly.make_pipeline(loaded, "bench")
    try:
        tensors = _tensors(loaded, pipeline)
        if request.seconds is None:
            pipeline.infer(tensors)
            return Answer(subject=_subject(loaded))
        return Answer(round=_time(pipeline, tensors, request.seconds, load_ms))
    except SampleError as exc:
        raise ModelError(f"{case.model}: a made-up input does not fit it: {exc}; it cannot be measured") from exc


def _tensors(loaded: Loaded, pipeline: Pipeline) -> Tensors:
    source = SyntheticSource(None, assembly.source_context(loaded, SystemClock(), Settings()))
    for _ in range(WINDOW_MOST):
        sample = source.read(0)
        assert sample is not None
        for prepared in pipeline.prepare([sample])[0].parts:
            if prepared.reason is None:
                return prepared.tensors
            if prepared.reason:
                raise SampleError(prepared.reason)
    raise SampleError(f"{WINDOW_MOST} samples do not fill its window")


def _subject(loaded: Loaded) -> Subject:
    engine, provenance = loaded.engine, loaded.manifest.provenance
    passes = provenance.passes if provenance is not None else ()
    return Subject(
        name=loaded.path.name,
        sha256=loaded.sha256,
        engine=engine.name,
        version=engine.version,
        size=loaded.path.stat().st_size,
        precision=next((p for p in PASSES if p in passes), ""),
        providers=tuple(choose.find(loaded.path)[1].library().providers()),
    )


def _time(pipeline: Pipeline, tensors: Tensors, seconds: float, load_ms: float) -> Round:
    _infer_for(pipeline, tensors, seconds * WARM_SHARE)
    cpu, wall = time.process_time_ns(), time.perf_counter_ns()
    spent = _infer_for(pipeline, tensors, seconds)
    wall, cpu = time.perf_counter_ns() - wall, time.process_time_ns() - cpu
    p50, p99 = np.percentile(np.frombuffer(spent, np.int64), (50, 99)) / 1e6
    return Round(
        p50_ms=float(p50),
        p99_ms=float(p99),
        per_second=len(spent) / wall * SECOND_NS,
        cpu_ms=cpu / len(spent) / 1e6,
        memory_mb=_peak_bytes() / 1e6,
        load_ms=load_ms,
        runs=len(spent),
    )


def _infer_for(pipeline: Pipeline, tensors: Tensors, seconds: float) -> array[int]:
    """Nanoseconds of each inference; at least one."""
    spent = array("q")
    now = time.perf_counter_ns()
    end = now + int(seconds * SECOND_NS)
    while not spent or now < end:
        started = now
        pipeline.infer(tensors)
        now = time.perf_counter_ns()
        spent.append(now - started)
    return spent


def _peak_bytes() -> int:
    # Not `ru_maxrss` where there is better: it begins with what the parent had when it started this process.
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
