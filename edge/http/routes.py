"""Routes of the framework that say of themselves what they take and give.

An endpoint's docstring is its summary (the first line) and its description in the OpenAPI document; `describes` adds
what bodies look like.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from starlette.requests import Request
from starlette.routing import Route

from edge.http import schemas
from edge.http.http_types import Gone

Answer = TypeVar("Answer")
Endpoint: TypeAlias = Callable[[Any, Request], Awaitable[Answer]]
ATTRIBUTE = "described"


@dataclass(frozen=True, slots=True)
class Description:
    """`body` and `answer` by media type, `query` by parameter."""

    body: Mapping[str, Any] = field(default_factory=dict)
    answer: Mapping[str, Any] = field(default_factory=lambda: schemas.OBJECT)
    query: Mapping[str, str] = field(default_factory=dict)


PLAIN = Description()


def describes(
    *,
    body: Mapping[str, Any] = PLAIN.body,
    answer: Mapping[str, Any] = PLAIN.answer,
    query: Mapping[str, str] = PLAIN.query,
) -> Callable[[Endpoint[Answer]], Endpoint[Answer]]:
    """For an endpoint: what the document says beside its docstring."""

    def mark(endpoint: Endpoint[Answer]) -> Endpoint[Answer]:
        setattr(endpoint, ATTRIBUTE, Description(body, answer, query))
        return endpoint

    return mark


def description(endpoint: Callable[..., Any]) -> Description:
    """What `describes` has said."""
    described = getattr(endpoint, ATTRIBUTE, PLAIN)
    assert isinstance(described, Description)
    return described


def get(path: str, endpoint: Callable[[Request], Awaitable[Any]], *, listed: bool = True) -> Route:
    """`listed`: in the document."""
    return Route(path, endpoint, methods=["GET"], include_in_schema=listed)


def post(path: str, endpoint: Callable[[Request], Awaitable[Any]], *, listed: bool = True) -> Route:
    """A route that takes a body."""
    return Route(path, endpoint, methods=["POST"], include_in_schema=listed)


async def body_of(request: Request) -> tuple[bytes, Mapping[bytes, bytes]]:
    """A request's body and its headers, as the hot routes take them."""
    return await request.body(), dict(request.headers.raw)


def request_gone(request: Request) -> Gone:
    """Returns when the client of a framework's request hangs up; after its body was read."""

    async def gone() -> object:
        return await request.receive()

    return gone
