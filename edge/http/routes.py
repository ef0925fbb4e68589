"""Every way into the server: method, path, handler, and what the OpenAPI document says of it.

One table serves requests and the document. FastAPI makes the document from it, and is imported when somebody asks
for that: serving with it would cost 18 MB and a third of a second at start (two on a Pi 4), and on a tiny model
its routing costs more than the inference.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge.http import schemas
from edge.http.events import pair, picture, results_header
from edge.http.handlers import Site
from edge.http.http_types import Handler, Refusal, Request, Response, as_json
from edge.http.streams import EventStream


@dataclass(frozen=True, slots=True)
class Way:
    """`path` may hold {model} and {version}; `body` and `answer` are for the document."""

    method: str
    path: str
    handler: Handler
    summary: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)
    answer: Mapping[str, Any] = field(default_factory=lambda: schemas.OBJECT)
    query: Mapping[str, str] = field(default_factory=dict)
    """Parameters of the query, with what they do."""
    hidden: bool = False


class Ways:
    """Finds the way of a request."""

    def __init__(self, ways: Sequence[Way]) -> None:
        self.all = tuple(ways)
        self._exact = {(w.method, w.path): w.handler for w in ways if "{" not in w.path}
        self._patterns = [(w.method, _pattern(w.path), w.handler) for w in ways if "{" in w.path]

    def find(self, method: str, path: str) -> tuple[Handler, Mapping[str, str]]:
        """The handler and what stood in the path's braces. Raises Refusal: 404, 405."""
        method = "GET" if method == "HEAD" else method
        exact = self._exact.get((method, path))
        if exact is not None:
            return exact, {}
        allowed = {m for m, p in self._exact if p == path}
        for wanted, pattern, handler in self._patterns:
            match = pattern.fullmatch(path)
            if match is not None:
                if wanted == method:
                    return handler, match.groupdict()
                allowed.add(wanted)
        if allowed:
            methods = ", ".join(sorted(allowed))
            raise Refusal(405, f"{method} is not for {path[:200]}: send {methods}", ((b"allow", methods.encode()),))
        raise Refusal(404, f"there is nothing at {path[:200]!r}; /docs lists what there is")


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile("".join(f"(?P<{p[1:-1]}>[^/]+?)" if p[:1] == "{" else re.escape(p) for p in _parts(path)))


def _parts(path: str) -> list[str]:
    return re.split(r"({[a-z]+})", path)


def told(value: Callable[[], Any]) -> Handler:
    """A handler that answers with a value."""

    async def handler(request: Request) -> Response:
        return as_json(value())

    return handler


def ways(site: Site) -> Iterator[Way]:
    """The whole table."""
    yield from _inference(site)
    yield from _protocol(site)
    yield from _others(site)
    yield from _process(site)


def quick_ways(site: Site) -> Mapping[str, Callable[[bytes, Mapping[bytes, bytes]], Response | None]]:
    """What may be answered at once, by path, where there is no query."""
    return {**dict.fromkeys(_own_paths(site), site.infer_at_once), "/predict": site.predict_at_once}


def _own_paths(site: Site) -> Sequence[str]:
    model = f"/v2/models/{site.models.name}"
    return (f"{model}/infer", f"{model}/versions/{site.models.version}/infer")


def _inference(site: Site) -> Iterator[Way]:
    models = site.models

    def known(handler: Callable[[Request], Awaitable[Response]]) -> Handler:
        async def checked(request: Request) -> Response:
            models.known(request.params["model"], request.params.get("version"))
            return await handler(request)

        return checked

    infer = {"summary": "Infer with tensors", "body": schemas.INFER, "answer": schemas.INFERRED}
    # The model's own paths are found without a pattern: this is the hot path.
    for path in _own_paths(site):
        yield Way("POST", path, site.infer, hidden=True)
    yield Way("POST", "/v2/models/{model}/infer", known(site.infer), **infer)  # type: ignore[arg-type]
    yield Way("POST", "/v2/models/{model}/versions/{version}/infer", known(site.infer), **infer)  # type: ignore[arg-type]
    yield Way(
        "POST",
        "/predict",
        site.predict,
        "Predict from a row, a picture or an array",
        schemas.PREDICT,
        schemas.PREDICTED,
        {"annotate": "1: answer the picture, with what the model sees drawn on it"},
    )
    yield Way(
        "POST", "/v1/models/{model}:predict", known(site.serve), "Predict, as TensorFlow Serving does", schemas.SERVING
    )
    yield Way("POST", "/invocations", site.invoke, "Predict, as MLflow and SageMaker do", schemas.INVOCATIONS)


def _protocol(site: Site) -> Iterator[Way]:
    models, tally = site.models, site.tally

    def statistics() -> Any:
        return {"model_stats": [tally.statistics(models.name, models.version)]}

    yield Way("GET", "/v2", told(models.server), "The server and its extensions")
    yield Way("GET", "/v2/", told(models.server), hidden=True)
    yield Way("GET", "/v2/health/live", told(lambda: {"live": True}), "The server lives")
    yield Way("GET", "/v2/health/ready", told(lambda: {"live": True, "ready": True}), "Every model is ready")
    yield Way("GET", "/v2/models/stats", told(statistics), "Statistics of every model")
    yield Way(
        "POST", "/v2/repository/index", told(models.repository), "The models there are", schemas.ANY, schemas.ARRAY
    )
    for verb in ("load", "unload"):
        path = f"/v2/repository/models/{{model}}/{verb}"
        yield Way("POST", path, _never, f"Refused: this server does not {verb} models", schemas.ANY)
    per_model: Sequence[tuple[str, Callable[[], Any], str]] = (
        ("", models.metadata, "The model's inputs and outputs"),
        ("/ready", lambda: {"name": models.name, "ready": True}, "The model is ready"),
        ("/config", models.configuration, "The model's configuration"),
        ("/stats", statistics, "The model's statistics"),
    )
    for suffix, value, summary in per_model:
        for path in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            yield Way("GET", path + suffix, _of_model(site, value), summary)


def _of_model(site: Site, value: Callable[[], Any]) -> Handler:
    async def handler(request: Request) -> Response:
        site.models.known(request.params["model"], request.params.get("version"))
        return as_json(value())

    return handler


async def _never(request: Request) -> Response:
    raise Refusal(400, "models are not loaded or unloaded here: start edge-run with another --model")


def _others(site: Site) -> Iterator[Way]:
    status = {"error_code": "OK", "error_message": ""}
    state = {"model_version_status": [{"version": site.models.version, "state": "AVAILABLE", "status": status}]}
    yield Way(
        "GET", "/v1/models/{model}", _of_model(site, lambda: state), "The model's state, as TensorFlow Serving tells it"
    )
    yield Way("GET", "/ping", told(dict), "The server lives, as SageMaker asks")


def _process(site: Site) -> Iterator[Way]:
    async def metrics(request: Request) -> Response:
        accept = request.header(b"accept")
        text, kind = await site.aside(lambda: site.exposition.text(accept))
        return Response(text, kind=kind.encode())

    async def events(request: Request) -> Response:
        return EventStream(site.live, site.live.join())

    async def state(request: Request) -> Response:
        return as_json(await site.aside(site.state))

    async def sample(request: Request) -> Response:
        return await site.aside(lambda: as_json(pair(site.live.newest())))

    async def newest(request: Request) -> Response:
        return await site.aside(lambda: _newest(site))

    async def document(request: Request) -> Response:
        return as_json(await site.aside(lambda: _document(site)))

    yield Way("GET", "/health", told(lambda: {"status": "ok"}), "The process lives; needs no token")
    yield Way("GET", "/metrics", metrics, "Everything counted, for Prometheus", answer=schemas.METRICS)
    yield Way("GET", "/events", events, "Results as they come, as server-sent events", answer=schemas.EVENTS)
    yield Way("GET", "/live/state", state, "What the live page shows")
    yield Way("GET", "/live/sample", sample, "The newest sample, where it is no picture, and its result")
    yield Way("GET", "/live/picture", newest, "The newest picture", answer=schemas.PICTURE)
    yield Way("GET", "/openapi.json", document, hidden=True)
    for path, page in site.pages.items():
        yield Way("GET", path, _page(page.response), hidden=True)


def _document(site: Site) -> Mapping[str, Any]:
    from edge.http import openapi

    return openapi.document(tuple(ways(site)), site.version)


def _page(make: Callable[[], Response]) -> Handler:
    async def page(request: Request) -> Response:
        return make()

    return page


def _newest(site: Site) -> Response:
    newest = site.live.newest()
    if newest is None:
        raise Refusal(404, "no sample came yet")
    data, kind = picture(newest[0])
    return Response(data, kind=kind.encode(), headers=((b"edge-result", results_header(newest[1]).encode()),))
