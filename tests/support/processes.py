"""Real parts for tests: a mosquitto of one's own, `edge-run` as a process, a subscriber."""

from __future__ import annotations

import atexit
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

BINARIES = Path(sys.executable).parent
PATIENCE_S = 150.0


_claims: list[socket.socket] = []
atexit.register(lambda: [claim.close() for claim in _claims])


def free_port() -> int:
    """One that no other test gets, of this process or of one beside it, for as long as this process lives.

    It lies below those that the kernel gives to clients: one of them could take it before the server does, or while
    the server is down, and a client that keeps trying such a port now and then connects to itself. A claim is a socket
    of a name that goes with the process.
    """
    chance = random.SystemRandom()  # a seed, as hypothesis sets one, would give all processes the same
    for _ in range(1000):
        port = chance.randrange(15_000, 32_000)
        claim = socket.socket(socket.AF_UNIX)
        with socket.socket() as probe:
            try:
                claim.bind(f"\0edge-run-tests-port-{port}")
                probe.bind(("127.0.0.1", port))
            except OSError:
                claim.close()
                continue
        _claims.append(claim)
        return port
    raise RuntimeError("no free port below 32000")


def until(condition: Callable[[], bool], what: str, timeout_s: float = PATIENCE_S) -> None:
    """Polls a condition of another process; a failed wait names what did not come."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout_s:.0f} s: {what}")
        time.sleep(0.02)


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 0.2).close()
    except OSError:
        return False
    return True


class Mosquitto:
    """A broker on a port of its own that can be killed and brought back; it keeps sessions on disk."""

    def __init__(self, folder: Path, extra: str = "", *, anonymous: bool = True) -> None:
        self.folder = folder
        self.port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o777)
        self._config = folder / "mosquitto.conf"
        # As root it would change to a user of its own, who may not read a test's folder.
        self._config.write_text(
            f"user root\nlistener {self.port} 127.0.0.1\nallow_anonymous {str(anonymous).lower()}\n"
            f"persistence true\npersistence_location {folder}/\nmax_queued_messages 0\n{extra}\n"
        )
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> Mosquitto:
        out = (self.folder / "mosquitto.log").open("ab")
        self.process = subprocess.Popen(["mosquitto", "-c", str(self._config)], stdout=out, stderr=out)
        out.close()
        until(lambda: listens(self.port), "mosquitto listens")
        return self

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(number)
            process.wait()


class EdgeRun:
    """The installed `edge-run`; standard error goes into a file that can be asked."""

    def __init__(self, folder: Path, *args: str, environ: dict[str, str] | None = None, stdin: Any = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "edge-run.log"
        env = {k: v for k, v in os.environ.items() if not k.startswith("EDGE_")}
        env.update({"XDG_STATE_HOME": str(folder / "state"), **(environ or {})})
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(BINARIES / "edge-run"), *args],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=log,
                env=env,
                cwd=folder,
            )

    def said(self) -> str:
        return self.log.read_text()

    def wait_until_said(self, text: str) -> None:
        until(lambda: text in self.said() or self.process.poll() is not None, f"{text!r} in the log")
        assert text in self.said(), self.said()

    def memory_mb(self, what: str) -> float:
        """What the kernel calls `VmRSS` (now) or `VmHWM` (the most so far)."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(f"{what}:")).split()[1]) / 1024

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        if self.process.stdin is not None and self.process.stdin.closed:  # `communicate` would flush it
            self.process.stdin = None
        self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode


class Client:
    """A publisher and subscriber that remembers what came."""

    def __init__(self, port: int, *topics: str, name: str = "", version: int = 5, **login: str) -> None:
        self.messages: list[tuple[str, Any, Any]] = []
        self._changed = threading.Condition()
        self._topics = topics
        self._subscribed = threading.Event()
        protocol = paho.MQTTv5 if version == 5 else paho.MQTTv311
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=protocol)
        self.client.on_connect = self._on_connect
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.on_message = self._on_message
        self.client.reconnect_delay_set(0.1, 0.5)
        if login:
            self.client.username_pw_set(**login)
        if version == 5 and name:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 3600
            self.client.connect("127.0.0.1", port, clean_start=False, properties=properties)
        else:
            self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        if topics:
            assert self._subscribed.wait(PATIENCE_S)

    def _on_connect(self, client: paho.Client, *_: Any) -> None:
        if self._topics:
            client.subscribe([(t, 1) for t in self._topics])

    def _on_message(self, _client: Any, _userdata: Any, message: paho.MQTTMessage) -> None:
        with self._changed:
            self.messages.append((message.topic, message.payload, message.properties))
            self._changed.notify_all()

    def publish(self, topic: str, payload: Any, properties: Properties | None = None, *, retain: bool = False) -> None:
        """At QoS 1; returns when the broker has it."""
        body = payload if isinstance(payload, (bytes, str)) else json.dumps(payload)
        self.client.publish(topic, body, 1, retain, properties).wait_for_publish(PATIENCE_S)

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The JSON of every message whose topic ends in /kind."""
        with self._changed:
            return [json.loads(p) for t, p, _ in self.messages if t.endswith(f"/{kind}")]

    def wait_for(self, kind: str, count: int = 1, timeout_s: float = PATIENCE_S) -> list[dict[str, Any]]:
        with self._changed:
            enough = self._changed.wait_for(
                lambda: sum(t.endswith(f"/{kind}") for t, _, _ in self.messages) >= count, timeout_s
            )
        assert enough, f"{len(self.of(kind))} of {count} messages on {kind}"
        return self.of(kind)

    def wait_until(self, condition: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
        """Looked at again with each message that comes."""
        with self._changed:
            assert self._changed.wait_for(condition, timeout_s), [topic for topic, _, _ in self.messages]

    def wait_for_runs(self, *names: str) -> None:
        """Until each of these runs of the device `pi` has said that it is online."""
        wanted = {f"edge/pi/{name}/status" for name in names}
        self.wait_until(lambda: wanted <= {topic for topic, payload, _ in self.messages if payload == b"online"})

    def wait_for_topic(self, kind: str, timeout_s: float = PATIENCE_S) -> None:
        """Until a message came whose topic ends in /kind, whatever it holds."""
        with self._changed:
            came = self._changed.wait_for(lambda: any(t.endswith(f"/{kind}") for t, _, _ in self.messages), timeout_s)
        assert came, f"nothing came on {kind}"

    def wait_for_text(self, topic: str, text: bytes, timeout_s: float = PATIENCE_S) -> None:
        with self._changed:
            assert self._changed.wait_for(
                lambda: any(t == topic and p == text for t, p, _ in self.messages), timeout_s
            ), f"{text!r} never came on {topic}"

    def forget(self) -> None:
        """What came so far."""
        with self._changed:
            self.messages.clear()

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
