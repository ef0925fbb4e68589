"""The door: the ASGI application. Every request passes the guard, finds its way and is answered."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from edge.errors import EdgeError, SampleError
from edge.server.exchange import CLOSE, Bodies, Receive, Refusal, Request, Response, Scope, Send, as_json, refused
from edge.server.guard import Guard, headers_of
from edge.server.pages import Page
from edge.server.ways import Ways

log = logging.getLogger("edge.http")


class Front:
    """`pages`, by path, are for those without a token too: they hold no data, and ask for it."""

    def __init__(self, guard: Guard, bodies: Bodies, ways: Ways, pages: Mapping[str, Page]) -> None:
        self._guard = guard
        self._bodies = bodies
        self._ways = ways
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive, self._bodies)
        try:
            response = await self._answer(request)
            await response.send(scope, receive, send)
        finally:
            request.release()

    async def _answer(self, request: Request) -> Response:
        try:
            request.headers = headers_of(request.scope["headers"])
            self._guard.check(request)
            handler, request.params = self._ways.find(request.scope["method"], request.path)
            return await handler(request)
        except SampleError as exc:
            return self._refused(exc, request)
        except EdgeError as exc:  # a library that is not installed: the flow does without it
            return as_json({"error": str(exc)}, 501)
        except Exception as exc:  # a bug costs its own request, not the flow
            log.exception("request failed", extra={"path": request.path[:200]})
            return as_json({"error": f"a bug of edge-run's: {type(exc).__name__}; its log says more"}, 500, CLOSE)

    def _refused(self, exc: SampleError, request: Request) -> Response:
        if isinstance(exc, Refusal) and exc.status == 401:
            page = self._pages.get(request.path)
            if page is not None and "text/html" in request.header(b"accept"):
                return page.response(401, exc.headers)
        return refused(exc)
