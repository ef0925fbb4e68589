"""Simulated devices: state machine, gates of the watch, choice of a release and trust are edge-run's own; engine, disk
and samples are not.

Each device has a TCP connection to the broker, and asks the web server for each file itself. What is shared is the work
behind equal bytes: of devices that trust the same metadata and are answered with the same bytes, the first one has tuf
verify them, and the others take its verdict. What is chosen of that is each device's own.
"""

from __future__ import annotations

import hashlib
import heapq
import http.client
import json
import random
import select
import shutil
import socket
import struct
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from tuf.api.exceptions import DownloadHTTPError

from edge.updates import fetch, gates, release, state, trust
from edge.updates.order import Order
from edge.updates.release import Release
from edge.updates.state import Slot, State

TOPIC = "edge/_updates/m/announce"


class Site(msgspec.Struct, frozen=True):
    """What a worker is given. `watch_s`: how long a new model is watched."""

    web: str
    mqtt: int
    root: str
    folder: str
    first: int
    count: int
    watch_s: float
    bad: str
    spread_s: float
    """As `FIRST_S` of the agent: devices that hear an announcement ask spread over this."""


class Web:
    """One kept connection, counted, for all devices of a worker: to open one each is the operating system's work."""

    def __init__(self, url: str) -> None:
        self.base = url
        self._connection = http.client.HTTPConnection(urlsplit(url).hostname or "", urlsplit(url).port or 80)
        self.requests = self.body = 0

    def get(self, path: str) -> tuple[int, bytes]:
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        body = answer.read()
        self.requests += 1
        self.body += len(body) if answer.status == 200 else 0
        return answer.status, body if answer.status == 200 else b""


class Recorder:
    """A `Fetcher` of edge-run that writes down what was asked and answered."""

    def __init__(self, web: Web) -> None:
        self._web = web
        self.seen: list[tuple[str, int, bytes]] = []

    def pieces(self, url: str, start: int) -> Any:
        path = urlsplit(url).path
        status, body = self._web.get(path)
        self.seen.append((path, status, body))
        if status != 200:
            raise DownloadHTTPError(url, status)
        return 0, iter((body,))

    def close(self) -> None:
        """Nothing is held."""


class Verdict(msgspec.Struct):
    """What tuf made of some bytes, on top of what was trusted before."""

    seen: list[tuple[str, int, bytes]]
    after: str
    fault: str
    reason: str
    releases: tuple[Release, ...]


class Device(msgspec.Struct):
    name: str
    socket: socket.socket | None = None
    state: State = State()
    running: Slot = Slot("", "0")
    trusted: str = "nothing"
    fault: str = ""
    watched_from: float = 0.0
    before: str = ""


class Worker:
    """Some of the devices, in one process and one thread."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.web = Web(site.web)
        self.poll = select.epoll()
        self.devices = [Device(f"d{i:05}") for i in range(site.first, site.first + site.count)]
        self.by_fd: dict[int, Device] = {}
        self.due: list[tuple[float, int, str]] = []
        self.verdicts: dict[str, list[Verdict]] = {}
        self.sent = self.sent_bytes = self.verified = 0
        self.took: Counter[str] = Counter()

    # --- the broker ---------------------------------------------------------------------------------

    def connect(self, device: Device) -> None:
        sock = socket.create_connection(("127.0.0.1", self.site.mqtt))
        name = device.name.encode()
        head = b"\x00\x04MQTT\x04\x02\x00\x00" + struct.pack("!H", len(name)) + name
        wanted = struct.pack("!HH", 1, len(TOPIC)) + TOPIC.encode() + b"\x00"
        sock.sendall(bytes((0x10, len(head))) + head + bytes((0x82, len(wanted))) + wanted)
        device.socket = sock
        self.by_fd[sock.fileno()] = device
        self.poll.register(sock.fileno(), select.EPOLLIN)

    def leave(self, device: Device) -> None:
        assert device.socket is not None
        self.poll.unregister(device.socket.fileno())
        del self.by_fd[device.socket.fileno()]
        device.socket.close()
        device.socket = None

    def tell(self, device: Device) -> None:
        """As the topic `update` does."""
        now = device.state
        told = {
            "state": now.phase, "from": device.before or device.running.version,
            "to": now.candidate.version if now.candidate else now.gone_back_from if now.phase == "rolled-back" else "",
            "latest": "", "waiting": False, "percent": None, "notes": "", "reason": now.reason or device.fault,
            "since": "2026-01-01T00:00:00.000000Z",
            "running": {"version": device.running.version, "sha256": device.running.sha256}, "freshness": "known",
        }  # fmt: skip
        topic, payload = f"edge/{device.name}/m/update".encode(), json.dumps(told).encode()
        left = 2 + len(topic) + len(payload)
        size = bytes((left & 0x7F | 0x80, left >> 7)) if left > 127 else bytes((left,))
        packet = b"\x31" + size + struct.pack("!H", len(topic)) + topic + payload
        if device.socket is not None:
            device.socket.sendall(packet)
            self.sent, self.sent_bytes = self.sent + 1, self.sent_bytes + len(packet)

    def go(self, device: Device, new: State) -> None:
        device.state = new
        self.tell(device)

    # --- a check ------------------------------------------------------------------------------------

    def check(self, index: int, now: float) -> None:
        device = self.devices[index]
        verdict = self.verdict(device)
        device.trusted = verdict.after
        if verdict.fault:
            if device.fault != verdict.fault:
                device.fault = verdict.fault
                self.tell(device)
            return
        device.fault = ""
        running, refused = device.running.sha256, device.state.refused
        found = release.choose(verdict.releases, device.name, running, refused)
        if found is None or found.sha256 == running:
            return
        slot = Slot(found.sha256, found.version)
        self.go(device, state.found(device.state, slot, now))
        folder, _, name = found.file.rpartition("/")
        _, body = self.web.get(f"/targets/{folder}/{found.sha256}.{name}")
        assert hashlib.sha256(body).hexdigest() == found.sha256
        self.go(device, state.downloaded(device.state, now))
        self.go(device, state.proves(device.state, now))
        device.before = device.running.version
        self.go(device, state.switches(device.state, device.before, None, now))
        device.running = slot
        self.took[found.version] += 1
        self.go(device, state.begin(device.state, now))
        device.watched_from = now
        heapq.heappush(self.due, (now + self.site.watch_s, index, "judge"))

    def verdict(self, device: Device) -> Verdict:
        """Of bytes that were verified already on top of the same trust, the verdict; else tuf's own."""
        for known in self.verdicts.setdefault(device.trusted, []):
            if all(self.web.get(path) == (status, body) for path, status, body in known.seen):
                return known
            self.verdicts[device.trusted].remove(known)
            break
        made = self.verify(device.trusted)
        self.verdicts[device.trusted].append(made)
        return made

    def verify(self, trusted: str) -> Verdict:
        folder = Path(self.site.folder) / f"{self.site.first}-new"
        before = Path(self.site.folder) / f"{self.site.first}-{trusted}"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(before, folder) if before.is_dir() else folder.mkdir()
        recorder, found = Recorder(self.web), []
        make, choose = fetch.make, release.choose
        fetch.make = lambda _: recorder
        release.choose = lambda releases, *_: found.append(tuple(releases))
        try:
            answer = trust.ask(Order(uri=self.web.base, folder=folder, model="m", channel="stable", device="all",
                                     root=Path(self.site.root)))  # fmt: skip
        finally:
            fetch.make, release.choose = make, choose
        self.verified += 1
        kept = sorted(p for p in (folder / "metadata").rglob("*.json"))
        after = hashlib.sha256(b"".join(p.read_bytes() for p in kept)).hexdigest()[:16]
        target = Path(self.site.folder) / f"{self.site.first}-{after}"
        if not target.exists():
            folder.rename(target)
        reason = f"{answer.fault}: {answer.reason}" if answer.fault else ""
        return Verdict(recorder.seen, after, reason, answer.reason, found[0] if found else ())

    def judge(self, index: int, now: float) -> None:
        device = self.devices[index]
        bad = device.running.version == self.site.bad
        seen = gates.Seen(results=140 if bad else 200, skipped=60 if bad else 0)
        limits = gates.Limits(watch_time_s=self.site.watch_s)
        if reason := gates.watched(seen, None, limits):
            confirmed = device.state.confirmed
            device.running = confirmed if confirmed is not None else Slot("", "0")
            device.before = ""
            self.go(device, state.refuse(device.state, reason, now))
        elif gates.watched_enough(seen, now - device.watched_from, limits):
            device.before = ""
            self.go(device, state.confirms(device.state, now))

    # --- what the stage asks ------------------------------------------------------------------------

    def run(self, pipe: Connection) -> None:
        """Until it is told to end: ("leave" | "join", every n-th device), ("web", URL), ("all",), ("tell",)."""
        while True:
            now = time.time()
            if pipe.poll(0.0 if self.due and self.due[0][0] <= now else 0.02):
                asked = pipe.recv()
                if asked[0] == "end":
                    return
                pipe.send(self.answer(*asked))
            self.hear(time.time())
            for _ in range(20):
                if not self.due or self.due[0][0] > time.time():
                    break
                at, index, what = heapq.heappop(self.due)
                device = self.devices[index]
                if what == "judge":
                    self.judge(index, max(at, time.time()))
                elif device.socket is not None and device.state.phase != "watching":
                    self.check(index, time.time())

    def hear(self, now: float) -> None:
        for fd, _ in self.poll.poll(0, 1000):
            device = self.by_fd[fd]
            assert device.socket is not None
            data = device.socket.recv(4096)
            if not data:
                raise ConnectionError(f"{device.name}: the broker has closed the connection")
            if TOPIC.encode() in data:
                index = int(device.name[1:]) - self.site.first
                heapq.heappush(self.due, (now + random.uniform(0, self.site.spread_s), index, "check"))

    def answer(self, what: str, *more: Any) -> Any:
        if what in ("leave", "join"):
            chosen = [d for d in self.devices if int(d.name[1:]) % more[0] == 0]
            for device in chosen:
                if what == "leave" and device.socket is not None:
                    self.leave(device)
                elif what == "join" and device.socket is None:
                    self.connect(device)
                    self.tell(device)
            return len(chosen)
        if what == "web":
            requests, body = self.web.requests, self.web.body
            self.web = Web(more[0])
            self.web.requests, self.web.body = requests, body
            self.verdicts.clear()
            return None
        phases = Counter(f"{d.state.phase} {d.running.version}" for d in self.devices)
        faults = Counter(d.fault for d in self.devices if d.fault)
        figures = {"sent": self.sent, "sent_bytes": self.sent_bytes, "requests": self.web.requests,
                   "body": self.web.body, "verified": self.verified}  # fmt: skip
        return phases, faults, self.took, figures


def work(site: Site, pipe: Connection) -> None:
    """A process of its own."""
    worker = Worker(site)
    for device in worker.devices:
        worker.connect(device)
        worker.tell(device)
    pipe.send("ready")
    worker.run(pipe)
