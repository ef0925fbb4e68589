"""A response of server-sent events that no reader can hold up."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from edge.http.events import Client, Live
from edge.http.http_types import HEADERS, Receive, Response, Scope, Send

READ_WAIT_S = 30.0
"""A client that takes nothing for so long is cut off."""


class EventStream(Response):
    """Until the client goes, or the server stops."""

    __slots__ = ("_client", "_live")

    def __init__(self, live: Live, client: Client) -> None:
        super().__init__(b"", kind=b"text/event-stream")
        self._live = live
        self._client = client

    async def send(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream"), *HEADERS]
        gone = asyncio.ensure_future(_gone(receive))
        gone.add_done_callback(lambda _: self._client.hang_up())
        until_close = scope.get("edge.until_close", _as_it_is)
        try:
            until_close(ends=False)
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            if scope["method"] != "HEAD":
                await self._pump(scope, send)
            until_close(ends=True)
            if not self._client.gone:
                await send({"type": "http.response.body", "body": b""})
        finally:
            self._live.leave(self._client)
            gone.cancel()

    async def _pump(self, scope: Scope, send: Send) -> None:
        async with aclosing(self._live.events(self._client)) as events:
            async for event in events:
                try:
                    async with asyncio.timeout(READ_WAIT_S):
                        await send({"type": "http.response.body", "body": event, "more_body": True})
                except TimeoutError:
                    self._client.hang_up()
                    scope["edge.abort"]()
                    return


def _as_it_is(*, ends: bool) -> None:
    """Whoever speaks HTTP/1.1 gets chunks."""


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
