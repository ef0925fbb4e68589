"""What is published beside results: status, info, stats, masks, discovery. It is kept in no spool."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from edge.errors import SampleError
from edge.mqtt.messages import OnDelivery, Outgoing, Refusal

if TYPE_CHECKING:
    from edge.mqtt.codec.packets import Publication

log = logging.getLogger("edge.mqtt")

MAX_KEPT_BYTES = 4_000_000
"""What is kept while there is no connection; the newest one stays in any case."""
MAX_TOLD = 1000
"""Topics of which is said that nothing can be published there."""


class Posts:
    """Belongs to the session's thread."""

    def __init__(self, publish: Callable[[Sequence[Publication]], list[tuple[Publication, str]]]) -> None:
        """`publish` queues messages, and returns those that can never be sent, and why."""
        self._publish = publish
        self._kept: deque[Publication] = deque()
        self._told: set[str] = set()
        """Topics of which was said that nothing can be published there, and nothing was since."""

    def post(self, message: Outgoing, on_delivery: OnDelivery | None, key: int, *, up: bool, keep: bool) -> None:
        """Publishes it where there is a connection; else it is dropped, or kept for the next one."""
        from edge.mqtt.codec.packets import publication

        try:
            made = publication(message, on_delivery, key)
        except SampleError as exc:
            self._reject(message.topic, on_delivery, key, str(exc))
            return
        if up:
            self._send(made)
        elif keep:
            self._kept.append(made)
            while sum(p.size for p in self._kept) > MAX_KEPT_BYTES and len(self._kept) > 1:
                self._kept.popleft()

    def send_kept(self) -> None:
        """There is a connection."""
        while self._kept:
            self._send(self._kept.popleft())

    def _send(self, publication: Publication) -> None:
        rejected = self._publish([publication])
        for p, reason in rejected:
            self._reject(p.name, p.on_delivery, p.key, reason)
        if not rejected and self._told:
            self._told.discard(publication.name)

    def _reject(self, topic: str, on_delivery: OnDelivery | None, key: int, reason: str) -> None:
        if topic not in self._told and len(self._told) < MAX_TOLD:
            self._told.add(topic)
            log.warning("not published", extra={"topic": topic, "reason": reason})
        if on_delivery is not None and on_delivery.refused is not None:
            on_delivery.refused(key, Refusal(0x95, reason))
