"""`--sink nats://host:4222/subject`: results into a JetStream stream, confirmed by its acknowledgement of each.

`Nats-Msg-Id` is the result's `id`: within its duplicate window the stream drops a repeat. A publish without
acknowledgement (a subject that no stream takes) would be lost without a word, so it counts as away.

The library has an event loop. It runs in a thread of its own, for the server asks now and then whether one is there.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

import msgspec

from edge.errors import ConfigError, Needing, SampleError, UnavailableError
from edge.plugins.contexts import SinkContext
from edge.plugins.declarations import SinkInfo
from edge.plugins.reach import Reached
from edge.remote.address import Address, parse, password_of, secret
from edge.remote.store import Record, StoreSink
from edge.remote.tls import tls_context

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js import JetStreamContext

T = TypeVar("T")

USAGE = "nats://host:4222/subject"
CONNECT_S = 5
ANSWER_S = 10.0
SHORT_WINDOW_S = 3600.0
TOO_LARGE = 10054
"""JetStream's error code for a message that is larger than the stream takes."""


class NatsOptions(msgspec.Struct, frozen=True):
    """Behind the #. `remember_s` is the duplicate window of a stream that is made."""

    create: bool = False
    stream: str = "EDGE"
    remember_s: int = 86_400
    password_file: str = ""
    token_file: str = ""
    tls: bool = False
    ca: str = ""


class Nats:
    """A subject of a NATS server with JetStream."""

    def __init__(self, address: Address, options: NatsOptions) -> None:
        """Raises ConfigError."""
        self._address = address
        self._options = options
        self._subject = unquote(address.path.removeprefix("/"))
        if not self._subject or any(c in self._subject for c in "*> \t"):
            raise ConfigError(f"--sink {address}: {self._subject!r} is no subject to publish on; say {USAGE}")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._client: Client | None = None
        self._stream: JetStreamContext | None = None
        self._under_way: Sequence[asyncio.Future[Any]] = ()
        self._login()

    def _login(self) -> dict[str, Any]:
        password = password_of("nats", self._options.password_file, self._address)
        token = secret("--sink nats: #token_file", self._options.token_file)
        tls = tls_context(self._address, self._options.ca) if self._options.tls or self._options.ca else None
        said = {"user": self._address.username, "password": password, "token": token, "tls": tls}
        return {k: v for k, v in said.items() if v}

    def connect(self) -> None:
        self.close()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="nats")
        self._thread.start()
        self._wait(self._connect())
        if self._options.create:
            self._wait(self._make_stream())

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        """What a coroutine returns, from the loop's thread. Raises UnavailableError, SampleError."""
        if self._loop is None:
            work.close()
            raise UnavailableError(f"{self._address}: not connected")
        import nats.errors

        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(ANSWER_S)
        except (OSError, nats.errors.Error, concurrent.futures.TimeoutError) as exc:
            future.cancel()
            said = " ".join(str(exc).split()) or type(exc).__name__
            raise UnavailableError(f"{self._address}: {said}") from exc

    async def _connect(self) -> None:
        """To one of the hosts. What goes wrong with each comes to the callback, not out of `connect`."""
        from nats.aio.client import Client
        from nats.errors import NoServersError

        failed = [Exception("no answer")]

        async def closed() -> None:
            for ack in self._under_way:
                ack.cancel()

        async def fails(exc: Exception) -> None:
            failed.append(exc)

        client = self._client = Client()
        try:
            await client.connect(
                [f"nats://{host}" for host in self._address.hosts.split(",")],
                name="edge-run",
                allow_reconnect=False,  # the outbox does that, and knows what was under way
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=CONNECT_S // 2,
                error_cb=fails,
                closed_cb=closed,
                **self._login(),
            )
        except NoServersError as exc:
            raise ConnectionError(str(failed[-1])) from exc
        self._stream = client.jetstream(timeout=CONNECT_S)

    async def _make_stream(self) -> None:
        from nats.js.errors import NotFoundError

        assert self._stream is not None, "made after the connection"
        try:
            await self._stream.find_stream_name_by_subject(self._subject)
        except NotFoundError:
            await self._stream.add_stream(
                name=self._options.stream, subjects=[self._subject], duplicate_window=self._options.remember_s
            )

    def write(self, records: Sequence[Record]) -> None:
        if self._client is None or self._stream is None:
            raise UnavailableError(f"{self._address}: not connected")
        most = self._client.max_payload
        for record in records:
            if len(record.payload) > most:
                raise SampleError(f"{self._address}: {len(record.payload)} bytes, the server takes {most}")
        self._wait(self._publish(records))

    async def _publish(self, records: Sequence[Record]) -> None:
        """All at once, in order. (`publish_async` of nats-py 2.16 never ends where the stream says no.)"""
        assert self._stream is not None, "published after the connection"
        publish = self._stream.publish
        self._under_way = [
            asyncio.ensure_future(publish(self._subject, r.payload, ANSWER_S - 1, headers={"Nats-Msg-Id": r.id}))
            for r in records
        ]
        answers: list[Any] = await asyncio.gather(*self._under_way, return_exceptions=True)
        self._judge([a for a in answers if isinstance(a, BaseException)])

    def _judge(self, failures: Sequence[BaseException]) -> None:
        """An outage is said before a refusal: the rows are sent again in both cases."""
        from nats.js.errors import APIError, NoStreamResponseError

        refused = [f for f in failures if isinstance(f, APIError) and f.err_code == TOO_LARGE]
        for failure in failures:
            if isinstance(failure, NoStreamResponseError):
                raise ConnectionError(
                    f"no stream takes the subject {self._subject}; add create behind the #, or make one"
                )
            if failure not in refused:
                said = failure.description if isinstance(failure, APIError) else str(failure)
                raise ConnectionError(said or "the connection went")
        if refused:
            raise SampleError(f"{self._address}: larger than the stream's max_msg_size")

    def reach(self) -> Reached:
        self.connect()
        text = f"{self._address} answers"
        found = self._wait(self._look())
        if found is None:
            return Reached(text, f"no stream takes the subject {self._subject}", "add create behind the #, or make one")
        name, window_s, stored = found
        text = f"{text}, stream {name}"
        if stored != "file":
            return Reached(text, "it is in memory: a restart over there loses it", f"make {name} with --storage file")
        if window_s < SHORT_WINDOW_S:
            doubt = f"it knows a repeat for {window_s:.0f} s only: one after a longer outage is there twice"
            return Reached(text, doubt, f"nats stream edit {name} --dupe-window 24h")
        return Reached(text)

    async def _look(self) -> tuple[str, float, str] | None:
        """The stream's name, its duplicate window in seconds, and where it is stored."""
        from nats.js.errors import NotFoundError

        assert self._stream is not None, "looked at after the connection"
        try:
            name = await self._stream.find_stream_name_by_subject(self._subject)
        except NotFoundError:
            return None
        config = (await self._stream.stream_info(name)).config
        return name, config.duplicate_window, str(getattr(config.storage, "value", config.storage))

    def close(self) -> None:
        loop, thread, client = self._loop, self._thread, self._client
        self._loop = self._thread = self._client = self._stream = None
        if loop is None or thread is None:
            return
        try:
            if client is not None:
                asyncio.run_coroutine_threadsafe(client.close(), loop).result(CONNECT_S)
        except (OSError, concurrent.futures.TimeoutError):
            pass  # it is gone anyway
        finally:
            asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result(CONNECT_S)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


async def _cancel_all() -> None:
    """What the library or an interrupted connection left behind."""
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def create(rest: str, context: SinkContext) -> StoreSink:
    """`rest` is the address. Raises ConfigError, also where the library is not installed."""
    address, options = parse("nats", rest, NatsOptions, USAGE)
    with Needing("the nats sink", "nats-py", "nats"):
        import nats  # noqa: F401 - said at the start, not at the first result
    return StoreSink(Nats(address, options))


FILES = ("password_file", "token_file", "ca")
SINK = SinkInfo(edge_api=1, create=create, usage=USAGE, reads_files=FILES)
