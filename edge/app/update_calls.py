"""What others want of the thread of the updates, and where that waits meanwhile."""

from __future__ import annotations

import random
import threading
from collections import deque

from edge.mqtt.messages import Incoming

FIRST_S = 60.0
"""The first check comes within so long: a thousand devices that get their power back do not all ask at once."""


def soon(interval_s: float) -> float:
    """Seconds until a check that a start or an announcement asks for."""
    return random.uniform(0, min(FIRST_S, interval_s))  # noqa: S311 - no secret


class UpdateCalls:
    """`wait`, `wish` and `news` belong to the thread of the updates, `announced` to the session's; the rest is for
    any."""

    def __init__(self) -> None:
        self.leaving = threading.Event()
        self._wake = threading.Event()
        self._wishes: deque[str] = deque(maxlen=1)
        self._news: deque[bytes] = deque(maxlen=1)
        self._heard: bytes | None = None

    def leave(self) -> None:
        """The service ends."""
        self.leaving.set()
        self._wake.set()

    def install(self, sha256: str) -> None:
        """A person wants this model."""
        self._wishes.append(sha256)
        self._wake.set()

    def announced(self, incoming: Incoming) -> None:
        """A publisher says that there may be something new. What is retained comes with each connection: that is news
        where it is another one than before."""
        payload, before = incoming.payload, self._heard
        self._heard = payload[:1000]
        if not incoming.retain or (before is not None and before != self._heard):
            self._news.append(self._heard)
            self._wake.set()

    def wait(self, seconds: float) -> bool:
        """Until something is wanted, or so long; True where the service ends."""
        self._wake.wait(seconds)
        self._wake.clear()
        return self.leaving.is_set()

    def wish(self) -> str:
        """The sha256 of what a person wants, once; "" where it is nothing."""
        return self._wishes.pop() if self._wishes else ""

    def news(self) -> bool:
        """Whether something was announced, once."""
        return bool(self._news and self._news.pop() is not None)
