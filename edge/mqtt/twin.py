"""Another service on the same topics: `--device` given twice, or a card that was cloned and given another client id.

Both answer each input, and each says `offline` for both. The broker cannot tell them apart, their `boot` can. What is
heard may be old, kept by the broker from an earlier life of ours; so another one is there only where its uptime has
grown while we listened. To hear it soon, each of the two answers what it hears of the other with its own `stats`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from edge.data.units import SECOND_NS
from edge.mqtt.messages import Incoming
from edge.mqtt.session import MqttSession
from edge.mqtt.topics import Topics
from edge.plugins.protocols import Clock

log = logging.getLogger("edge.mqtt")

ANSWER_AFTER_NS = SECOND_NS
"""Between two answers."""
ANSWERS_MOST = 5
"""To one that is not known to be there."""
GROWN_S = 0.5
SILENT_NS = 200 * SECOND_NS
"""Three times the usual interval of `stats`: it is gone."""


class Heard(msgspec.Struct):
    """What is looked at of another's `info` or `stats`."""

    boot: str
    uptime_s: float | None = None


class _Other(msgspec.Struct):
    first_s: float
    first_ns: int


class TwinWatch:
    """`heard` in the session's thread, `tick` and `there` in the main thread."""

    def __init__(
        self, boot: str, topics: Topics, clock: Clock, *, answer: Callable[[], None], changed: Callable[[], None]
    ) -> None:
        """`answer` publishes `stats`, `changed` publishes `info`: both from the main thread."""
        self._boot = boot
        self._topics = topics
        self._clock = clock
        self._answer = answer
        self._changed = changed
        self._others: dict[str, _Other] = {}
        self._answers = 0
        self._to_answer = False
        self._answered_ns = 0
        self._grown: tuple[str, int] | None = None
        self.there = ""
        """The `boot` of the other one; empty where there is none."""

    def listen(self, session: MqttSession) -> None:
        """Before the session's start."""
        for topic in (self._topics.stats, self._topics.info):
            session.subscribe(topic, lambda incoming: self._take(session, incoming), qos=0)

    def _take(self, session: MqttSession, incoming: Incoming) -> None:
        session.ack_now(incoming)  # of QoS 1 where the source covers the topic, too
        if not incoming.retain:
            self.heard(incoming.payload)

    def heard(self, payload: bytes) -> None:
        """A live `info` or `stats` on our topics, perhaps our own."""
        try:
            heard = msgspec.json.decode(payload, type=Heard)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        if heard.boot == self._boot:
            return
        now = self._clock.monotonic_ns()
        self._to_answer = True
        if heard.uptime_s is None:
            return
        other = self._others.setdefault(heard.boot, _Other(heard.uptime_s, now))
        grown_s, passed_s = heard.uptime_s - other.first_s, (now - other.first_ns) / SECOND_NS
        # What was kept comes at once, however much its uptime has grown.
        if grown_s >= GROWN_S and passed_s >= grown_s / 2:
            self._grown = heard.boot, now

    def tick(self) -> None:
        """Answers, and tells what has changed."""
        now = self._clock.monotonic_ns()
        if self._to_answer and now - self._answered_ns >= ANSWER_AFTER_NS:
            self._to_answer = False
            if self._answers < ANSWERS_MOST:
                self._answers += 1
                self._answered_ns = now
                self._answer()
        grown = self._grown
        there = grown[0] if grown is not None and now - grown[1] < SILENT_NS else ""
        if there == self.there:
            return
        if there and not self.there:
            log.error(
                "another service publishes on our topics: both answer each input (the same --device twice, a cloned "
                "card?); give one of them another --device or --name",
                extra={"topics": self._topics.all, "boot": there},
            )
        elif not there:
            self._answers = 0
            log.info("the other service on our topics is silent", extra={"topics": self._topics.all})
        self.there = there
        self._changed()
