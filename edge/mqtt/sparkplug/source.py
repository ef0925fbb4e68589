"""`--source sparkplug:GROUP/NODE[/DEVICE]`: metrics of Sparkplug B are a row, by the names of the model's features.

A node says its metrics once, in a birth, and then tells what has changed, maybe by a number alone (`alias`): so the
newest value of each counts, and each message of data makes a row. Births are not retained: of a node whose birth was
not heard it is asked for, by a Rebirth command. A birth says again what is known, and makes no row; behind a death
a birth has to come first. What a node kept while it was away is marked as historical: such rows go on from what was
known before, and leave the newest values as they are.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from edge.data.sample import Sample
from edge.data.units import SECOND_NS
from edge.errors import ConfigError, SampleError
from edge.mqtt.messages import Outgoing
from edge.mqtt.session import MqttSession
from edge.mqtt.source import MqttSource
from edge.mqtt.sparkplug import payload as sparkplug
from edge.mqtt.sparkplug.node import NAMESPACE, REBIRTH
from edge.mqtt.sparkplug.payload import BOOLEAN, Metric, Payload, Value
from edge.plugins.contexts import SourceContext
from edge.plugins.declarations import SourceInfo
from edge.plugins.protocols import Loop

log = logging.getLogger("edge.mqtt")

USAGE = "sparkplug:GROUP/NODE[/DEVICE]"
ASK_AGAIN_S = 60.0
NODES_MOST = 1000


class Known:
    """What is known of a node, or of a device: names and kinds of its aliases, and the newest values."""

    def __init__(self, features: Iterable[str]) -> None:
        """`features`: names of the metrics whose values are kept; a node may make up others without end."""
        self._features = frozenset(features)
        self.born = False
        self.aliases: dict[int, tuple[str, int]] = {}
        self.kinds: dict[str, int] = {}
        self.values: dict[str, Value] = {}
        self.before: dict[str, Value] = {}
        """As they were at the last death; historical ones take that further."""

    def birth(self, metrics: Iterable[Metric]) -> None:
        for kept in (self.aliases, self.kinds, self.values):
            kept.clear()
        self.born = True
        for metric in metrics:
            self.kinds[metric.name] = metric.datatype
            if metric.alias is not None:
                self.aliases[metric.alias] = metric.name, metric.datatype
            if metric.known and metric.name in self._features:
                self.values[metric.name] = metric.value

    def death(self) -> None:
        if self.born:
            self.born, self.before = False, dict(self.values)

    def data(self, metrics: Sequence[Metric]) -> dict[str, Value] | None:
        """The values of which a row is made; None where there was no birth, or a metric is none of it."""
        if not self.born:
            return None
        for metric in metrics:
            name, kind = metric.name, metric.datatype
            if metric.alias is not None and not name:
                if metric.alias not in self.aliases:
                    return None
                name, kind = self.aliases[metric.alias]
            if not kind:
                kind = self.kinds.get(name, 0)
            if metric.known and name in self._features:
                (self.before if metric.historical else self.values)[name] = sparkplug.value_of(metric.value, kind)
        return self.before if metrics and all(metric.historical for metric in metrics) else self.values


class SparkplugSource:
    """Belongs to the thread that reads."""

    live = False
    repeats = True

    def __init__(self, inner: MqttSource, session: MqttSession, context: SourceContext) -> None:
        self.loop: Loop = inner.loop
        self._inner = inner
        self._session = session
        self._clock = context.clock
        self._count = context.count
        self._features = context.features
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._asked_ns: dict[str, int] = {}

    def remember(self, origins: Iterable[bytes]) -> None:
        self._inner.remember(origins)

    def open(self) -> None:
        self._inner.open()

    def read(self, timeout_s: float) -> Sample | None:
        ends_ns = self._clock.monotonic_ns() + int(timeout_s * SECOND_NS)
        while True:
            left_s = max(0, ends_ns - self._clock.monotonic_ns()) / SECOND_NS
            came = self._inner.read(left_s)
            if came is None or came.unkept:  # refused for its size
                return came
            try:
                row = self._take(came.source.removeprefix("mqtt:").split("/"), came.payload)
            except SampleError:
                self._inner.ack(came)
                raise
            if row is not None:
                return replace(came, payload=row)
            self._inner.ack(came)

    def ack(self, sample: Sample) -> None:
        self._inner.ack(sample)

    def close(self) -> None:
        self._inner.close()

    def _take(self, levels: list[str], data: bytes) -> dict[str, Value] | None:
        """Raises SampleError for a message that is none of Sparkplug."""
        if len(levels) < 4:
            return None
        group, kind, node = levels[1], levels[2], levels[3]
        known = self._of("/".join((group, *levels[3:])))
        if kind.endswith("DEATH"):
            known.death()
            if kind == "NDEATH":
                self._forget(f"{group}/{node}")
            return None
        said: Payload = sparkplug.decode(data)
        if kind.endswith("BIRTH"):
            known.birth(said.metrics)
            return None
        values = known.data(said.metrics)
        if values is None:
            self._count("dropped:sparkplug-unborn")
            self._ask(group, node)
            return None
        row = {name: values[name] for name in self._features if name in values}
        if not row:
            there = ", ".join(repr(name) for name in list(known.kinds)[:6])
            raise SampleError(f"no metric of {'/'.join(levels)} is a feature of the model; it has {there}")
        return row

    def _of(self, name: str) -> Known:
        if name not in self._known and len(self._known) >= NODES_MOST:
            self._known.popitem(last=False)
        known = self._known.setdefault(name, Known(self._features))
        self._known.move_to_end(name)
        return known

    def _forget(self, node: str) -> None:
        """A node that dies takes its devices with it."""
        for name, known in self._known.items():
            if name == node or name.startswith(f"{node}/"):
                known.death()

    def _ask(self, group: str, node: str) -> None:
        """For a birth, once a minute."""
        now, name = self._clock.monotonic_ns(), f"{group}/{node}"
        if now - self._asked_ns.get(name, -int(ASK_AGAIN_S * SECOND_NS)) < ASK_AGAIN_S * SECOND_NS:
            return
        if len(self._asked_ns) >= NODES_MOST:
            self._asked_ns.clear()
        self._asked_ns[name] = now
        log.info("data of a node whose birth was not heard: it is asked for a rebirth", extra={"node": name})
        ms = self._clock.time_ns() // 1_000_000
        data = sparkplug.encode(Payload(ms, [Metric(REBIRTH, True, BOOLEAN, timestamp=ms)]))
        topic = f"{NAMESPACE}/{group}/NCMD/{node}"
        self._session.post(Outgoing(topic, data, qos=0))  # [tck-id-payloads-ncmd-qos]


def filters(rest: str) -> list[str]:
    """Those of group, node and maybe a device; a + stands for any. Raises ConfigError."""
    said = f"--source sparkplug:{rest}"
    levels = rest.split("/")
    wrong = any(not level or "#" in level or ("+" in level and level != "+") for level in levels)
    if wrong or not 2 <= len(levels) <= 3:
        raise ConfigError(f"{said}: group, node and maybe a device belong there, or + for any of one; say {USAGE}")
    group, node, *device = levels
    own = [f"D{kind}/{node}/{device[0]}" if device else f"N{kind}/{node}" for kind in ("BIRTH", "DATA", "DEATH")]
    return [f"{NAMESPACE}/{group}/{one}" for one in (*own, *([f"NDEATH/{node}"] if device else []))]


def create(rest: str, context: SourceContext) -> SparkplugSource:
    """`rest`: see `filters`. Raises ConfigError."""
    said, topics = f"--source sparkplug:{rest}", filters(rest)
    if not isinstance(context.transport, MqttSession):
        raise ConfigError(f"{said} needs a broker, but --mqtt is none; name one with --mqtt mqtt://host")
    if not context.features:
        raise ConfigError(f"{said}: metrics have names, and the features of this model have none; say mqtt:TOPIC")
    sparkplug.check()
    return SparkplugSource(MqttSource(context.transport, topics, context), context.transport, context)


SOURCE = SourceInfo(
    edge_api=1, create=create, usage=USAGE, gives="readings", ongoing=True, packages=("protobuf",),
    fix="does that node publish? mosquitto_sub -v -t 'spBv1.0/#'",
)  # fmt: skip
