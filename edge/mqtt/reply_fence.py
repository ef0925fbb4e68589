"""Where replies may go: an asker names its Response Topic freely, and would speak there with our rights.

A topic is compared level by level, empty levels left out, and with a dot as good as a slash: RabbitMQ and other brokers
that have names of their own for topics deliver `edge.pi.m.status` to who reads `edge/pi/m/status`.
"""

from __future__ import annotations

import re
from functools import cache

import msgspec

from edge.data.names import DISCOVERY, no_topic
from edge.mqtt.topics import ASKED, OUTPUTS, UpdateTopics

NAMES = frozenset({"input", *ASKED, *OUTPUTS})
LEVELS_MOST = 128
BYTES_MOST = 1024
"""Of a Response Topic. Beyond what a broker takes (mosquitto: 200 levels) it ends the connection of whoever publishes
there: one asker would cut off all others."""
SPARKPLUG = "spBv1.0"
_MARK = re.compile(r"(\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\})", re.DOTALL)


class ReplyFence(msgspec.Struct, frozen=True):
    """Around the topics of this service and of other systems; with `allowed`, topic filters, around all but those.

    `base` is what the service's topics begin with; `discovery`: prefixes under which Home Assistant is told of devices;
    `results`: the template of `--topic`, "" where there is none.
    """

    base: str
    discovery: tuple[str, ...] = (DISCOVERY,)
    allowed: tuple[str, ...] = ()
    results: str = ""

    def reason(self, topic: str) -> str | None:
        """Whose the topic is, or why it is none; None where a reply may go there."""
        if topic.startswith("$"):
            return "it is the broker's own"
        why = _unfit(topic) or self._whose(_levels(topic))
        if why is not None:
            return why
        own = _pattern(self.results, self.base) if self.results else None
        if own is not None and own.fullmatch(topic):
            return "the results of this service go there (--topic)"
        return self._not_allowed(topic) if self.allowed else None

    def _whose(self, topic: tuple[str, ...]) -> str | None:
        if any(_is_below(topic, prefix) for prefix in self.discovery):
            return "Home Assistant is told of devices there"
        if _is_below(topic, SPARKPLUG):
            return "Sparkplug's devices are told what to do there"
        base, prefix = _levels(self.base), _levels(self.base.rsplit("/", 2)[0])
        if topic[: len(base)] == base and topic[len(base) :][:1] and topic[len(base)] in NAMES:
            return "it is this service's own"
        if _is_below(topic, UpdateTopics("/".join(prefix)).base):
            return "devices are told of updates there"
        below = topic[len(prefix) :] if topic[: len(prefix)] == prefix else ()
        # That of a device stands where several of its models have one process.
        if (len(below) >= 3 and below[2] in NAMES) or (len(below) == 2 and below[1] == "status"):
            return "it is another service's"
        return None

    def _not_allowed(self, topic: str) -> str | None:
        from edge.mqtt.connection import Connection  # brings paho, which the session loads in its own way

        if any(Connection.matches(allowed, topic) for allowed in self.allowed):
            return None
        return f"--reply-topics allows {', '.join(self.allowed)}"


def _unfit(topic: str) -> str | None:
    if why := no_topic(topic):
        return why
    if "\ufffd" in topic:
        return "it is no UTF-8"
    if topic.count("/") >= LEVELS_MOST or len(topic.encode()) > BYTES_MOST:
        return f"at most {LEVELS_MOST} levels and {BYTES_MOST} bytes are taken"
    return None


def _levels(topic: str) -> tuple[str, ...]:
    return tuple(level for level in topic.replace(".", "/").split("/") if level)


def _is_below(topic: tuple[str, ...], prefix: str) -> bool:
    """Or the same."""
    levels = _levels(prefix)
    return topic[: len(levels)] == levels


@cache
def _pattern(template: str, base: str) -> re.Pattern[str] | None:
    """What the topics of a template look like; None where nothing of them is known."""
    known = {"base": base, "prefix": base.rsplit("/", 2)[0]}
    parts = [known.get(p[2:-2].strip(" -+"), "") if _MARK.fullmatch(p) else p for p in _MARK.split(template)]
    if not "".join(parts).strip("/"):
        return None
    return re.compile("".join(re.escape(p) or ".*" for p in parts))
