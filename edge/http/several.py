"""Which of several models a request is for: by its path, else by `?model=`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import parse_qs

from edge.http.catalog import Catalog
from edge.http.http_types import Refusal

Asgi: TypeAlias = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[MutableMapping[str, Any]]],
        Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ],
    Awaitable[None],
]
ASKS_ONE = ("/predict", "/invocations")
"""Paths that name no model, and are for one."""
WORDS = ("stats",)
"""What stands where a model's name would, and is none."""


class Choice:
    """The framework of the model that is asked. What is of the server is told alike by each of them."""

    def __init__(self, by_name: Mapping[str, Asgi], catalog: Catalog) -> None:
        self._by_name = by_name
        self._first = next(iter(by_name.values()))
        self._catalog = catalog

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        await self._of(scope["path"], scope["query_string"])(scope, receive, send)

    def _of(self, path: str, query: bytes) -> Asgi:
        """Raises Refusal: 400, 404, 503."""
        if (name := _in_path(path)) is not None:
            return self._by_name.get(name, self._first)  # which says that there is none of this name
        asked = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("model", [])
        if len(set(asked)) > 1:
            raise Refusal(400, f"?model= names {len(asked)} models; a request is for one")
        if asked:
            found = self._by_name.get(asked[0])
            if found is None:
                raise self._catalog.unknown(asked[0])
            return found
        if path in ASKS_ONE and self._catalog.several:
            first = next(iter(self._by_name))
            raise Refusal(
                400, f"this device serves {self._catalog.names}: say which, as in {path}?model={first}"
            )  # fmt: skip
        return self._first


def _in_path(path: str) -> str | None:
    """`/v1/models/NAME:predict`, `/v2/models/NAME/infer`, `/v2/repository/models/NAME/load`."""
    parts = path.split("/")
    at = 4 if parts[1:4] == ["v2", "repository", "models"] else 3
    if len(parts) <= at or parts[at - 1] != "models" or parts[1] not in ("v1", "v2"):
        return None
    name = parts[at].partition(":")[0]
    return None if parts[1] == "v2" and len(parts) == at + 1 and name in WORDS else name
