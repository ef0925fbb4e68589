"""The ground the faults happen on: broker, proxies, disk, the service and the two ends that keep the accounts."""

from __future__ import annotations

from pathlib import Path

from integration.faults.broker import Broker
from integration.faults.disk import Disk
from integration.faults.ends import Publisher, Subscriber
from integration.faults.model import write_model
from integration.faults.proxy import Proxy
from integration.faults.service import Service

BASE = "edge/d/m"


class Ground:
    """`edge-run` reaches the broker through `link`; the two ends through proxies of their own, that only hold."""

    def __init__(self, place: Path, durability: str, source: str | None = None) -> None:
        self.place = place
        self.broker = Broker(place / "broker")
        self.link = Proxy(self.broker.port)
        self.ends = [Proxy(self.broker.port), Proxy(self.broker.port)]
        self.disk = Disk(place)
        self._durability = durability
        self._source = source
        self._closing: list[object] = []

    def open(self) -> None:
        """All is up, and the sessions are saved, so that no killed broker forgets who listens."""
        self.broker.start()
        for proxy in (self.link, *self.ends):
            proxy.start()
        model = self.place / "m.onnx"
        write_model(model)
        self.service = Service(self._arguments(model), self.disk.environment, self.place / "edge-run.log")
        self.publisher = Publisher(self.ends[0].port, f"{BASE}/input")
        self.subscriber = Subscriber(self.ends[1].port, BASE)
        self.subscriber.start()

    def _arguments(self, model: Path) -> list[str]:
        arguments = [
            *("--model", str(model), "--mqtt", f"mqtt://127.0.0.1:{self.link.port}", "--device", "d", "--name", "m"),
            *("--state-dir", str(self.disk.folder / "state"), "--durability", self._durability),
            # Times that fit faults of a second or two.
            *("--keepalive", "2", "--confirm-timeout", "2", "--stats-interval", "0.2", "--grace", "1"),
        ]
        return [*arguments, *(("--source", self._source) if self._source else ())]

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

    def close(self) -> None:
        for closing in (self.service.kill, self.publisher.close, self.subscriber.close):
            closing()
        for proxy in (self.link, *self.ends):
            proxy.stop()
        self.broker.close()
        self.disk.close()
