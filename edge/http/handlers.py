"""All handlers of the server, put together once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from edge.engines import stateful
from edge.http import memory
from edge.http.asgi import Endpoints, framework
from edge.http.catalog import Catalog
from edge.http.compat.invocations import Invocations
from edge.http.compat.tensorflow import TensorFlowServing
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
from edge.http.scheduling import Admission, AdmissionOptions
from edge.http.several import Choice
from edge.http.state import State
from edge.pipeline.neighbours import may_join
from edge.plugins.protocols import Engine


class Handlers:
    """Those of one model; handlers are called by the event loop."""

    def __init__(
        self, served: Served, options: ServerOptions, catalog: Catalog, before: Handlers | None = None
    ) -> None:
        """`before`: those of the model that ran until now. What belongs to the run, not to its model, goes on: its name
        for clients of the page, the queue and the workers."""
        workers = 1 if served.stateful else max(options.workers, served.instances)
        metrics = served.metrics
        self.served = served
        self.key: str = before.key if before else served.manifest.name
        self.admission: Admission = before.admission if before else _admission(served, options, workers, catalog)
        statistics = InferenceStatistics(metrics, served.clock)
        batches = options.max_batch > 1 and may_join(served.engine) and not (served.states or served.remembers)
        models = Models(served, options.max_batch if batches else 1, catalog)

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
        pool = PipelinePool(served, workers, partial(catalog.live.show, self.key))
        self.models, self.statistics = models, statistics
        self.name, self.version = models.name, models.version
        self.infer = Infer(answers, self.admission, statistics, batcher)
        open_inference = OpenInference(models, catalog, self.infer)
        predict = Predict(pool, self.admission)
        state = State(served, catalog, self.key, options.share, takes_pictures=pool.takes_pictures)
        process = Process(catalog.live, self.key, state, Exposition(catalog), self.admission)
        routes = [
            *predict.routes(),
            *open_inference.routes(),
            *TensorFlowServing(served, models, inference, pool, self.admission).routes(),
            *Invocations(served, inference, pool, self.admission).routes(),
        ]
        self.framework = framework([*routes, *process.routes(routes, served.version)])
        self.hot: Mapping[tuple[str, str], HotHandler] = {**open_inference.hot(), ("GET", "/health"): Health()}
        self.alone: Mapping[tuple[str, str], HotHandler] = {("POST", "/predict"): predict}
        """Hot routes of the only model."""
        self.pages: Mapping[str, Page] = process.pages

    def model_statistics(self) -> Mapping[str, Any]:
        """As `Entry`'s."""
        return self.statistics.statistics(self.name, self.version)

    def close(self) -> None:
        """After the last request."""
        self.admission.close()


def endpoints(every: Sequence[Handlers], catalog: Catalog) -> Endpoints:
    """All that is answered, as the application takes it."""
    hot = {key: handler for one in every for key, handler in one.hot.items()}
    if not catalog.several:
        hot |= every[0].alone
    choice = Choice({one.name: one.framework for one in every}, catalog)
    return Endpoints(hot, choice, every[0].pages)


def _admission(served: Served, options: ServerOptions, workers: int, catalog: Catalog) -> Admission:
    said = AdmissionOptions(workers, options.queue, inline=not served.stateful, lowers_priority=bool(served.source))
    return Admission(said, catalog.budget, served.metrics)
