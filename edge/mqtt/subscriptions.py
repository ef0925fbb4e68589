"""What is subscribed to, and which handlers a message is for.

Several runs may have their inputs on one connection, and may ask for the same topics. A broker sends a message that two
filters ask for once or twice, as it likes (mosquitto once by MQTT 3.1.1, twice by 5), and does not say for which. So no
two filters of inputs that overlap are ever asked for: of two the wider one, whose messages are given to both.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

from edge.mqtt.asked_before import AskedBefore
from edge.mqtt.messages import Incoming
from edge.mqtt.retained_before import RetainedBefore

log = logging.getLogger("edge.mqtt")

MAX_ROUTES = 1000
"""Topics whose handlers are remembered."""

Handler: TypeAlias = Callable[[Incoming], None]
Route: TypeAlias = tuple[Handler | None, tuple[Handler, ...]]
"""Of a topic: what the service itself makes of it, and the runs that share the connection and have it as an input."""


class Subscriptions:
    """Belongs to the session's thread, or to the one that has not started it yet."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._inputs: dict[str, list[Handler]] = {}
        """Those of runs that share the connection."""
        self._routes: dict[str, Route] = {}
        self._qos: dict[str, int] = {}
        self._held: set[str] = set()
        self.before: AskedBefore | None = None
        """What earlier lives have subscribed to, where that is known."""
        self.retained_before: RetainedBefore | None = None
        """Retained inputs that earlier lives have inferred, where that is known."""
        self.retained_again: set[str] = set()
        """Filters whose retained messages are wanted at each start, also where the broker has kept the session."""
        self.elsewhere: set[str] = set()
        """Filters of inputs that come over other connections of this process now. What the broker has kept of them for
        this one is not acknowledged: it stays there until they are heard here again."""
        self._told_unasked = False

    @property
    def own_too(self) -> Collection[str]:
        """Filters of inputs that may be what another run publishes."""
        return self._inputs

    def add(self, topic: str, handler: Handler, qos: int) -> None:
        """`topic` is a filter. Where there is a handler of it already, both are given each message."""
        if handler not in self._inputs.get(topic, ()):
            before = self._handlers.get(topic)
            self._handlers[topic] = handler if before in (None, handler) else _both(before, handler)
        self._qos[topic] = qos
        self._routes.clear()

    def expect(self, topic: str, handler: Handler) -> None:
        """Inputs of a run that shares the connection: given to it whether it has subscribed or not."""
        self._inputs.setdefault(topic, []).append(handler)
        self._routes.clear()

    def let_go(self, topics: Sequence[str], handler: Handler) -> None:
        """From now on `handler` alone is given what comes on these filters, but for inputs."""
        self._handlers.update({topic: handler for topic in topics if topic in self._handlers})
        self._routes.clear()

    def missing(self, *, resumed: bool, five: bool = True) -> dict[str, int]:
        """Filters that the broker does not hold, and their QoS; `resumed`: it still has the session; `five`: it speaks
        MQTT 5."""
        if self.retained_before is not None:
            self.retained_before.up(resumed=resumed, five=five)
        if not resumed:
            self._held.clear()
            if self.before is not None:
                self.before.forget()
        needless = self.needless()
        if self.before is not None:
            self.before.add(self._heard())
        return {topic: qos for topic, qos in self._qos.items() if topic not in self._held and topic not in needless}

    def needless(self) -> list[str]:
        """Filters of inputs that another one of them asks for, too, or that only an earlier life has asked for."""
        if self.before is None:
            return self._covered()
        stale = self.before.stale(self._of_inputs().union(self._inputs))
        return [*self._covered(), *stale, *sorted(self.before.known(self.elsewhere).difference(stale))]

    def _covered(self) -> list[str]:
        asked = self._of_inputs()
        return [one for one in self._inputs if any(one != other and covers(other, one) for other in asked)]

    def _of_inputs(self) -> set[str]:
        """All else is subscribed to at QoS 0. Also those of a run that cannot begin, which an earlier life has asked
        for."""
        kept = () if self.before is None else self.before.known(self._inputs)
        return {topic for topic, qos in self._qos.items() if qos}.union(kept)

    def _heard(self) -> set[str]:
        return self._of_inputs().difference(self._covered())

    def answered(self) -> None:
        """The broker has answered all of them: it holds them as long as it has the session."""
        self._held.update(self._qos)
        if self.before is not None:
            self.before.only(self._heard())

    def unasked(self, incoming: Incoming, matches: Callable[[str, str], bool]) -> bool:
        """A message that nothing here asks for: an earlier life did, and the broker had kept it since. False where it
        is to stay there."""
        stays = any(matches(_plain(one), incoming.topic) for one in self.elsewhere)
        if not self._told_unasked:
            self._told_unasked = True
            text = (
                "what an earlier life asked for is dropped: the run, or the --source, that it was for is gone, or "
                "another client of the same id asked for it"
            )
            if stays:
                text = (
                    "inputs came over the one connection of all runs before: what the broker still has for it stays "
                    'there; mqtt-connections = "one" has it given'
                )
            log.warning(text, extra={"topic": incoming.topic})
        return not stays

    def route(self, topic: str, matches: Callable[[str, str], bool]) -> Route:
        """Of a message; without any: nothing here asked for it. `matches` says whether a filter asks for a topic. What
        the service itself asks for is an input only of a run that names it."""
        route = self._routes.get(topic)
        if route is None:
            if len(self._routes) >= MAX_ROUTES:
                self._routes.clear()
            handler = next((h for one, h in self._handlers.items() if matches(_plain(one), topic)), None)
            asked = [
                handlers
                for one, handlers in self._inputs.items()
                if one == topic or (handler is None and matches(_plain(one), topic))
            ]
            runs = tuple(dict.fromkeys(itertools.chain.from_iterable(asked)))
            route = self._routes[topic] = handler, runs
        return route


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


def covers(wide: str, narrow: str) -> bool:
    """Whether a filter asks for all that another one does. One that is shared with other clients asks for a part."""
    if wide == narrow:
        return True
    if wide.startswith("$share/") or narrow.startswith("$") != wide.startswith("$"):
        return False
    levels, others = wide.split("/"), narrow.split("/")
    for place, level in enumerate(levels):
        if level == "#":
            return True
        if place >= len(others) or others[place] == "#" or (level != "+" and level != others[place]):
            return False
    return len(levels) == len(others)


def _both(first: Handler, second: Handler) -> Handler:
    def handle(incoming: Incoming) -> None:
        first(incoming)
        second(incoming)

    return handle


def _plain(topic: str) -> str:
    """The filter of a shared subscription, without `$share/<group>/`."""
    return topic.split("/", 2)[2] if topic.startswith("$share/") and topic.count("/") >= 2 else topic
