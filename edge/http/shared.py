"""What all connections of a server have in common, and what they ask of the application behind them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from edge.http import fastpath
from edge.http.fastpath import Answer, KnownHead
from edge.http.http_types import Gone, HotHandler, Request, Response
from edge.http.options import Limits
from edge.http.reader import BodyBudget

READ_MOST = 131_072
"""Bytes that are read at once, into a buffer that all connections share: nothing waits in it."""


class Client(Protocol):
    """A connection, as the application sees it."""

    address: str
    scheme: str

    @property
    def date_lines(self) -> bytes:
        """As `Shared.date`."""
        ...

    async def write(self, data: bytes) -> None:
        """A piece of a response that is sent as it is made; waits while the client does not read."""
        ...

    def abort(self) -> None:
        """Ends now, and takes back what was not yet sent."""
        ...


class Application(Protocol):
    """What answers requests."""

    def admit(self, request: Request) -> Response | None:
        """The answer, where the head alone decides."""
        ...

    def hot(self, request: Request) -> HotHandler | None:
        """The handler of a hot route; None: `answer` is the way. Raises nothing."""
        ...

    def at_once(self, handler: HotHandler, request: Request, body: bytes) -> Response | None:
        """As the handler's; what it raises becomes a response."""
        ...

    def again(self, handler: HotHandler, request: Request) -> Answer:
        """For other bodies behind the same head, as `at_once`; None when the head has to be read again."""
        ...

    def answer(self, request: Request, connection: Client, gone: Gone) -> Coroutine[Any, Any, Response | None]:
        """The response; None where it was sent already, piece by piece. Raises nothing."""
        ...


class Shared:
    """What all connections of a server have in common. The event loop's own."""

    def __init__(
        self,
        app: Application,
        limits: Limits,
        budget: BodyBudget,
        date: Callable[[], bytes],
        learn: Callable[[bytes, int, Answer], KnownHead | None] = fastpath.learn,
    ) -> None:
        self.app = app
        self.learn = learn
        self.limits = limits
        self.budget = budget
        self.date = date
        """The lines of a head that are the same for every response, with its date."""
        self.buffer = memoryview(bytearray(READ_MOST))
