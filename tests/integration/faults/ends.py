"""The two ends that keep the accounts: who publishes numbered inputs, and who collects results."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as paho
from integration.faults.waiting import wait_until
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

NO_SUBSCRIBERS = 0x10
"""A reason code of PUBACK."""
ASKER = "asker/of/results"
EQUAL = 5
"""So many inputs in a row, of each second such row, are equal and have no id."""


def row(number: int) -> dict[str, Any]:
    """Input `number`; the model answers `a + 2 b`."""
    return {"id": number, "a": number % 1000, "b": number % 7}


def input_of(number: int) -> dict[str, Any]:
    """What the publisher sends: rows of equal inputs between rows of different ones."""
    return {"a": group_of(number), "b": 0} if group_of(number) is not None else row(number)


def group_of(number: int) -> int | None:
    """Which row of equal inputs it belongs to; None for one of those that differ."""
    group = number // EQUAL
    return group if group % 2 else None


def asked(number: int) -> bool:
    """Whether it has a Response Topic, where the broker speaks MQTT 5."""
    return number % 4 == 2 and group_of(number) is None


def expected(number: int) -> float:
    """What the model answers to it."""
    return number % 1000 + 2 * (number % 7)


def _client(name: str, login: tuple[str, str] | None, *, five: bool) -> paho.Client:
    if five:
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=paho.MQTTv5)
    else:
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=False, protocol=paho.MQTTv311)
    client.reconnect_delay_set(0.1, 0.5)
    if login is not None:
        client.username_pw_set(*login)
    return client


class _End:
    def __init__(self, name: str, port: int, login: tuple[str, str] | None, *, five: bool = False) -> None:
        self._port = port
        self._five = five
        self._client = _client(name, login, five=five)
        self._lock = threading.Lock()

    def _connect(self) -> None:
        if self._five:
            kept = Properties(PacketTypes.CONNECT)
            kept.SessionExpiryInterval = 3600
            self._client.connect("127.0.0.1", self._port, keepalive=5, clean_start=False, properties=kept)
        else:
            self._client.connect("127.0.0.1", self._port, keepalive=5)
        self._client.loop_start()

    def say(self, topic: str, payload: str) -> None:
        """Of no account."""
        self._client.publish(topic, payload, qos=1)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Publisher(_End):
    """Publishes at QoS 1 and again until the broker acknowledges: paho keeps what was not, over reconnects."""

    def __init__(
        self, port: int, topic: Callable[[int], str], login: tuple[str, str] | None = None, *, five: bool = False
    ) -> None:
        """`topic` is that of an input, by its number. `five`: with MQTT 5, and some inputs with a Response Topic."""
        super().__init__("publisher", port, login, five=five)
        self._topic = topic
        self._numbers: dict[int, int] = {}
        self._early: dict[int, int] = {}
        """Acknowledged before `publish` returned: packet identifier to reason code."""
        self.acknowledged: set[int] = set()
        self.published_at: dict[int, float] = {}
        self.acknowledged_at: dict[int, float] = {}
        """In seconds since 1970, both."""
        self.unheard: set[int] = set()
        """Those of which a broker of MQTT 5 said that nobody subscribes to them."""
        self.published = 0
        self._client.on_publish = self._on_publish
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, per_second: float) -> None:
        """Publishes on and on, at most 200 ahead of what is acknowledged."""
        self._connect()
        self._thread = threading.Thread(target=self._run, args=(1 / per_second,), name="publisher")
        self._thread.start()

    def finish(self, timeout_s: float) -> None:
        """Publishes no more and waits until all is acknowledged."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        wait_until("the broker acknowledges all inputs", lambda: len(self.acknowledged) == self.published, timeout_s)

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        super().close()

    def _run(self, interval_s: float) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due = max(due + interval_s, time.monotonic() - 0.1)
            if self.published - len(self.acknowledged) < 200:
                self._publish(self.published + 1)

    def _publish(self, number: int) -> None:
        question: Properties | None = None
        if self._five and asked(number):
            question = Properties(PacketTypes.PUBLISH)
            question.ResponseTopic, question.CorrelationData = ASKER, str(number).encode()
        self.published_at[number] = time.time()
        info = self._client.publish(self._topic(number), json.dumps(input_of(number)), qos=1, properties=question)
        with self._lock:
            self.published = number
            if info.mid in self._early:
                self._take(number, self._early.pop(info.mid))
            else:
                self._numbers[info.mid] = number

    def _on_publish(self, client: Any, userdata: Any, mid: int, reason: Any, properties: Any) -> None:
        with self._lock:
            number = self._numbers.pop(mid, None)
            if number is None:
                self._early[mid] = reason.value
            else:
                self._take(number, reason.value)

    def _take(self, number: int, reason: int) -> None:
        self.acknowledged_at[number] = time.time()
        self.acknowledged.add(number)
        if reason == NO_SUBSCRIBERS:
            self.unheard.add(number)


class Subscriber(_End):
    """A persistent session at QoS 1; keeps every result and error that came, and each boot's last `stats`."""

    def __init__(self, port: int, *bases: str, login: tuple[str, str] | None = None, name: str = "subscriber") -> None:
        super().__init__(name, port, login)
        self._bases = bases
        self._subscribed = threading.Event()
        self.copies: Counter[str] = Counter()
        self.ids_by_input: dict[int, set[str]] = {}
        self.ids_by_group: dict[int, set[str]] = {}
        self.answers: set[int] = set()
        self.wrong: list[str] = []
        self.errors: list[str] = []
        self.order: list[tuple[str, int]] = []
        self.stats: dict[str, dict[str, Any]] = {}
        self.replayed = 0
        self._lowest: dict[str, int] = {}
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message

    def start(self) -> None:
        self._connect()
        assert self._subscribed.wait(150), "the broker does not answer the subscription"

    @property
    def answered(self) -> set[int]:
        """Inputs that have a result."""
        with self._lock:
            return set(self.ids_by_input)

    def unanswered(self, owed: set[int]) -> list[int]:
        """Of these inputs, those that asked and have no answer."""
        with self._lock:
            return sorted(n for n in owed if asked(n) and n not in self.answers)

    def lacking(self, owed: set[int]) -> list[int]:
        """Of these inputs, those without a result; of equal ones as many as there are results too few."""
        groups = Counter(group for n in owed if (group := group_of(n)) is not None)
        with self._lock:
            few = [g * EQUAL for g, count in groups.items() for _ in range(count - len(self.ids_by_group.get(g, ())))]
            return sorted(few + [n for n in owed if group_of(n) is None and n not in self.ids_by_input])

    def reports(self) -> list[tuple[str, int, int | None]]:
        """By boot: lines reported as taken, and the lowest input that a result of it names."""
        with self._lock:
            return [(boot, s["safe"], self._lowest.get(boot)) for boot, s in self.stats.items()]

    def _on_connect(self, client: paho.Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        topics = (f"{base}/{kind}" for base in self._bases for kind in ("result", "error", "stats"))
        client.subscribe([(ASKER, 1), *((topic, 1) for topic in topics)])

    def _on_message(self, client: Any, userdata: Any, message: paho.MQTTMessage) -> None:
        heard = json.loads(message.payload)
        kind = message.topic.rpartition("/")[2]
        with self._lock:
            if kind == "stats":
                self.stats[heard["boot"]] = heard
            elif message.topic == ASKER:
                self.answers.add(heard["input_id"])
            elif kind == "error":
                self.errors.append(heard["reason"])
            else:
                for one in heard if isinstance(heard, list) else [heard]:  # EDGE_BATCH=16 make test-faults
                    self._result(one)

    def _result(self, heard: dict[str, Any]) -> None:
        self.copies[heard["id"]] += 1
        value = heard["predictions"][0]["value"]
        number = heard.get("input_id")
        if number is None:
            self.ids_by_group.setdefault(round(value), set()).add(heard["id"])
        else:
            self.ids_by_input.setdefault(number, set()).add(heard["id"])
        self.replayed += bool(heard.get("replayed"))
        boot = heard["id"].split("/")[2]
        if number is not None:
            self._lowest[boot] = min(number, self._lowest.get(boot, number))
        if self.copies[heard["id"]] == 1:
            self.order.append((boot, heard["seq"]))
        if number is not None and abs(value - expected(number)) > 0.01:
            self.wrong.append(f"input {number}: {value} instead of {expected(number)}")
