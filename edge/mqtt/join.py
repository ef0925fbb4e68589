"""Topics joined into rows: of each feature the newest value counts, while it is not too old.

Where topics have a +, what stands in its place is the device: values of one device make its rows, and those of topics
without a + belong to all. A value is kept in memory and acknowledged at once; a message that makes a row is
acknowledged when the row's result is safe. So after a crash a row waits until each value has come again.

What is not there is told once for each device, until a value comes: what never came after a while, what is too old at
once. Rows that it hinders are counted.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from edge.data.codec import decode_json
from edge.data.join import JoinedFeature, JoinRules, check_names
from edge.data.sample import Sample
from edge.data.units import SECOND_NS
from edge.errors import SampleError
from edge.mqtt.source import MqttSource
from edge.plugins.contexts import SourceContext
from edge.plugins.protocols import Loop

log = logging.getLogger("edge.mqtt")

DEVICES_MOST = 1000
"""So many devices are remembered; one that was silent for longest is forgotten first."""
LOOK_S = 60.0
"""How long a first value is waited for, and how often it is looked for, where none is ever too old."""
TEXT_MOST = 1000
"""Characters of a value."""

Row: TypeAlias = dict[str, object] | list[object]


class Value(msgspec.Struct, frozen=True):
    """`came_ns` is monotonic."""

    value: object
    came_ns: int
    retained: bool


class Device:
    """The newest values of one device since it was first heard of, and which of its features were told to be
    missing."""

    def __init__(self, levels: tuple[str, ...], since_ns: int) -> None:
        self.levels = levels
        self.since_ns = since_ns
        self.values: dict[str, Value] = {}
        self.told: set[str] = set()


class Join:
    """Belongs to the thread that reads."""

    def __init__(self, rules: JoinRules, now_ns: int, *, texts: Iterable[str] = (), named: bool = True) -> None:
        """`texts`: features whose values are text. `named`: rows are by name, else in the order of the features."""
        self._rules = rules
        self.patience_s = rules.max_age_s or LOOK_S
        """How long a first value is waited for before that is told."""
        self._named = named
        self._texts = frozenset(texts)
        self._by_device = any(_is_wild(feature) for feature in rules.features)
        self._shared = Device((), now_ns)
        self._devices: OrderedDict[tuple[str, ...], Device] = OrderedDict()
        if not self._by_device:
            self._devices[()] = self._shared
        first = next((f for f in rules.features if f.name == rules.trigger), None)
        self._place = first or next((f for f in rules.features if _is_wild(f)), rules.features[0])
        self._told_silent = self._told_full = False

    def take(self, topic: str, payload: bytes, now_ns: int, *, retained: bool) -> tuple[Device | None, str]:
        """Remembers what came; the device, where that makes a row, and why what came is no value of a feature, ""
        where it is of all that ask for it."""
        made: Device | None = None
        wrong: dict[str, list[str]] = {}
        for feature in self._rules.features:
            levels = _levels(feature.topic, topic)
            if levels is None:
                continue
            device = self._device(levels, now_ns) if _is_wild(feature) else self._shared
            try:
                value = self._value(feature, payload)
            except SampleError as exc:  # another feature may well find its own in the same message
                wrong.setdefault(str(exc), []).append(repr(feature.name))
                continue
            device.values[feature.name] = Value(value, now_ns, retained)
            for one in self._devices.values() if device is self._shared else (device,):
                one.told.discard(feature.name)
            if self._triggers(feature):
                made = device
        return made, "; ".join(f"join: {', '.join(names)} of {topic}: {why}" for why, names in wrong.items())

    def devices(self) -> list[Device]:
        return list(self._devices.values())

    def row(self, device: Device, now_ns: int) -> tuple[Row, bool] | None:
        """The row, and whether the broker had retained one of its values; None where something is not there that has
        to be."""
        values = [self._fresh(device, feature, now_ns) for feature in self._rules.features]
        there = [value for value in values if value is not None]
        if not there or (len(there) < len(values) and not self._rules.partial):
            return None
        retained = any(value.retained for value in there)
        named = {f.name: v.value for f, v in zip(self._rules.features, values, strict=True) if v is not None}
        return (named if self._named else [None if v is None else v.value for v in values]), retained

    def missing(self, device: Device, now_ns: int, *, at_once: bool = False) -> str:
        """What is not there and was not told yet; "" where there is no such thing. `at_once`: what never came is not
        waited for."""
        waits = not at_once and now_ns - device.since_ns < self.patience_s * SECOND_NS
        gone = [
            f
            for f in self._rules.features
            if self._fresh(device, f, now_ns) is None and not (waits and f.name not in self._of(device, f).values)
        ]
        if {f.name for f in gone} <= device.told:
            return ""
        device.told |= {f.name for f in gone}
        said = ", ".join(self._gone(device, f, now_ns) for f in gone)
        return f"join: no row for {_filled(self._place.topic, device.levels)} as {said}; does something publish there?"

    def silent(self) -> str:
        """No device at all has come; "" where one has, or that was told."""
        if self._devices or self._told_silent:
            return ""
        self._told_silent = True
        return (
            f"join: nothing came on {', '.join(f.topic for f in self._rules.features)}; does something publish there?"
        )

    def source(self, device: Device) -> str:
        """What rows of a device come from: the topic of the trigger, else of the first feature with a +, else of the
        first."""
        return f"mqtt:{_filled(self._place.topic, device.levels)}"

    def _triggers(self, feature: JoinedFeature) -> bool:
        if self._rules.interval_s or (self._by_device and not _is_wild(feature)):
            return False
        return self._rules.trigger in ("", feature.name)

    def _device(self, levels: tuple[str, ...], now_ns: int) -> Device:
        device = self._devices.get(levels)
        if device is None:
            if len(self._devices) >= DEVICES_MOST:
                self._devices.popitem(last=False)
                if not self._told_full:
                    log.warning("join: more devices than are remembered", extra={"devices": DEVICES_MOST})
                self._told_full = True
            device = self._devices[levels] = Device(levels, now_ns)
        self._devices.move_to_end(levels)
        return device

    def _of(self, device: Device, feature: JoinedFeature) -> Device:
        """What holds the values of a feature."""
        return device if _is_wild(feature) else self._shared

    def _fresh(self, device: Device, feature: JoinedFeature, now_ns: int) -> Value | None:
        value = self._of(device, feature).values.get(feature.name)
        return None if value is None or self._is_old(value, now_ns) else value

    def _is_old(self, value: Value, now_ns: int) -> bool:
        return self._rules.max_age_s > 0 and now_ns - value.came_ns > self._rules.max_age_s * SECOND_NS

    def _gone(self, device: Device, feature: JoinedFeature, now_ns: int) -> str:
        topic = _filled(feature.topic, device.levels)
        if feature.name not in self._of(device, feature).values:
            return f"{feature.name!r} never came ({topic})"
        return f"{feature.name!r} is older than {self._rules.max_age_s:g} s, the maximum age ({topic})"

    def _value(self, feature: JoinedFeature, payload: bytes) -> object:
        """A value of JSON, or text that is none: a sensor's state may be either. Raises SampleError."""
        try:
            if feature.path is not None:
                value = feature.path.pick(decode_json(payload))
            else:
                text = payload.decode("utf-8-sig").strip()
                if not text or len(text) > TEXT_MOST:
                    raise SampleError(f"{len(text)} characters where one value belongs")
                value = text if feature.name in self._texts and text[0] != '"' else _json_or_text(text)
            if isinstance(value, dict | list):
                kind = "an object" if isinstance(value, dict) else "a list"
                raise SampleError(f"{kind} where one value belongs; name the place of the value in it by a path")
            return value
        except UnicodeDecodeError:
            raise SampleError("it is no text") from None


class JoinSource:
    """`edge.mqtt.source`, and rows in place of what comes there. Its thread is that which reads."""

    live = False
    repeats = True

    def __init__(self, inner: MqttSource, join: Join, context: SourceContext, *, interval_s: float) -> None:
        """`interval_s`: 0 where messages make rows."""
        self.loop: Loop = inner.loop
        self._inner = inner
        self._join = join
        self._clock = context.clock
        self._count: Callable[[str], None] = context.count
        self._look_ns = int(join.patience_s * SECOND_NS)
        self._every_ns = int(interval_s * SECOND_NS)
        self._looks_ns = self._due_ns = 0
        self._ready: deque[Sample | str] = deque()
        """Rows of a turn of the clock, and what is not there."""

    def remember(self, origins: Iterable[bytes]) -> None:
        self._inner.remember(origins)

    def open(self) -> None:
        self._inner.open()
        now = self._clock.monotonic_ns()
        self._looks_ns, self._due_ns = now + self._look_ns, now + self._every_ns

    def read(self, timeout_s: float) -> Sample | None:
        ends_ns = self._clock.monotonic_ns() + int(timeout_s * SECOND_NS)
        while True:
            now = self._clock.monotonic_ns()
            self._turn(now)
            if self._ready:
                return _given(self._ready.popleft())
            due_ns = min(ends_ns, self._looks_ns, *((self._due_ns,) if self._every_ns else ()))
            came = self._inner.read(max(0, due_ns - now) / SECOND_NS)
            if came is not None and (made := self._take(came)) is not None:
                return made
            if came is None and self._clock.monotonic_ns() >= ends_ns:
                return None

    def ack(self, sample: Sample) -> None:
        self._inner.ack(sample)

    def close(self) -> None:
        self._inner.close()

    def _take(self, came: Sample) -> Sample | None:
        """A row, where a message makes one. Raises SampleError for a value that is none, and for what is missing the
        first time."""
        if came.unkept:  # refused for its size
            return came
        now = self._clock.monotonic_ns()
        topic = came.source.removeprefix("mqtt:")
        device, wrong = self._join.take(topic, came.payload, now, retained=came.retained)
        if device is None:
            self._inner.ack(came)
            if wrong:
                raise SampleError(wrong)
            return None
        # A message that comes again was to be part of a row before a restart, and is no part of any now.
        found, missing = self._join.row(device, now), self._join.missing(device, now, at_once=came.redelivered)
        reason = "; ".join(said for said in (wrong, missing) if said)
        if found is None:
            self._count("dropped:join")
            self._inner.ack(came)
            if reason:
                raise SampleError(reason)
            return None
        if reason:
            self._ready.append(reason)
        row, retained = found
        return replace(came, payload=row, source=self._join.source(device), retained=retained)

    def _turn(self, now: int) -> None:
        if self._every_ns and now >= self._due_ns and not self._ready:  # a slow model would be behind for ever
            self._due_ns = max(self._due_ns + self._every_ns, now)
            self._ready.extend(self._rows(now))
        if now >= self._looks_ns:
            self._looks_ns = now + self._look_ns
            said = [self._join.silent(), *(self._join.missing(device, now) for device in self._join.devices())]
            self._ready.extend(reason for reason in said if reason)

    def _rows(self, now: int) -> Iterator[Sample | str]:
        """One of each device."""
        for device in self._join.devices():
            if not device.values and device.levels:
                continue
            found, reason = self._join.row(device, now), self._join.missing(device, now)
            if reason:
                yield reason
            if found is None:
                self._count("dropped:join")
            else:
                row, retained = found
                yield Sample(row, self._join.source(device), now, self._clock.time_ns(), retained=retained)


def check(rules: JoinRules, known: Sequence[str]) -> None:
    """`known`: the model's features; none where it takes values in their order. Raises ConfigError."""
    check_names("--join {}=...", [feature.name for feature in rules.features], known, partial=rules.partial)


def create(rules: JoinRules, context: SourceContext) -> JoinSource:
    """Raises ConfigError where the features are not the model's."""
    check(rules, context.features)
    kinds = zip(context.features, context.feature_kinds, strict=False)
    texts = [name for name, kind in kinds if kind == "text"]
    join = Join(rules, context.clock.monotonic_ns(), texts=texts, named=bool(context.features))
    topics = tuple(dict.fromkeys(feature.topic for feature in rules.features))
    # What was known is not kept over a restart, and a state that seldom changes would be waited for as long.
    inner = MqttSource(context.transport, topics, context, retained_again=True)
    return JoinSource(inner, join, context, interval_s=rules.interval_s)


def _given(item: Sample | str) -> Sample:
    if isinstance(item, str):
        raise SampleError(item)
    return item


def _is_wild(feature: JoinedFeature) -> bool:
    return "+" in feature.topic.split("/")


def _levels(pattern: str, topic: str) -> tuple[str, ...] | None:
    """What stands for each + of a filter; None where it does not ask for the topic."""
    wanted, there = pattern.split("/"), topic.split("/")
    if len(wanted) != len(there) or any(w not in ("+", t) for w, t in zip(wanted, there, strict=True)):
        return None
    return tuple(t for w, t in zip(wanted, there, strict=True) if w == "+")


def _filled(pattern: str, levels: tuple[str, ...]) -> str:
    left = iter(levels)
    return "/".join(next(left, "+") if level == "+" else level for level in pattern.split("/"))


def _json_or_text(text: str) -> object:
    try:
        return decode_json(text)
    except SampleError:
        return text
