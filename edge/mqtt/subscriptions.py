"""What is subscribed to, and which handler a message is for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from edge.mqtt.messages import Incoming

MAX_ROUTES = 1000
"""Topics whose handler is remembered."""

Handler: TypeAlias = Callable[[Incoming], None]


class Subscriptions:
    """Belongs to the session's thread, or to the one that has not started it yet."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._routes: dict[str, Handler] = {}
        self._qos: dict[str, int] = {}
        self._held: set[str] = set()
        self.retained_again: set[str] = set()
        """Filters whose retained messages are wanted at each start, also where the broker has kept the session."""

    def add(self, topic: str, handler: Handler, qos: int) -> None:
        """`topic` is a filter. Where there is a handler of it already, both are given each message."""
        before = self._handlers.get(topic)
        self._handlers[topic] = handler if before in (None, handler) else _both(before, handler)
        self._qos[topic] = qos
        self._routes.clear()

    def let_go(self, topics: Sequence[str], handler: Handler) -> None:
        """From now on `handler` alone is given what comes on filters that have a topic in common with these."""
        gone = [held for held in self._handlers if any(overlap(held, topic) for topic in topics)]
        self._handlers.update(dict.fromkeys(gone, handler))
        self._routes.clear()

    def missing(self, *, resumed: bool) -> dict[str, int]:
        """Filters that the broker does not hold, and their QoS; `resumed`: it still has the session."""
        if not resumed:
            self._held.clear()
        return {topic: qos for topic, qos in self._qos.items() if topic not in self._held}

    def answered(self) -> None:
        """The broker has answered all of them: it holds them as long as it has the session."""
        self._held.update(self._handlers)

    def handler(self, topic: str, matches: Callable[[str, str], bool]) -> Handler | None:
        """Of a message; None: nothing here asked for it. `matches` says whether a filter asks for a topic."""
        route = self._routes.get(topic)
        if route is not None:
            return route
        for pattern, handler in self._handlers.items():
            if matches(_plain(pattern), topic):
                if len(self._routes) >= MAX_ROUTES:
                    self._routes.clear()
                self._routes[topic] = handler
                return handler
        return None


def overlap(one: str, other: str) -> bool:
    """Whether there is a topic that both filters ask for: a broker may deliver it once, or twice."""
    levels, others = _plain(one).split("/"), _plain(other).split("/")
    for a, b in zip(levels, others, strict=False):
        if "#" in (a, b):
            return True
        if a != b and "+" not in (a, b):
            return False
    longer = max(levels, others, key=len)
    return len(levels) == len(others) or longer[min(len(levels), len(others)) :] == ["#"]


def _both(first: Handler, second: Handler) -> Handler:
    def handle(incoming: Incoming) -> None:
        first(incoming)
        second(incoming)

    return handle


def _plain(topic: str) -> str:
    """The filter of a shared subscription, without `$share/<group>/`."""
    return topic.split("/", 2)[2] if topic.startswith("$share/") and topic.count("/") >= 2 else topic
