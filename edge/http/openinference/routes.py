"""Routes of the Open Inference Protocol v2, with Triton's extensions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.routing import BaseRoute

from edge.data import codec
from edge.errors import SampleError
from edge.http import schemas
from edge.http.catalog import Catalog
from edge.http.http_types import Gone, Refusal, Response, as_json
from edge.http.openinference.batching import Batcher
from edge.http.openinference.metadata import Models
from edge.http.openinference.protocol import Inference
from edge.http.openinference.sequenced import SequencedInference
from edge.http.openinference.statistics import InferenceStatistics
from edge.http.routes import body_of, describes, get, post, request_gone
from edge.http.scheduling import Admission

MODEL = "/v2/models/{model}"
VERSION = "/versions/{version}"


class Infer:
    """The hot route `infer`; requests run together where there is a `batcher`."""

    def __init__(
        self,
        inference: Inference | SequencedInference,
        admission: Admission,
        statistics: InferenceStatistics,
        batcher: Batcher | None,
    ) -> None:
        self.inference = inference
        self._admission = admission
        self._statistics = statistics
        self._batcher = batcher

    def at_once(self, body: bytes, headers: Mapping[bytes, bytes]) -> Response | None:
        """As `HotHandler`'s."""
        if self._batcher is not None:
            return None
        arrived_ns = time.perf_counter_ns()
        try:
            return self._admission.at_once(partial(self.inference.answer, body, headers, arrived_ns), len(body))
        except SampleError:
            self._statistics.failed()
            raise

    async def later(self, body: bytes, headers: Mapping[bytes, bytes], gone: Gone) -> Response:
        """As `HotHandler`'s."""
        arrived_ns = time.perf_counter_ns()
        try:
            if self._batcher is not None:
                return await self._batcher.answer(body, headers, arrived_ns)
            work = partial(self.inference.answer, body, headers, arrived_ns)
            return await self._admission.run(work, len(body), gone)
        except SampleError:
            self._statistics.failed()
            raise


class OpenInference:
    """The endpoints of the protocol."""

    def __init__(self, models: Models, catalog: Catalog, infer: Infer) -> None:
        self._models = models
        self._catalog = catalog
        self._infer = infer

    def routes(self) -> list[BaseRoute]:
        """All of them."""
        of_model = [
            get(base + suffix, endpoint)
            for suffix, endpoint in (
                ("", self.metadata), ("/ready", self.ready), ("/config", self.config), ("/stats", self.stats)
            )
            for base in (MODEL, MODEL + VERSION)
        ]  # fmt: skip
        return [
            post(f"{MODEL}/infer", self.infer),
            post(f"{MODEL}{VERSION}/infer", self.infer),
            get("/v2", self.server),
            get("/v2/", self.server, listed=False),
            get("/v2/health/live", self.live),
            get("/v2/health/ready", self.server_ready),
            get("/v2/models/stats", self.all_stats),
            *of_model,
            post("/v2/repository/index", self.index),
            post("/v2/repository/models/{model}/load", self.load),
            post("/v2/repository/models/{model}/unload", self.unload),
        ]

    def hot(self) -> Mapping[tuple[str, str], Infer]:
        """By method and path."""
        model = f"/v2/models/{self._models.name}"
        return {
            ("POST", f"{model}/infer"): self._infer,
            ("POST", f"{model}/versions/{self._models.version}/infer"): self._infer,
        }

    def _of_model(self, request: Request, value: Callable[[], Any]) -> Response:
        self._models.check(request.path_params["model"], request.path_params.get("version"))
        return as_json(value())

    @describes(body=schemas.INFER, answer=schemas.INFERRED)
    async def infer(self, request: Request) -> Response:
        """Infer with tensors."""
        self._models.check(request.path_params["model"], request.path_params.get("version"))
        body, headers = await body_of(request)
        return await self._infer.later(body, headers, request_gone(request))

    async def server(self, request: Request) -> Response:
        """Server metadata."""
        return as_json(self._models.server())

    async def live(self, request: Request) -> Response:
        """Whether the server lives."""
        return as_json({"live": True})

    async def server_ready(self, request: Request) -> Response:
        """Whether the model can be asked."""
        return as_json({"live": True, "ready": True})

    async def metadata(self, request: Request) -> Response:
        """The model's tensors."""
        return self._of_model(request, self._models.metadata)

    async def ready(self, request: Request) -> Response:
        """Whether the model can be asked."""
        return self._of_model(request, lambda: {"name": self._models.name, "ready": True})

    async def config(self, request: Request) -> Response:
        """The model's configuration, in Triton's words."""
        return self._of_model(request, self._models.configuration)

    async def stats(self, request: Request) -> Response:
        """The model's statistics."""
        return self._of_model(request, self._own_stats)

    async def all_stats(self, request: Request) -> Response:
        """Statistics of all models."""
        return as_json(self._catalog.statistics())

    def _own_stats(self) -> Mapping[str, Any]:
        every = self._catalog.statistics()["model_stats"]
        return {"model_stats": [one for one in every if one["name"] == self._models.name]}

    @describes(body=schemas.ANY, answer=schemas.ARRAY)
    async def index(self, request: Request) -> Response:
        """The models that there are."""
        return as_json(self._models.repository())

    @describes(body=schemas.ANY)
    async def load(self, request: Request) -> Response:
        """Whether the model is loaded.

        Models are those that the process was started with, which an update may change: to load one of them is
        nothing to do, to load it otherwise or to load another is refused.
        """
        changed = bool(_json_object(await request.body()).get("parameters"))
        self._models.load(request.path_params["model"], changed=changed)
        return as_json({})

    async def unload(self, request: Request) -> Response:
        """Refused: the model is unloaded when the process ends."""
        self._models.unload(request.path_params["model"])
        return as_json({})


def _json_object(body: bytes) -> Mapping[str, Any]:
    value = codec.decode_json(body) if body.strip() else {}
    if not isinstance(value, dict):
        raise Refusal(400, "a JSON object belongs there")
    return value
