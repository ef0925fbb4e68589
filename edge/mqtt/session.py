"""The one MQTT session that source, sink, status, info and stats share.

One thread owns it all: connection, publish queue, and the outbox of the sink, which is its worker. Other threads hand
over what they want done (`call_soon`, `post`), and a waker ends the thread's wait. Only to look up a name and to shake
hands, which wait in the system, another thread is started for each try; it hands the open connection over.

A connection is one paho client that keeps no queue of ours: what was not confirmed is sent again from an outbox. The
broker keeps the session (stable client id, no clean start), so that inputs published while we are away, or not yet
acknowledged, come again. MQTT 5 comes first; a broker that does not speak it, or hangs up without a word, gets 3.1.1.
"""

from __future__ import annotations

import logging
import selectors
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from edge.errors import UnavailableError
from edge.mqtt.codec import lazy_module
from edge.mqtt.loop_work import LOOK_AGAIN_S, LoopWork
from edge.mqtt.messages import PROBE, Incoming, Listener, MqttOptions, OnDelivery, Outgoing, Retry, Steady
from edge.mqtt.negotiation import Negotiation
from edge.mqtt.posts import Posts
from edge.mqtt.subscriptions import Subscriptions
from edge.mqtt.too_large import EndedByMessage
from edge.mqtt.waker import PipeWaker
from edge.plugins.protocols import LoopWorker
from edge.telemetry.priority import stand_back

if TYPE_CHECKING:
    import ssl

    from edge.mqtt.acknowledgements import Acknowledgements
    from edge.mqtt.codec.packets import Publication
    from edge.mqtt.connection import Connection

log = logging.getLogger("edge.mqtt")

CONNACK_WAIT_S = 5.0
JOIN_WAIT_S = 10.0
"""How long `stop` waits for a thread whose worker may be writing to a slow disk."""
STANDS_S = 2.0
"""A connection that stood so long has worked: one that ends sooner is tried again ever more slowly."""
STEADY = Steady()


class MqttSession:
    """`call_soon`, `post`, `ack`, `up` from any thread; `start`, `stop` once; the rest before, or in its own thread."""

    def __init__(
        self,
        options: MqttOptions,
        *,
        births: Callable[[], Sequence[Outgoing]] = tuple,
        retry: Retry = STEADY,
        failed: Callable[[BaseException], None] = lambda _: None,
        beat: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`births` gives what is published on every connect; `failed` is called with a bug. `beat("mqtt")` says that
        the thread makes progress, `beat("-mqtt")` that it has ended.
        """
        self.options = options
        self.waker = PipeWaker()
        self.connects = 0
        self._births = births
        self._retry = retry
        self._failed = failed
        self._beat = beat
        self._tls: ssl.SSLContext | None = None
        self._listeners: list[Listener] = []
        self.subscriptions = Subscriptions()
        self._work = LoopWork()
        self._posts = Posts(self.publish_all)
        self._stopping = threading.Event()
        self._last: Sequence[Outgoing] = ()
        self._last_wait_s = 0.0
        self._thread: threading.Thread | None = None
        self._connection: Connection | None = None
        self._session = 0
        self._negotiation = Negotiation(options.version, options.client_id)
        self._failing = False
        self._ended_by = EndedByMessage(str(options.url))

    # --- before `start` -------------------------------------------------------------------------------

    def attach(self, worker: LoopWorker, *, first: bool = False) -> None:
        """`worker.turn()` is called in the session's thread each time it has woken, until `stop`."""
        self._work.attach(worker, first=first)

    def listen(self, listener: Listener) -> None:
        """In the session's thread too: `up` is not called for a connection that stands already."""
        self._listeners.append(listener)

    def subscribe(
        self, topic: str, handler: Callable[[Incoming], None], qos: int = 1, *, retained_again: bool = False
    ) -> None:
        """Now and on every connection whose session is new. The handler runs in the session's thread, and acknowledges
        each message of QoS 1. Where the broker refuses one at QoS 0, nothing is said. `retained_again`: what the broker
        retains is wanted at each start, though it knows the subscription."""
        self.subscriptions.add(topic, handler, qos)
        if retained_again:
            self.subscriptions.retained_again.add(topic)
        if self._connection is not None and self._connection.up:
            self._ask(self._connection, {topic: qos})

    def expect(self, topic: str, handler: Callable[[Incoming], None]) -> None:
        """What comes on this filter is for this handler, though it may never subscribe. Before `start`."""
        self.subscriptions.expect(topic, handler)

    def let_go(self, topics: Sequence[str]) -> None:
        """What comes on these filters is for no one any more: it is acknowledged at once. Not of inputs. Before
        `start`, or in the session's thread."""
        self.subscriptions.let_go(topics, self.ack_now)

    def start(self) -> None:
        """Begins to connect, in its own thread. A broker that is away is not an error.

        Raises ConfigError for certificates that cannot be used.
        """
        if self.options.url.tls:
            from edge.mqtt.tls import tls_context

            self._tls = tls_context(self.options)
        self.waker.open()
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=False)
        self._thread.start()

    # --- from any thread ------------------------------------------------------------------------------

    @property
    def up(self) -> bool:
        """True while the broker answers."""
        return (connection := self._connection) is not None and connection.up

    def call_soon(self, call: Callable[[], None]) -> None:
        """`call` is made in the session's thread, in its next turn; never after `stop`."""
        self._work.calls.append(call)
        if threading.current_thread() is not self._thread:
            self.waker.wake()

    def post(
        self, message: Outgoing, on_delivery: OnDelivery | None = None, *, key: int = 0, keep: bool = False
    ) -> None:
        """Publishes where there is a connection; else the message is dropped, or with `keep` waits for one.

        Of what is kept the oldest is dropped past 4 MB. What can never be sent is refused, and told in the log.
        """
        self.call_soon(lambda: self._posts.post(message, on_delivery, key, up=self.up, keep=keep))

    def ack(self, incoming: Incoming) -> None:
        """Acknowledges an input; the broker sends it again where its connection is gone."""
        self.call_soon(lambda: self.ack_now(incoming))

    def stop(self, last: Sequence[Outgoing] = (), timeout_s: float = 2.0) -> None:
        """Publishes `last` (the `offline` of a clean end), waits for its confirmation, disconnects."""
        if (thread := self._thread) is None:
            return
        self._last, self._last_wait_s = last, timeout_s
        self._stopping.set()
        self.waker.wake()
        thread.join(JOIN_WAIT_S + timeout_s)
        self._thread = None

    # --- in the session's thread ----------------------------------------------------------------------

    @property
    def largest(self) -> int:
        """Bytes of the largest packet that the broker takes; 0 while there is no connection."""
        return self._connection.queue.maximum_packet_size if self._connection is not None else 0

    @property
    def receive_maximum(self) -> int:
        """How many messages may be sent and not confirmed, as `largest`."""
        return self._connection.queue.receive_maximum if self._connection is not None else 0

    @property
    def confirms(self) -> bool:
        """False where the broker has QoS 0 only."""
        return self._connection is None or self._connection.queue.qos > 0

    def publish_all(self, publications: Sequence[Publication]) -> list[tuple[Publication, str]]:
        """Queues messages; those that can never be sent, and why. Raises UnavailableError without a connection."""
        if (connection := self._connection) is None or not connection.up:
            raise UnavailableError(f"{self.options.url}: not connected")
        rejected = connection.queue.publish(publications)
        connection.client.write()  # now, not at the end of the turn: nothing that follows is as urgent
        return rejected

    @property
    def acks(self) -> Acknowledgements | None:
        """Those of this connection, where there is one."""
        return self._connection.acks if self._connection is not None else None

    def ack_now(self, incoming: Incoming, sent: Callable[[], None] | None = None, part: object = None) -> None:
        """As `ack`, in this turn, or once all that came before it is acknowledged; then `sent` is called. `part` is the
        handler that has done with it, where others were given it too."""
        connection = self._connection
        if incoming.qos and connection is not None and connection.session == incoming.session and connection.up:
            connection.acks.done(incoming.mid, sent, part)

    def connect_again(self, reason: str) -> None:
        """Ends the connection, where there is one, as at the end of the process: the broker sends again what it has no
        acknowledgement of. For a call of `call_soon`."""
        if self._connection is not None and self._connection.up:
            self._connection.leaving = True
            raise UnavailableError(reason)

    def _post(self, message: Outgoing, on_delivery: OnDelivery | None = None, key: int = 0) -> None:
        self._posts.post(message, on_delivery, key, up=self.up, keep=False)

    def _run(self) -> None:
        stand_back()
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self.waker, selectors.EVENT_READ)
                while not self._stopping.is_set():
                    try:
                        self._connect_and_loop(selector)
                    except UnavailableError as exc:
                        self._down(str(exc))
                    self._pause(selector, self._retry.next_s())
        except BaseException as exc:  # noqa: BLE001 - the end of the thread: the main thread raises it again
            self._failed(exc)
        finally:
            self._beat("-mqtt")
            self._work.end(self._failed)
            self.waker.close()

    def _pause(self, selector: selectors.BaseSelector, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping.is_set() and (left := until - time.monotonic()) > 0:
            self._idle_turn(selector, left)

    def _idle_turn(self, selector: selectors.BaseSelector, at_most_s: float) -> None:
        """A turn without a connection."""
        self._beat("mqtt")
        self._work.turn()
        if selector.select(min(at_most_s, self._work.due_s)):
            self.waker.clear()

    def _turn(self, connection: Connection, selector: selectors.BaseSelector) -> None:
        self._beat("mqtt")
        for incoming in connection.read(selector, self.waker, self._work.due_s):
            self._deliver(connection, incoming)
        connection.check()
        self._work.turn()
        connection.write()

    def _connect_and_loop(self, selector: selectors.BaseSelector) -> None:
        # Here, in this thread: at start paho is being imported while the first sample is inferred.
        lazy_module.put_off("urllib.request")
        lazy_module.put_off("ssl")
        from edge.mqtt.connection import Connection

        self._session += 1
        connection = Connection(self.options, self._negotiation.choice, self._session, self._tls)
        connection.queue.one_at_a_time = self._ended_by.alone
        connection.queue.left_out = self._ended_by.left_out
        self._connection = connection
        try:
            try:
                self._open(connection, selector)
                early = self._handshake(connection, selector)
            except UnavailableError:
                self._negotiation.came_to_nothing(connection)
                raise
            self._up(connection)
            for incoming in early:
                self._deliver(connection, incoming)
            self._loop(connection, selector)
        finally:
            connection.close(selector, polite=connection.leaving or self._stopping.is_set())

    def _open(self, connection: Connection, selector: selectors.BaseSelector) -> None:
        """In a thread of its own: a name server or a TLS handshake may take long, and the workers have their turns."""
        errors: list[BaseException] = []
        done, given_up = threading.Event(), threading.Event()

        def open_and_wake() -> None:
            try:
                connection.open()
            except BaseException as exc:  # noqa: BLE001 - raised again below, in the session's thread
                errors.append(exc)
            done.set()
            self.waker.wake()
            if given_up.is_set():  # not `_stopping`: this thread may stand still here until long after the handshake
                connection.client.close()

        # A daemon, for the end of the process must not wait for a name server.
        threading.Thread(target=open_and_wake, name="mqtt-open", daemon=True).start()
        while not done.is_set():
            if self._stopping.is_set():
                given_up.set()
                raise UnavailableError("stopping")
            self._idle_turn(selector, LOOK_AGAIN_S)
        for exc in errors:
            raise exc

    def _handshake(self, connection: Connection, selector: selectors.BaseSelector) -> list[Incoming]:
        """Returns what a kept session delivers right behind the CONNACK, to be handed on after `up` was told."""
        until = time.monotonic() + CONNACK_WAIT_S
        connection.write()
        early: list[Incoming] = []
        while not connection.up:
            if time.monotonic() > until:
                connection.hung_up = True  # some brokers that do not know the version say nothing at all
                raise UnavailableError(f"{self.options.url}: no answer to CONNECT in {CONNACK_WAIT_S:.0f} s")
            if self._stopping.is_set():
                raise UnavailableError("stopping")
            self._beat("mqtt")
            early += connection.read(selector, self.waker, self._work.due_s)
            self._work.turn()
            connection.write()
        return early

    def _up(self, connection: Connection) -> None:
        self._failing = False
        self._negotiation.up()
        self.connects += 1
        connection.tell()
        resumed = connection.resumed and not self._negotiation.session_in_doubt
        needless = self.subscriptions.needless() if connection.resumed else ()
        self._ask(connection, self.subscriptions.missing(resumed=resumed, five=connection.client.five))
        connection.unsubscribe(needless)  # behind it: what comes between the two comes twice, not never
        if connection.queue.one_at_a_time and self.options.status_topic:
            # Whether it takes anything small, such as the will: a result goes next.
            self._post(Outgoing(self.options.status_topic, b"offline", retain=True), PROBE)
        for listener in self._listeners:
            listener.up(resumed=resumed)

    def _ask(self, connection: Connection, topics: Mapping[str, int]) -> None:
        connection.subscribe(topics, self.subscriptions.retained_again, self.subscriptions.own_too)

    def _loop(self, connection: Connection, selector: selectors.BaseSelector) -> None:
        born = False
        stands_at: float | None = time.monotonic() + STANDS_S
        while not self._stopping.is_set():
            if stands_at is not None and time.monotonic() >= stands_at:
                stands_at = None
                self._negotiation.stands()
                self._retry.reset()
            if stands_at is None and connection.queue.one_at_a_time:
                self._ended_by.stands(connection.queue)
            # `online` means: inputs are heard. So it waits for the broker's word on the subscriptions.
            if not born and connection.hears:
                born = True
                self.subscriptions.answered()
                self._negotiation.subscribed()
                self._give_birth()
            self._turn(connection, selector)
        self._publish_last(connection, selector)

    def _give_birth(self) -> None:
        for message in self._births():
            self._post(message)
        self._posts.send_kept()

    def _publish_last(self, connection: Connection, selector: selectors.BaseSelector) -> None:
        self._work.turn()
        waiting = set(range(len(self._last)))
        until = time.monotonic() + self._last_wait_s
        done = OnDelivery(waiting.difference_update, lambda number, _: waiting.discard(number))
        for number, message in enumerate(self._last):
            self._post(message, done, number)
        while waiting and time.monotonic() < until:
            self._turn(connection, selector)

    def _down(self, reason: str) -> None:
        connection, self._connection = self._connection, None
        was_up = connection is not None and connection.was_up
        if connection is not None and was_up and self._ended_by.explains(connection.queue):
            self._negotiation.stands()  # to wait longer would change nothing
            self._retry.reset()
        if connection is not None and connection.said_no:
            self._retry.calm()
        for listener in self._listeners:
            listener.away(reason)
        if not self._failing:
            self._failing = True
            log.warning("no broker, trying again", extra={"reason": reason})
        if connection is not None and was_up:
            if self._negotiation.ended(connection):
                self._retry.calm()
            for listener in self._listeners:
                listener.down(reason)

    def _deliver(self, connection: Connection, incoming: Incoming) -> None:
        handler, runs = self.subscriptions.route(incoming.topic, connection.matches)
        if runs:
            connection.acks.share(incoming.mid, runs)
            for run in runs:
                run(incoming)
        if handler is None and not runs and not self.subscriptions.unasked(incoming, connection.matches):
            return
        if handler is not None or not runs:  # unacknowledged, a few for no one would fill the broker's window
            (handler or self.ack_now)(incoming)
