"""Everything behind the routes: the handlers, the queue before them, and what the live page is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from edge.errors import SampleError
from edge.http import compat, events
from edge.http.http_types import Bodies, Request, Response
from edge.http.metrics import Exposition
from edge.http.openinference.batching import Batcher, can_batch
from edge.http.openinference.metadata import Models
from edge.http.openinference.protocol import Inference
from edge.http.openinference.statistics import Tally
from edge.http.options import Served, ServerOptions
from edge.http.pages import Page
from edge.http.pipeline_pool import Asker
from edge.http.predict import Predict
from edge.http.scheduling import Runs, RunsOptions, Share
from edge.model import golden
from edge.telemetry import board

T = TypeVar("T")
ROW_MOST = 4096


class Site:
    """One for the process; handlers are called by the event loop."""

    def __init__(self, served: Served, options: ServerOptions) -> None:
        self._served = served
        self._options = options
        self.version = served.version
        workers = 1 if served.stateful else options.workers
        metrics = served.metrics
        share = Share(options.share, served.clock, metrics)
        metrics.set("http_share", options.share)
        self.live = events.Live(served.clock, share)
        runs = RunsOptions(workers, options.queue, inline=not served.stateful, gives_way=bool(served.source))
        self.runs = Runs(runs, share, metrics)
        self.tally = Tally(metrics, served.clock)
        batches = options.max_batch > 1 and can_batch(served.engine)
        self.models = Models(served, options.max_batch if batches else 1)
        self.bodies = Bodies(options.max_body)
        self.exposition = Exposition(served)
        self.pages = {"/": Page("live", "results.js", "try.js"), "/docs": Page("docs")}
        self._inference = Inference(
            served.engine, self.models.name, self.models.version, served.manifest.labels, self.tally
        )
        self._batcher = (
            Batcher(self._inference, self.runs, options.max_batch, options.max_wait_ms / 1e3) if batches else None
        )
        self._asker = Asker(served, workers, self.live.show)
        self.predict = Predict(self._asker, self.runs)
        self._tensorflow = compat.TensorFlowServing(served, self._inference, self._asker)
        self._invocations = compat.Invocations(self._asker)
        self._aside = ThreadPoolExecutor(1, thread_name_prefix="http-aside")

    # --- handlers -----------------------------------------------------------------------------------

    async def infer(self, request: Request) -> Response:
        """Open Inference Protocol, `infer`."""
        arrived_ns = time.perf_counter_ns()
        body = await request.body()
        try:
            if self._batcher is not None:
                return await self._batcher.answer(body, request.headers, arrived_ns)
            work = lambda: self._inference.answer(body, request.headers, arrived_ns)  # noqa: E731
            return await self.runs.run(work, len(body), request.gone)
        except SampleError:
            self.tally.failed()
            raise

    def infer_at_once(self, body: bytes, headers: Mapping[bytes, bytes]) -> Response | None:
        """As `infer`, for a small request that is whole; None where it has to wait. Raises SampleError."""
        if self._batcher is not None:
            return None
        arrived_ns = time.perf_counter_ns()
        try:
            return self.runs.at_once(lambda: self._inference.answer(body, headers, arrived_ns), len(body))
        except SampleError:
            self.tally.failed()
            raise

    def predict_at_once(self, body: bytes, headers: Mapping[bytes, bytes]) -> Response | None:
        """As `predict` without a query, for a small request that is whole. Raises SampleError."""
        kind = headers.get(b"content-type", b"").decode("latin-1")
        return self.runs.at_once(lambda: self.predict.answer(body, kind, picture=False), len(body))

    async def serve(self, request: Request) -> Response:
        """TensorFlow Serving's `:predict`."""
        return await self._counted(request, self._tensorflow.answer)

    async def invoke(self, request: Request) -> Response:
        """MLflow's and SageMaker's `/invocations`."""
        kind = request.header(b"content-type")
        return await self._counted(request, lambda body: self._invocations.answer(body, kind))

    async def _counted(self, request: Request, answer: Callable[[bytes], Response]) -> Response:
        body = await request.body()
        return await self.runs.run(lambda: answer(body), len(body), request.gone)

    async def aside(self, work: Callable[[], T]) -> T:
        """What may take some milliseconds, and is none of the model's work."""
        return await asyncio.get_running_loop().run_in_executor(self._aside, work)

    def close(self) -> None:
        """After the last request."""
        self.runs.close()
        self._aside.shutdown(wait=True, cancel_futures=True)

    # --- the live page ------------------------------------------------------------------------------

    def state(self) -> Mapping[str, Any]:
        """Everything but the results."""
        served = self._served
        manifest = served.manifest
        newest = self.live.newest()
        bits = served.throttled()
        counted = served.metrics.snapshot()
        return {
            "info": served.info(),
            "stats": served.stats(),
            "manifest": {
                "description": manifest.description,
                "license": manifest.license,
                "labels": manifest.labels[:20],
                "inputs": [_input(i) for i in manifest.inputs if i.kind != "constant"],
                "provenance": manifest.provenance,
                "parity": manifest.parity,
            },
            "http": {
                "inferences": int(counted.get("http_inferences", 0)),
                "failed": int(counted.get("http_failed", 0)),
                "rejected": int(counted.get("http_rejected", 0)),
                "waiting": int(counted.get("http_waiting", 0)),
                "cpu_s": round(counted.get("http_cpu_s", 0), 3),
                "share": self._options.share,
            },
            "board": {
                "temperature_c": served.temperature(),
                "problems": board.problems(bits) if bits else [],
            },
            "source": served.source,
            "source_up": bool(counted.get("source_up", 0)),
            "newest": events.describe(newest[0]) if newest else None,
            "example": self._example(),
        }

    def _example(self) -> Any:
        """A row to try, from the model's golden samples; None where a picture belongs or nothing is known."""
        manifest = self._served.manifest
        if self._asker.takes_pictures or not manifest.golden:
            return None
        try:
            found = [_shortest(golden.unpack(t)) for t in manifest.golden[0].inputs.values()]
        except ValueError:
            return None
        row: list[Any] = found[0] if len(found) == 1 else [v[0] for v in found]
        names = [f.name for f in manifest.features]
        if all(names) and names and len(names) == len(row):
            return dict(zip(names, row, strict=True))
        return row if len(row) <= ROW_MOST else None


def _shortest(values: Any) -> list[Any]:
    """As a person would write them: 5.1, not 5.099999904632568, which is the same in float32."""
    flat = values.ravel()
    return [float(str(v)) for v in flat] if flat.dtype.kind == "f" else list(flat.tolist())


def _input(part: Any) -> Mapping[str, Any]:
    said = {"name": part.name, "kind": part.kind, "dtype": part.dtype, "shape": part.shape}
    if part.size:
        said["size"] = part.size
    if part.features:
        said["features"] = [f.name for f in part.features if f.name][:200]
    return said
