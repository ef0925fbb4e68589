"""The application: admits requests, answers the hot routes itself, and hands all others to the framework by ASGI."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request as RouteRequest
from starlette.responses import Response as RouteResponse
from starlette.routing import BaseRoute

from edge.errors import EdgeError, SampleError
from edge.http.auth import Auth, Unauthorized
from edge.http.fastpath import Answer
from edge.http.http_types import (
    CLOSE,
    RETRY,
    Gone,
    HotHandler,
    Refusal,
    Request,
    Response,
    as_json,
    refused,
    status_line,
)
from edge.http.in_use import InUse
from edge.http.options import Limits
from edge.http.pages import Page
from edge.http.reader import BodyBudget
from edge.http.scheduling import Admission
from edge.http.several import Asgi
from edge.http.shared import Client

log = logging.getLogger("edge.http")

STOPS = as_json({"error": "the server stops"}, 503, (*RETRY, *CLOSE))
FREE = frozenset({"/health", "/v2/health/live", "/v2/health/ready"})
"""Paths that are answered whatever share of the processor requests have used."""
CODINGS = ("gzip", "x-gzip", "deflate")
PIECE = 262_144
"""Bytes that are unpacked at once."""


class Endpoints(InUse):
    """All that is answered with the models of now. The event loop's own. `pages`, by path, are for those without a
    token too: they hold no data, and ask for it."""

    def __init__(self, hot: Mapping[tuple[str, str], HotHandler], framework: Asgi, pages: Mapping[str, Page]) -> None:
        super().__init__()
        self.hot = hot
        self.pages = pages
        self.framework = framework


def framework(routes: list[BaseRoute]) -> Asgi:
    """What answers all that is no hot route."""
    return cast(Asgi, Starlette(routes=routes, exception_handlers={HTTPException: _no_route}))


class App:
    """One for the server; the event loop's own."""

    def __init__(
        self, auth: Auth, limits: Limits, budget: BodyBudget, admission: Admission, endpoints: Endpoints
    ) -> None:
        self._auth = auth
        self._wrong_token_s = limits.wrong_token_s
        self._budget = budget
        self._admission = admission
        self._endpoints = endpoints

    def use(self, endpoints: Endpoints) -> Endpoints:
        """The next requests are answered with another model; those that answered until now, to be retired."""
        before, self._endpoints = self._endpoints, endpoints
        return before

    def admit(self, request: Request) -> Response | None:
        """The answer, where the head alone decides."""
        try:
            if request.version not in ("1.0", "1.1"):
                text = "HTTP/1.1 and HTTP/1.0 are understood, and said behind the target"
                raise Refusal(505, f"HTTP version {request.version}: {text}", CLOSE)
            if request.twice:
                raise Refusal(400, f"the header {request.twice.decode('latin-1')} comes twice")
            # Before all that leaves the connection open: where such a body ends is not known.
            coding = request.by_name.get(b"transfer-encoding", b"chunked")
            if coding.strip().lower() != b"chunked":
                raise Refusal(501, f"Transfer-Encoding {coding[:40].decode('latin-1')!r}: chunked is understood", CLOSE)
            self._auth.check(request)
            length = request.by_name.get(b"content-length", b"")
            if length and int(length) > self._budget.most:
                raise self._budget.too_large(int(length))
        except Refusal as exc:
            request.delay_s = self._wrong_token_s if isinstance(exc, Unauthorized) and exc.guessed else 0.0
            page = self._endpoints.pages.get(request.path) if exc.status == 401 else None
            if page is not None and "text/html" in request.header(b"accept"):
                return page.response(401, exc.headers)
            return refused(exc)
        return None

    def hot(self, request: Request) -> HotHandler | None:
        """The handler of a hot route, where nothing of the request but its body has to be looked at."""
        if request.query or b"content-encoding" in request.by_name:
            return None
        return self._endpoints.hot.get((request.method, request.path))

    def at_once(self, handler: HotHandler, request: Request, body: bytes) -> Response | None:
        """As the handler's; what it raises becomes a response."""
        try:
            return handler.at_once(body, request.by_name)
        except Exception as exc:  # noqa: BLE001 - `_failed` says which is a bug
            return _failed(exc, request)

    def again(self, handler: HotHandler, request: Request) -> Answer:
        """For other bodies behind the same head, as `at_once`; None once the token or the model has changed."""
        token, headers = self._auth.token, request.by_name
        generation, endpoints = token.generation, self._endpoints

        def answer(body: bytes) -> Response | None:
            if token.generation != generation or self._endpoints is not endpoints:
                return None
            try:
                return handler.at_once(body, headers)
            except Exception as exc:  # noqa: BLE001 - `_failed` says which is a bug
                return _failed(exc, request)

        return answer

    async def answer(self, request: Request, connection: Client, gone: Gone) -> Response | None:
        """The response; None where it was sent already, piece by piece."""
        exchange: Exchange | None = None
        endpoints = self._endpoints
        ended = endpoints.ask()
        try:
            if request.refusal is not None:
                await asyncio.sleep(request.delay_s)
                return request.refusal
            await self._unpack(request)
            handler = endpoints.hot.get((request.method, request.path)) if not request.query else None
            if handler is not None:
                return await handler.later(request.body, request.by_name, gone)
            if request.path not in FREE:
                await self._admission.pay()
            # One that is sent in pieces, `/events`, goes on over a change of the model.
            exchange = Exchange(request, connection, gone, begins=ended)
            await endpoints.framework(exchange.scope, exchange.receive, exchange.send)
            return exchange.response
        except asyncio.CancelledError:  # the server stops, and waits no longer
            response = STOPS
        except Exception as exc:  # noqa: BLE001 - `_failed` says which is a bug
            response = _failed(exc, request)
        finally:
            ended()
        if exchange is not None and exchange.began:
            connection.abort()  # half a response is none
            return None
        return response

    async def _unpack(self, request: Request) -> None:
        """What was unpacked is held, and counts as what came: a request of some kilobytes may wait with megabytes."""
        coding = request.header(b"content-encoding").strip().lower()
        if coding in ("", "identity"):
            return
        if coding not in CODINGS:
            text = f"Content-Encoding {coding[:20]!r}; gzip, deflate and identity are understood"
            raise Refusal(415, text, ((b"accept-encoding", b"gzip, deflate"),))
        body = await self._admission.aside(lambda: self._unpacked(request.body, coding))
        self._budget.hold(request, len(body) - len(request.body))
        request.body = body

    def _unpacked(self, data: bytes, coding: str) -> bytes:
        """Of one member, or several of gzip (RFC 1952, 2.2). Raises Refusal: 400, 413."""
        pieces: list[bytes] = []
        size, most = 0, self._budget.most
        while True:
            inflate = zlib.decompressobj(47)  # zlib's or gzip's header, whichever stands there
            while not inflate.eof:
                try:
                    piece = inflate.decompress(data, PIECE)
                except zlib.error as exc:
                    raise Refusal(400, f"the body is not {coding}: {exc}") from exc
                pieces.append(piece)
                size += len(piece)
                if size > most:
                    pieces.clear()  # not to wait for the error's end
                    raise self._budget.too_large(size)
                data = inflate.unconsumed_tail
                if not (piece or data or inflate.eof):
                    raise Refusal(400, f"the {coding} body ends in the middle")
            data = inflate.unused_data
            if not data:
                return b"".join(pieces)
            if not data.startswith(b"\x1f\x8b"):
                raise Refusal(400, f"{len(data)} bytes behind the end of the {coding} body")


class Exchange:
    """One request of a connection in ASGI's words. A response that comes whole is kept, one in pieces is sent."""

    def __init__(self, request: Request, connection: Client, gone: Gone, begins: Callable[[], None]) -> None:
        """`begins` is called when the first of several pieces is sent."""
        self._request = request
        self._connection = connection
        self._gone = gone
        self._begins = begins
        self._asked = False
        self._start: MutableMapping[str, Any] = {}
        self._chunked = False
        self.began = False
        """True once some of the response was sent."""
        self.response: Response | None = None

    @property
    def scope(self) -> MutableMapping[str, Any]:
        """ASGI's."""
        request = self._request
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": request.version,
            "method": request.method,
            "scheme": self._connection.scheme,
            "path": request.path,
            "raw_path": request.target.partition(b"?")[0],
            "query_string": request.query,
            "root_path": "",
            "headers": request.headers,
            "client": (self._connection.address, 0),
            "server": None,
        }

    async def receive(self) -> MutableMapping[str, Any]:
        """The whole body, then nothing until the client hangs up."""
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": self._request.body, "more_body": False}
        await self._gone()
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Waits while the client does not read what was sent in pieces."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        body, more = bytes(message.get("body", b"")), message.get("more_body", False)
        if not self.began and not more:
            self.response = self._whole(body)
            return
        pieces = [] if self.began else [self._head()]
        if self._request.method != "HEAD":
            pieces.append(b"%x\r\n%b\r\n" % (len(body), body) if self._chunked and body else body)
            pieces.append(b"0\r\n\r\n" if self._chunked and not more else b"")
        if not self.began:
            self.began = True
            self._begins()
        await self._connection.write(b"".join(pieces))

    def _whole(self, body: bytes) -> Response:
        headers = [(n.lower(), v) for n, v in self._start.get("headers", ())]
        kind = next((v for n, v in headers if n == b"content-type"), b"application/octet-stream")
        own = tuple(h for h in headers if h[0] not in (b"content-type", b"content-length"))
        return Response(body, status=self._start["status"], kind=kind, headers=own)

    def _head(self) -> bytes:
        """Without a length: in chunks, or for HTTP/1.0, which has none, until the connection is closed."""
        request = self._request
        self._chunked = request.version == "1.1"
        request.keep_alive = request.keep_alive and self._chunked
        end = b"transfer-encoding: chunked\r\n\r\n" if self._chunked else b"connection: close\r\n\r\n"
        lines = b"".join([b"%b: %b\r\n" % header for header in self._start.get("headers", ())])
        return b"".join((status_line(self._start["status"]), lines, self._connection.date_lines, end))


# --- what becomes of errors -----------------------------------------------------------------------------


async def _no_route(request: RouteRequest, exc: Exception) -> RouteResponse:
    assert isinstance(exc, HTTPException)
    path, method = request.url.path[:200], request.method
    allowed = [m for m in (exc.headers or {}).get("Allow", "").split(", ") if m not in ("", "HEAD")]
    response = as_json({"error": f"there is nothing at {path!r}; /docs lists what there is"}, 404)
    if exc.status_code == 404 and method not in ("GET", "HEAD", "POST", "OPTIONS"):
        response = as_json({"error": f"{method} is done nowhere here"}, 501)
    if exc.status_code == 405:
        methods = ", ".join(sorted(allowed))
        text = f"{method} is not for {path}: send {methods}"
        response = as_json({"error": text}, 405, ((b"allow", methods.encode()),))
    return cast(RouteResponse, response)  # an ASGI application, which is all that is asked of it


def _failed(exc: Exception, request: Request) -> Response:
    if isinstance(exc, SampleError):
        return refused(exc)
    if isinstance(exc, EdgeError):
        return as_json({"error": str(exc)}, 501)
    # A bug costs its own request, not the flow.
    log.error("request failed", extra={"path": request.path[:200]}, exc_info=exc)
    return as_json({"error": f"a bug of edge-run's: {type(exc).__name__}; its log says more"}, 500, CLOSE)
