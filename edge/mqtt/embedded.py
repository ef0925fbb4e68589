"""A broker inside the process, on loopback, for trying out: amqtt, in a thread of its own.

It keeps nothing on disk, knows no passwords and speaks MQTT 3.1.1: a device in a field wants mosquitto.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Collection
from typing import Any

from edge.errors import ConfigError, Needing

STANDARD_PORT = 1883
START_WAIT_S = 30.0
HAND_OUT_S = 10.0
"""How long the end waits for subscribers that take nothing any more."""
HAND_OUT_MOST_S = 60.0
"""And for such as take something: others may still publish."""
LOOK_S = 0.01
QUIET_LOOKS = 10
END_WAIT_S = 1.0
END_TRIES = 3


class EmbeddedBroker:
    """`start` returns when it listens; `port` then tells where."""

    def __init__(self, port: int | None = None) -> None:
        """`port` None: 1883, or a free one where that is taken."""
        self.port = port if port is not None else _free_port()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._broker: Any = None
        self._ready = threading.Event()
        self._failure: Exception | None = None

    def start(self) -> None:
        """Raises ConfigError where the port is taken or amqtt is missing."""
        with Needing("--mqtt embedded", "amqtt", "broker"):
            from amqtt.broker import Broker
        for name in ("amqtt", "transitions"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._thread = threading.Thread(target=self._run, args=(Broker,), name="broker", daemon=False)
        self._thread.start()
        if not self._ready.wait(START_WAIT_S) or self._failure is not None:
            reason = self._failure or f"not ready after {START_WAIT_S:.0f} s"
            self.stop()
            raise ConfigError(f"--mqtt embedded: no broker on 127.0.0.1:{self.port}: {reason}; name another port")

    def _run(self, broker_class: Any) -> None:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)  # amqtt asks for the current one
        self._loop = loop
        config = {
            "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{self.port}", "max_connections": 100}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
        try:
            self._broker = broker_class(config, loop=loop)
            loop.run_until_complete(self._broker.start())
        except Exception as exc:  # noqa: BLE001 - whatever amqtt raises, `start` tells it in its own words
            self._failure = exc
            self._ready.set()
            loop.close()
            return
        self._ready.set()
        loop.run_forever()
        loop.run_until_complete(_shut_down(self._broker))
        loop.run_until_complete(_end_tasks(asyncio.all_tasks(loop)))
        loop.close()

    def hand_out(self) -> None:
        """Returns when the subscribers have what was published so far.

        amqtt confirms a message first and hands it out later. It forgets what is left when it ends, and what is left of
        a publisher when that one disconnects: so this comes before either.
        """
        if self._thread is not None and self._loop is not None and self._ready.is_set() and self._failure is None:
            asyncio.run_coroutine_threadsafe(self._handed_out(), self._loop).result()

    async def _handed_out(self) -> None:
        """What amqtt has yet to begin with shows as waiting or under way within a few turns."""
        clock = asyncio.get_running_loop().time
        moved = began = clock()
        quiet, before = 0, -1
        while quiet < QUIET_LOOKS and clock() < min(moved + HAND_OUT_S, began + HAND_OUT_MOST_S):
            await asyncio.sleep(LOOK_S)
            sessions = [session for session, _ in self._broker.sessions.values()]
            here = [session for session in sessions if session.transitions.state == "connected"]
            waiting = sum(s.inflight_out_count + s.delivered_message_queue.qsize() for s in here)
            quiet = 0 if waiting else quiet + 1
            if waiting != before:
                moved, before = clock(), waiting

    def stop(self) -> None:
        """Ends it once its subscribers have everything; a second call does nothing."""
        self.hand_out()
        thread, self._thread = self._thread, None
        if thread is None:
            return
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(loop.stop)
        thread.join()


async def _shut_down(broker: Any) -> None:
    """amqtt may wait for ever for a client that has connected this moment, or, from Python 3.12 on, for one that says
    nothing. A second go leaves out the client that the first one waited for, and closes the port."""
    for _ in range(END_TRIES):
        with contextlib.suppress(Exception):
            await asyncio.wait_for(broker.shutdown(), END_WAIT_S)
            return


async def _end_tasks(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Also what they do when they are cancelled: they close their connections, which takes a turn more."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=END_WAIT_S)
    await asyncio.sleep(0)


def _free_port() -> int:
    for port in (STANDARD_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    return STANDARD_PORT
