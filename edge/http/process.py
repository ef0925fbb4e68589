"""Routes of the process itself: health, metrics, the live page and what it reads, the OpenAPI document."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import BaseRoute

from edge.http import schemas
from edge.http.events import Live, pair, picture, results_header
from edge.http.http_types import Gone, Refusal, Response, as_json
from edge.http.metrics import Exposition
from edge.http.pages import Page
from edge.http.routes import describes, get
from edge.http.scheduling import Admission
from edge.http.state import State


class Process:
    """The endpoints. `routes` has to be asked after all others: the document lists what it is given."""

    def __init__(self, live: Live, key: str, state: State, exposition: Exposition, admission: Admission) -> None:
        """`key`: of the run whose samples are shown."""
        self._live = live
        self._key = key
        self._state = state
        self._exposition = exposition
        self._admission = admission
        self.pages = {
            "/": Page("live", "results.js", "zones.js", "try.js", "share.js", "drift.js"),
            "/docs": Page("docs"),
        }

    def routes(self, others: list[BaseRoute], version: str) -> list[BaseRoute]:
        """`others` are those of the document beside these."""
        own: list[BaseRoute] = [
            get("/health", self.health),
            get("/metrics", self.metrics),
            get("/events", self.events),
            get("/live/state", self.live_state),
            get("/live/sample", self.live_sample),
            get("/live/picture", self.live_picture),
            get("/live/drift", self.live_drift),
            get("/live/trial", self.live_trial),
        ]
        shown = [get(path, _shows(page), listed=False) for path, page in self.pages.items()]
        return [*own, *shown, get("/openapi.json", self._document([*others, *own], version), listed=False)]

    async def health(self, request: Request) -> Response:
        """Whether the process lives; needs no token."""
        return HEALTHY

    @describes(answer=schemas.METRICS)
    async def metrics(self, request: Request) -> Response:
        """Everything counted, for Prometheus."""
        accept = request.headers.get("accept", "")
        text, kind = await self._admission.aside(lambda: self._exposition.text(accept))
        return Response(text, kind=kind.encode())

    @describes(answer=schemas.EVENTS, query={"model": "of this one alone, where there are several"})
    async def events(self, request: Request) -> StreamingResponse:
        """Results as they come, as server-sent events."""
        key = self._key if "model" in request.query_params else None
        client = self._live.join(key, request.client.host if request.client is not None else "")
        return StreamingResponse(self._live.events(client), headers={"content-type": "text/event-stream"})

    async def live_state(self, request: Request) -> Response:
        """What the live page shows."""
        return as_json(await self._admission.aside(self._state.told))

    async def live_sample(self, request: Request) -> Response:
        """The newest sample, where it is no picture, and its result."""
        return await self._admission.aside(lambda: as_json(pair(self._live.newest(self._key))))

    @describes(answer=schemas.PICTURE)
    async def live_picture(self, request: Request) -> Response:
        """The newest picture."""
        return await self._admission.aside(self._newest_picture)

    async def live_drift(self, request: Request) -> Response:
        """What is known of drift, with the shares of each feature then and now."""
        return await self._admission.aside(lambda: as_json(self._state.drift()))

    async def live_trial(self, request: Request) -> Response:
        """How the model on trial differs from the one that runs, and the verdict."""
        return await self._admission.aside(lambda: as_json(self._state.trial()))

    def _newest_picture(self) -> Response:
        newest = self._live.newest(self._key)
        if newest is None:
            raise Refusal(404, "no sample came yet")
        data, kind = picture(newest[0])
        return Response(data, kind=kind.encode(), headers=((b"edge-result", results_header(newest[1]).encode()),))

    def _document(self, routes: list[BaseRoute], version: str) -> Callable[[Request], Awaitable[Response]]:
        responses: list[Response] = []

        def make() -> Response:
            from edge.http import openapi  # for those who ask

            return as_json(openapi.document(routes, version))

        async def document(request: Request) -> Response:
            if not responses:
                responses.append(await self._admission.aside(make))
            return responses[0]

        return document


HEALTHY = as_json({"status": "ok"})


class Health:
    """`/health` as a hot route: answered whatever else there is to do."""

    def at_once(self, body: bytes, headers: Mapping[bytes, bytes]) -> Response | None:
        """As `HotHandler`'s."""
        return HEALTHY

    async def later(self, body: bytes, headers: Mapping[bytes, bytes], gone: Gone) -> Response:
        """As `HotHandler`'s."""
        return HEALTHY


def _shows(page: Page) -> Callable[[Request], Awaitable[Any]]:
    async def show(request: Request) -> Response:
        return page.response()

    return show
