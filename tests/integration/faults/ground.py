"""The ground the faults happen on: broker, proxies, disk, the service and the two ends that keep the accounts."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from urllib.parse import quote

import paho.mqtt.client as paho
from integration.faults.brokers import BROKERS, CLIENT_ID
from integration.faults.disk import Disk
from integration.faults.ends import Publisher, Subscriber
from integration.faults.model import write_model
from integration.faults.proxy import Proxy
from integration.faults.service import Service
from paho.mqtt.enums import CallbackAPIVersion

BASE = "edge/d/m"
LAY_S = 30.0
"""So long an acknowledged input may lie in a session: longer than some faults on end last, as it stays there until
edge-run has acknowledged it."""


class Ground:
    """`edge-run` reaches the broker through `link`; the two ends through proxies of their own, that only hold."""

    def __init__(self, place: Path, durability: str, source: str | None = None, broker: str = "mosquitto") -> None:
        self.place = place
        self.broker = BROKERS[broker](place / "broker")
        self.link = Proxy(self.broker.port)
        self.ends = [Proxy(self.broker.port), Proxy(self.broker.port)]
        self.disk = Disk(place)
        self._durability = durability
        self._source = source
        self._lock: sqlite3.Connection | None = None

    bases = (BASE,)
    """Of the topics whose results are counted together."""

    def topic(self, number: int) -> str:
        """Where an input goes."""
        return f"{BASE}/input"

    def open(self) -> None:
        """All is up, and the sessions are saved, so that no killed broker forgets who listens."""
        self.broker.start()
        for proxy in (self.link, *self.ends):
            proxy.start()
        model = self.place / "m.onnx"
        write_model(model)
        self.service = Service(self._arguments(model), self.disk.environment, self.place / "edge-run.log")
        self.publisher = Publisher(self.ends[0].port, self.topic, self.broker.login, five=self.broker.five)
        self.subscriber = Subscriber(self.ends[1].port, *self.bases, login=self.broker.login)
        self.subscriber.start()

    def _arguments(self, model: Path) -> list[str]:
        login = "" if self.broker.login is None else ":".join(map(quote, self.broker.login)) + "@"
        arguments = [
            *("--model", str(model), "--mqtt", f"mqtt://{login}127.0.0.1:{self.link.port}"),
            *("--device", "d", "--name", "m", "--mqtt-client-id", CLIENT_ID),
            *("--state-dir", str(self.disk.folder / "state"), "--durability", self._durability),
            # Times that fit faults of a second or two.
            *("--keepalive", "2", "--confirm-timeout", "2", "--stats-interval", "0.2", "--grace", "1"),
        ]
        if self.broker.five:
            # Else a life that finds the broker down may take 3.1.1 for its version: there nobody can ask.
            arguments += ["--mqtt-version", "5"]
        return [*arguments, *(("--source", self._source) if self._source else ())]

    def owed(self) -> set[int]:
        """What has to come: all that was acknowledged but for what a broker lost with a session that it ended itself.

        That is what lay in it, and what it says that nobody subscribed to, until edge-run was there again.
        """
        publisher, ends = self.publisher, self.broker.forgot()
        if not ends:
            return set(publisher.acknowledged)
        since, until = publisher.published_at, publisher.acknowledged_at
        acknowledged = set(publisher.acknowledged)
        lay = {n for n in acknowledged if any(since[n] <= end < until[n] + LAY_S for end in ends)}
        return acknowledged - lay - publisher.unheard

    def kill_broker(self) -> None:
        """SIGKILL in the middle of the traffic, of a broker that keeps what it acknowledged.

        mosquitto keeps it in memory between two saves, so killing it as it is would show what mosquitto loses. Every
        connection is held, mosquitto saves what it has read, and is killed: what was under way is gone, and what
        it had acknowledged to anybody is not.
        """
        proxies = (self.link, *self.ends)
        for proxy in proxies:
            proxy.hold()
        self.broker.save()
        self.broker.kill()
        for proxy in proxies:
            proxy.cut()
            proxy.release()

    def intrude(self) -> None:
        """Another client of the same id takes the session over, and whatever it is sent, without acknowledging it."""
        self._intruder = paho.Client(
            CallbackAPIVersion.VERSION2, CLIENT_ID, clean_session=False, protocol=paho.MQTTv311, manual_ack=True
        )
        if self.broker.login is not None:
            self._intruder.username_pw_set(*self.broker.login)
        with contextlib.suppress(OSError):
            self._intruder.connect("127.0.0.1", self.broker.port, keepalive=5)
            self._intruder.loop_start()

    def expel(self) -> None:
        """It is gone."""
        self._intruder.disconnect()
        self._intruder.loop_stop()

    def lock_state(self) -> None:
        """A life that finds its spool locked by another process."""
        self.service.kill()
        spool = self.disk.folder / "state" / "d.m.mqtt.spool"
        if spool.exists():
            self._lock = sqlite3.connect(spool, isolation_level=None, timeout=5.0)
            with contextlib.suppress(sqlite3.OperationalError):  # the disk is full as well
                self._lock.execute("BEGIN EXCLUSIVE")
        self.service.start()

    def unlock_state(self) -> None:
        if self._lock is not None:
            self._lock.rollback()  # does nothing where there was no BEGIN
            self._lock.close()
            self._lock = None

    def start_read_only(self) -> None:
        """A life that finds its state folder on a disk that takes nothing."""
        self.service.kill()
        self.disk.make_read_only()
        self.service.start()

    def close(self) -> None:
        for closing in (self.service.kill, self.publisher.close, self.subscriber.close):
            closing()
        for proxy in (self.link, *self.ends):
            proxy.stop()
        self.broker.close()
        self.disk.close()
