"""The door: the ASGI application. Every request passes the guard, finds its way and is answered."""

from __future__ import annotations

from collections.abc import Mapping

from edge.errors import SampleError
from edge.server.exchange import Bodies, Receive, Refusal, Request, Response, Scope, Send, refused
from edge.server.guard import Guard, headers_of
from edge.server.pages import Page
from edge.server.ways import Ways


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

    def _refused(self, exc: SampleError, request: Request) -> Response:
        if isinstance(exc, Refusal) and exc.status == 401:
            page = self._pages.get(request.path)
            if page is not None and "text/html" in request.header(b"accept"):
                return page.response(401, exc.headers)
        return refused(exc)
