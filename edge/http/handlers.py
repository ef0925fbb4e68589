"""All handlers of the server, put together once."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.routing import BaseRoute

from edge.engines import stateful
from edge.http import memory
from edge.http.asgi import Endpoints
from edge.http.compat.invocations import Invocations
from edge.http.compat.tensorflow import TensorFlowServing
from edge.http.events import Live
from edge.http.http_types import HotHandler
from edge.http.metrics import Exposition
from edge.http.openinference.batching import Batcher
from edge.http.openinference.metadata import Models
from edge.http.openinference.protocol import Inference
from edge.http.openinference.routes import Infer, OpenInference
from edge.http.openinference.sequenced import SequencedInference
from edge.http.openinference.statistics import InferenceStatistics
from edge.http.options import Served, ServerOptions
from edge.http.pages import Page
from edge.http.pipeline_pool import PipelinePool
from edge.http.predict import Predict
from edge.http.process import Health, Process
from edge.http.scheduling import Admission, AdmissionOptions, CpuBudget
from edge.http.state import State
from edge.pipeline.neighbours import may_join
from edge.plugins.protocols import Engine


class Handlers:
    """Those of one model; handlers are called by the event loop."""

    def __init__(self, served: Served, options: ServerOptions, before: Handlers | None = None) -> None:
        """`before`: those of the model that ran until now. What belongs to the server, not to a model, goes on: the
        results that the page shows, the queue and the workers."""
        workers = 1 if served.stateful else options.workers
        metrics = served.metrics
        live, admission = (before.live, before.admission) if before else _server(served, options, workers)
        self.live: Live = live
        self.admission: Admission = admission
        statistics = InferenceStatistics(metrics, served.clock)
        batches = options.max_batch > 1 and may_join(served.engine) and not (served.states or served.remembers)
        models = Models(served, options.max_batch if batches else 1)

        def infers(engine: Engine) -> Inference:
            return Inference(
                engine, models.name, models.version, served.manifest.labels, statistics, served.watch_tensors
            )

        inference = infers(memory.FreshEngine(served) if served.remembers else served.engine)
        answers: Inference | SequencedInference = inference
        if served.remembers:
            answers = SequencedInference(inference, memory.refuse_sequences, served.clock)
        elif served.states:
            answers = SequencedInference(
                inference, lambda: infers(stateful.wrap(served.engine, served.manifest)), served.clock
            )
        batcher = Batcher(inference, self.admission, options.max_batch, options.max_wait_ms / 1e3) if batches else None
        pool = PipelinePool(served, workers, self.live.show)
        self.models, self.statistics = models, statistics
        self.infer = Infer(answers, self.admission, statistics, batcher)
        open_inference = OpenInference(models, statistics, self.infer)
        predict = Predict(pool, self.admission)
        state = State(served, self.live, options.share, takes_pictures=pool.takes_pictures)
        process = Process(self.live, state, Exposition(served), self.admission)
        routes = [
            *predict.routes(),
            *open_inference.routes(),
            *TensorFlowServing(served, models, inference, pool, self.admission).routes(),
            *Invocations(served, inference, pool, self.admission).routes(),
        ]
        self.routes: list[BaseRoute] = [*routes, *process.routes(routes, served.version)]
        self.hot: Mapping[tuple[str, str], HotHandler] = {
            **open_inference.hot(), ("POST", "/predict"): predict, ("GET", "/health"): Health()
        }  # fmt: skip
        self.pages: Mapping[str, Page] = process.pages

    def endpoints(self) -> Endpoints:
        """As the application takes them."""
        return Endpoints(self.hot, self.routes, self.pages)

    def close(self) -> None:
        """After the last request."""
        self.admission.close()


def _server(served: Served, options: ServerOptions, workers: int) -> tuple[Live, Admission]:
    """What is the server's, whatever model it answers with."""
    metrics = served.metrics
    budget = CpuBudget(options.share, served.clock, metrics)
    metrics.set("http_share", options.share)
    admission = AdmissionOptions(
        workers, options.queue, inline=not served.stateful, lowers_priority=bool(served.source)
    )
    return Live(served.clock, budget), Admission(admission, budget, metrics)
