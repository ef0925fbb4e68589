"""The one MQTT connection that source, sink, status, info and stats share.

A connection is one paho client: paho keeps no queue of ours across connections, since what was not confirmed
waits in a lane's spool, and is sent again from there. The broker keeps the session (stable client id, no clean
start), so that inputs published while we are away, or not yet acknowledged, come again.

One thread runs paho's external loop. Who publishes writes to the socket itself where that does not wait: it spares a
lone result the way through another thread. MQTT 5 comes first; a broker that does not speak it gets 3.1.1, also one
that hangs up without a word.
"""

from __future__ import annotations

import logging
import selectors
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from edge.errors import SampleError, UnavailableError
from edge.mqtt import lazy_module
from edge.mqtt.messages import Incoming, MqttOptions, Outgoing, Speech, Told
from edge.mqtt.publication import Letter
from edge.mqtt.waker import SocketWaker
from edge.plugins.protocols import LoopWorker
from edge.telemetry.priority import stand_back

if TYPE_CHECKING:
    import ssl

    from edge.mqtt.connection import Connection

log = logging.getLogger("edge.mqtt")

CONNACK_WAIT_S = 5.0
JOIN_WAIT_S = 10.0
"""How long `stop` waits for a thread whose worker may be writing to a slow disk."""
STANDS_S = 2.0
"""A connection that stood so long has worked: one that ends sooner is tried again ever more slowly."""
LOOK_AGAIN_S = 0.5
"""How long the thread waits at most: it has to beat."""
HANG_UPS = 5
"""Connections that end without a word, one after the other, before a version that has worked is doubted."""


class Listener:
    """What the transport tells its users, from its own thread: none may wait in it."""

    def up(self, *, resumed: bool) -> None:
        """Connected; `resumed`: the broker still had the session."""

    def down(self, reason: str) -> None:
        """The connection went."""


class MqttTransport:
    """`start` and `stop` once each; the rest from any thread."""

    def __init__(
        self,
        options: MqttOptions,
        *,
        births: Callable[[], Sequence[Outgoing]] = tuple,
        wait_s: Callable[[], float] = lambda: 1.0,
        worked: Callable[[], None] = lambda: None,
        failed: Callable[[BaseException], None] = lambda _: None,
        unavailable: Callable[[str], None] = lambda _: None,
        refused: Callable[[], None] = lambda: None,
        beat: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`births` gives what is published on every connect; `wait_s` how long to wait before the next try.

        `worked` is told that one stood for a while, `unavailable` why one did not, `refused` that the broker said no
        before that; `failed` gets what must never
        happen, a bug in the thread; `beat("mqtt")` says that the thread makes progress, `beat("-mqtt")` that it
        has ended.
        """
        self.options = options
        self._births = births
        self._wait_s = wait_s
        self._worked = worked
        self._failed = failed
        self._unavailable = unavailable
        self._refused = refused
        self._beat = beat
        self._tls: ssl.SSLContext | None = None
        self._listeners: list[Listener] = []
        self._subscriptions: dict[str, Callable[[Incoming], None]] = {}
        self._stopping = threading.Event()
        self.waker = SocketWaker()
        self._workers: list[LoopWorker] = []
        self._thread: threading.Thread | None = None
        self._connection: Connection | None = None
        self._version = options.version or 5
        self._retain = True
        self._worked_version = self._refused_version = 0
        self._hung_up = 0
        self._session = 0
        self._failing = False
        self.connects = 0

    # --- users --------------------------------------------------------------------------------------

    def listen(self, listener: Listener) -> None:
        """Before `start`, or at any time: `up` is not called again for a connection that stands."""
        self._listeners.append(listener)

    def attach(self, worker: LoopWorker) -> None:
        """Before `start`: `worker.turn()` is called in the session's thread, after each time it woke, until `stop`.

        `waker.wake()` ends the thread's wait, so that a turn follows at once.
        """
        self._workers.append(worker)

    def forget(self, listener: Listener) -> None:
        """Undoes `listen`."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def subscribe(self, topic: str, handler: Callable[[Incoming], None]) -> None:
        """QoS 1, now and after every reconnect. The handler runs in the transport's thread."""
        self._subscriptions[topic] = handler
        connection = self._connection
        if connection is not None and connection.up:
            connection.subscribe([topic])
            self.waker.wake()

    @property
    def up(self) -> bool:
        """True while the broker answers."""
        connection = self._connection
        return connection is not None and connection.up

    @property
    def largest(self) -> int:
        """Bytes of the largest packet that the broker takes; 0 while there is none."""
        connection = self._connection
        return connection.largest if connection is not None else 0

    def publish(self, message: Outgoing, told: Told | None = None) -> None:
        """Queues a message; `told` hears when the broker has it, or refuses it.

        Raises UnavailableError while there is no connection, SampleError where the broker will never take it.
        """
        connection = self._standing()
        connection.publish(message, told)
        self._flush(connection)

    def publish_all(self, letters: Sequence[Letter]) -> list[tuple[int, str]]:
        """As `publish` for each; the ticket and the reason of each that the broker will never take."""
        connection = self._standing()
        refused = connection.publish_all(letters)
        self._flush(connection)
        return refused

    def _standing(self) -> Connection:
        connection = self._connection
        if connection is None or not connection.up:
            raise UnavailableError(f"{self.options.url}: not connected")
        return connection

    def _flush(self, connection: Connection) -> None:
        if not connection.flush():
            self.waker.wake()

    def ack(self, incoming: Incoming) -> bool:
        """Acknowledges an input. False where its connection is gone: the broker will send it again."""
        connection = self._connection
        if connection is None or connection.session != incoming.session or not connection.up:
            return False
        if incoming.qos:
            connection.client.ack(incoming.mid, incoming.qos)
            self.waker.wake()
        return True

    def start(self) -> None:
        """Begins to connect, in its own thread. A broker that is away is not an error.

        Raises ConfigError for certificates that cannot be used.
        """
        if self.options.url.tls:
            from edge.mqtt.connection import tls_context

            self._tls = tls_context(self.options)
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=False)
        self._thread.start()

    def stop(self, last: Sequence[Outgoing] = (), timeout_s: float = 2.0) -> None:
        """Publishes `last` (the `offline` of a clean end), waits for its confirmation, disconnects."""
        thread, self._thread = self._thread, None
        if thread is None:
            self.waker.close()
            return
        self._say_last(last, timeout_s)
        self._stopping.set()
        self.waker.wake()
        thread.join(JOIN_WAIT_S)

    def _say_last(self, last: Sequence[Outgoing], timeout_s: float) -> None:
        said = threading.Semaphore(0)
        waiting = 0
        for message in last:
            try:
                self.publish(message, Told(0, lambda _: said.release()))
            except SampleError:
                continue
            except UnavailableError:
                return
            waiting += 1
        until = time.monotonic() + timeout_s
        for _ in range(waiting):
            said.acquire(timeout=max(0.0, until - time.monotonic()))

    # --- the thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        stand_back()
        try:
            while not self._stopping.is_set():
                try:
                    self._connect_and_loop()
                except UnavailableError as exc:
                    self._down(str(exc))
                self._pause(self._wait_s())
        except BaseException as exc:  # the end of a thread: whoever waits for it has to know
            self._failed(exc)
            raise
        finally:
            self._beat("-mqtt")
            for worker in self._workers:
                worker.end()
            self.waker.close()

    def _work(self) -> float:
        """Gives each worker its turn; the seconds until one of them wants the next."""
        wait_s = LOOK_AGAIN_S
        for worker in self._workers:
            wait_s = min(wait_s, worker.turn())
        return max(0.0, wait_s)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self.waker, selectors.EVENT_READ)
            while not self._stopping.is_set() and (left := until - time.monotonic()) > 0:
                self._beat("mqtt")
                if selector.select(min(left, self._work())):
                    self.waker.clear()

    def _connect_and_loop(self) -> None:
        # Here, in this thread: at start paho is being imported while the first sample is inferred.
        lazy_module.put_off("urllib", "request")
        from edge.mqtt.connection import Connection

        self._session += 1
        connection = Connection(self.options, Speech(self._version, self._retain), self._session, self._tls)
        self._connection = connection
        with selectors.DefaultSelector() as selector:
            try:
                self._open(connection)
                self._handshake(connection, selector)
                self._up(connection)
                born, wait_s = False, self._work()
                stands_at: float | None = time.monotonic() + STANDS_S
                while not self._stopping.is_set():
                    if stands_at is not None and time.monotonic() >= stands_at:
                        stands_at = None
                        self._worked()
                    # `online` means: inputs are heard. So it waits for the broker's word on the subscriptions.
                    if not born and connection.hears:
                        born = True
                        self._give_birth(connection)
                    self._beat("mqtt")
                    for incoming in connection.turn(selector, self.waker, wait_s):
                        self._deliver(connection, incoming)
                    wait_s = self._work()
            finally:
                connection.close(selector, polite=self._stopping.is_set())

    def _open(self, connection: Connection) -> None:
        """Opens it in a thread for that alone: a name server or a TLS handshake may take long, and the workers have
        their turns meanwhile. Raises UnavailableError."""
        failed: list[BaseException] = []
        done = threading.Event()

        def connect() -> None:
            try:
                connection.open()
            except BaseException as exc:  # noqa: BLE001 - raised again below
                failed.append(exc)
            done.set()
            self.waker.wake()
            if self._stopping.is_set():
                connection.client.hang_up()

        threading.Thread(target=connect, name="mqtt-connect", daemon=True).start()
        with selectors.DefaultSelector() as selector:
            selector.register(self.waker, selectors.EVENT_READ)
            while not done.is_set():
                self._beat("mqtt")
                if self._stopping.is_set():
                    raise UnavailableError("stopping")
                if selector.select(self._work()):
                    self.waker.clear()
        if failed:
            raise failed[0]

    def _handshake(self, connection: Connection, selector: selectors.BaseSelector) -> None:
        until = time.monotonic() + CONNACK_WAIT_S
        connection.watch(selector, self.waker)
        try:
            while not connection.up:
                if time.monotonic() > until:
                    connection.hung_up = True  # some that do not know it say nothing at all
                    raise UnavailableError(f"{self.options.url}: no answer to CONNECT in {CONNACK_WAIT_S:.0f} s")
                if self._stopping.is_set():
                    raise UnavailableError("stopping")
                for incoming in connection.turn(selector, self.waker, min(0.2, self._work())):
                    self._deliver(connection, incoming)  # a kept session may deliver right behind the CONNACK
        except UnavailableError:
            self._retain = connection.retains
            if self.options.version is None and self._is_of_the_version(connection):
                self._version = 4 if self._version == 5 else 5
            raise

    def _is_of_the_version(self, connection: Connection) -> bool:
        """Whether the failure may be the version's: said so, or the broker hung up without a word.

        A proxy or a broker that is about to end hangs up just so: what has worked before is given up only after
        several times, for MQTT 3.1.1 has no Response Topic, and askers would wait in vain.
        """
        if connection.no_such_version:
            self._refused_version = self._version
            return True
        if not connection.hung_up:
            return False
        self._hung_up += 1
        return self._worked_version != self._version or self._hung_up % HANG_UPS == 0

    def _up(self, connection: Connection) -> None:
        self._failing = False
        self._hung_up = 0
        self._worked_version = self._version
        self.connects += 1
        if not connection.retains:
            log.warning("the broker retains nothing: status and info reach only who listens at that moment")
        log.info("connected to the broker", extra={"broker": str(self.options.url), "protocol": connection.protocol})
        connection.subscribe(list(self._subscriptions))
        for listener in list(self._listeners):
            listener.up(resumed=connection.resumed)

    def _give_birth(self, connection: Connection) -> None:
        for message in self._births():
            try:
                connection.publish(message)
            except SampleError as exc:
                log.warning("not published", extra={"topic": message.topic, "reason": str(exc)})

    def _down(self, reason: str) -> None:
        was_up = self._connection is not None and self._connection.was_up
        if self._connection is not None and self._connection.said_no:
            self._refused()
        self._connection = None
        self._unavailable(reason)
        if not self._failing:
            self._failing = True
            log.warning("no broker, trying again", extra={"reason": reason})
        if was_up:
            if self.options.version is None and self._refused_version != 5:
                self._version = 5  # 3.1.1 was a guess: the next connection asks again
            for listener in list(self._listeners):
                listener.down(reason)

    def _deliver(self, connection: Connection, incoming: Incoming) -> None:
        for topic, handler in self._subscriptions.items():
            if connection.matches(_plain(topic), incoming.topic):
                handler(incoming)
                return
        # The session still has a subscription of an earlier life. Unacknowledged, a few of its messages would fill
        # the window, and the broker would send us nothing more.
        self.ack(incoming)


def _plain(topic: str) -> str:
    """The filter of a shared subscription, without `$share/<group>/`."""
    return topic.split("/", 2)[2] if topic.startswith("$share/") and topic.count("/") >= 2 else topic
