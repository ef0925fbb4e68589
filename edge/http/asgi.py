"""The door: the ASGI application. Every request passes the guard, finds its way and is answered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, MutableMapping
from functools import partial
from typing import Any, TypeAlias

from edge.errors import EdgeError, SampleError
from edge.http.auth import Guard, headers_of
from edge.http.fastpath import Answer
from edge.http.http_types import (
    CLOSE,
    RETRY,
    Bodies,
    Receive,
    Refusal,
    Request,
    Response,
    Scope,
    Send,
    as_json,
    refused,
)
from edge.http.pages import Page
from edge.http.routes import Ways
from edge.http.scheduling import QUICK_BYTES

log = logging.getLogger("edge.http")


AtOnce: TypeAlias = Callable[[bytes, Mapping[bytes, bytes]], Response | None]


class Front:
    """`pages`, by path, are for those without a token too: they hold no data, and ask for it.

    `quick`, by path, answers small bodies without a task of their own, where it can.
    """

    def __init__(
        self, guard: Guard, bodies: Bodies, ways: Ways, pages: Mapping[str, Page], quick: Mapping[str, AtOnce]
    ) -> None:
        self._guard = guard
        self._bodies = bodies
        self._ways = ways
        self._pages = pages
        self._quick = quick
        self._quick_most = min(QUICK_BYTES, bodies.most)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive, self._bodies)
        try:
            try:
                response = await self._answer(request)
            except asyncio.CancelledError:  # the server stops, and waits no longer
                response = as_json({"error": "the server stops"}, 503, (*RETRY, *CLOSE))
            await response.send(scope, receive, send)
        finally:
            request.release()

    def quick(self, scope: Scope) -> Answer | None:
        """What answers the bodies behind such a head at once; None: it has to be asked as any other is."""
        answer = self._quick.get(scope["path"])
        if answer is None or scope["method"] != "POST" or scope["query_string"]:
            return None
        request = Request(scope, _never, self._bodies)
        try:
            request.headers = headers_of(scope["headers"])
            self._guard.check(request)
        except SampleError:  # the usual way has the words for it
            return None
        return None if b"content-encoding" in request.headers else partial(self._at_once, answer, request)

    def _at_once(self, answer: AtOnce, request: Request, body: bytes) -> Response | None:
        if len(body) > self._quick_most:
            return None
        try:
            return answer(body, request.headers)
        except Exception as exc:  # noqa: BLE001 - `_failed` says which is a bug
            return self._failed(exc, request)

    async def _answer(self, request: Request) -> Response:
        try:
            request.headers = headers_of(request.scope["headers"])
            self._guard.check(request)
            handler, request.params = self._ways.find(request.scope["method"], request.path)
            return await handler(request)
        except Exception as exc:  # noqa: BLE001 - `_failed` says which is a bug
            return self._failed(exc, request)

    def _failed(self, exc: Exception, request: Request) -> Response:
        if isinstance(exc, SampleError):
            return self._refused(exc, request)
        if isinstance(exc, EdgeError):  # a library that is not installed: the flow does without it
            return as_json({"error": str(exc)}, 501)
        # A bug costs its own request, not the flow.
        log.error("request failed", extra={"path": request.path[:200]}, exc_info=exc)
        return as_json({"error": f"a bug of edge-run's: {type(exc).__name__}; its log says more"}, 500, CLOSE)

    def _refused(self, exc: SampleError, request: Request) -> Response:
        if isinstance(exc, Refusal) and exc.status == 401:
            page = self._pages.get(request.path)
            if page is not None and "text/html" in request.header(b"accept"):
                return page.response(401, exc.headers)
        return refused(exc)


async def _never() -> MutableMapping[str, Any]:
    raise RuntimeError("this request has been read")
