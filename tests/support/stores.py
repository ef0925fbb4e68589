"""Real stores for the sinks, each a process of its own that can be killed and started again on what it had."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import itertools
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from support.processes import PATIENCE_S, free_port, listens, until


def _signal_all(pid: int, number: signal.Signals) -> None:
    """A server and its children, which may have groups of their own."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for each in (pid, *map(int, children)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, number)


class Server:
    """A process on a port. `uri` is what `--sink` is told."""

    needs: tuple[str, str] = ("", "")
    """The program, and the Debian package that it is in."""
    patience_s = PATIENCE_S
    once = True
    """It drops repeats itself; else its readers do, by `id`."""
    whole = True
    """It keeps results as they are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def command(self) -> Sequence[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        return listens(self.port)

    def start(self) -> Any:
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder)
        until(lambda: self.answers() or self._died(), f"{self.command()[0]} answers", self.patience_s)
        assert not self._died(), (self.folder / "server.log").read_text()
        return self

    def _died(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        process, self.process = self.process, None
        if process is not None:
            _signal_all(process.pid, number)
            process.wait()

    def end(self) -> None:
        """For good."""
        self.kill()

    def pause(self) -> None:
        """Frozen: it takes connections and answers nothing."""
        assert self.process is not None
        _signal_all(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        assert self.process is not None
        _signal_all(self.process.pid, signal.SIGCONT)

    # What the kit for sinks asks of the other side.

    def received(self) -> Sequence[bytes]:
        raise NotImplementedError

    def go_away(self) -> None:
        self.kill()

    def come_back(self) -> None:
        self.start()


class WebhookReceiver(Server):
    needs = (sys.executable, "python3")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.file = folder / "kept.sqlite"

    @property
    def uri(self) -> str:
        return f"webhook:http://127.0.0.1:{self.port}/hook"

    def command(self) -> Sequence[str]:
        return [sys.executable, "-P", str(Path(__file__).with_name("receiver.py")), str(self.port), str(self.file)]

    def answer(self, status: int | None, **headers: str) -> None:
        """All requests, from now on; None: as it should."""
        say = self.file.with_name(self.file.name + ".say")
        if status is None:
            say.unlink(missing_ok=True)
            return
        partial = say.with_suffix(".partial")
        partial.write_text(json.dumps({"status": status, "headers": headers}))
        partial.replace(say)

    def asked(self) -> list[dict[str, Any]]:
        """Every request: method, path, headers and body."""
        return [json.loads(said) for said in self.file.with_name(self.file.name + ".asked").read_text().splitlines()]

    def rows(self) -> list[tuple[Any, ...]]:
        """id, payload, path and headers of each result that was kept, in order."""
        db = sqlite3.connect(self.file)
        try:
            return db.execute("SELECT id, payload, path, headers FROM kept ORDER BY rowid").fetchall()
        finally:
            db.close()

    def received(self) -> Sequence[bytes]:
        return [row[1] for row in self.rows()]


class RedisServer(Server):
    """With an append-only file: without one a kill costs everything."""

    needs = ("redis-server", "redis-server")
    settings: tuple[str, ...] = ("--appendonly", "yes")

    @property
    def uri(self) -> str:
        return f"redis://127.0.0.1:{self.port}/results"

    def command(self) -> Sequence[str]:
        return ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", *self.settings]

    def client(self) -> Any:
        import redis

        return redis.Redis(port=self.port)

    def answers(self) -> bool:
        import redis

        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def received(self) -> Sequence[bytes]:
        with self.client() as client:
            return [fields[b"result"] for _, fields in client.xrange("results")]


def _program(name: str) -> str:
    """Debian keeps PostgreSQL's off the path."""
    found = shutil.which(name) or next(iter(sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))), None)
    return str(found)


class PostgresServer(Server):
    """A database of its own; the server stays from test to test, for it takes seconds to make."""

    needs = ("postgres", "postgresql")
    # The server will not run as root, and that other user may not enter a test's folder.
    user = "postgres" if os.geteuid() == 0 else None
    data: ClassVar[Path | None] = None
    fsync: ClassVar[str] = "off"
    running: ClassVar[subprocess.Popen[bytes] | None] = None
    shared_port: ClassVar[int] = 0
    databases: ClassVar[Iterator[int]] = itertools.count(1)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        if PostgresServer.data is None:
            PostgresServer.data = self._cluster()
            PostgresServer.shared_port = self.port
            atexit.register(self._away_with_it)
        self.port = PostgresServer.shared_port
        self.database = f"test{next(self.databases)}"

    def _cluster(self) -> Path:
        data = Path(tempfile.mkdtemp(prefix="edge-postgres-"))
        if self.user:
            shutil.chown(data, self.user, self.user)
        words = ("-D", str(data / "db"), "-U", "edge", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C")
        command = [_program("initdb"), *words]
        subprocess.run(command, check=True, user=self.user, cwd=data, stdout=subprocess.DEVNULL)
        return data

    def _away_with_it(self) -> None:
        self.kill()
        shutil.rmtree(str(self.data), ignore_errors=True)

    def ask_password(self, user: str, password: str) -> None:
        """Of this user, whom all others do without."""
        self.query(f"CREATE USER {user} PASSWORD '{password}'")
        self.query(f"GRANT ALL ON SCHEMA public TO {user}")
        rules = Path(str(self.data)) / "db" / "pg_hba.conf"
        rules.write_text(f"host all {user} 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
        self.query("SELECT pg_reload_conf()")

    @property
    def uri(self) -> str:
        return f"postgres://edge@127.0.0.1:{self.port}/{self.database}#create"

    def command(self) -> Sequence[str]:
        return [
            *(_program("postgres"), "-D", str(Path(str(self.data)) / "db"), "-p", str(self.port), "-h", "127.0.0.1"),
            *("-k", "", "-c", f"fsync={self.fsync}", "-c", "dynamic_shared_memory_type=mmap"),
        ]

    def start(self) -> Any:
        """Again and again: the children of a server that was killed go on for a moment, and hold its memory."""
        until(self._started, "PostgreSQL answers", self.patience_s)
        if not self._ask("postgres", "SELECT 1 FROM pg_database WHERE datname = %s", self.database):
            self._ask("postgres", f"CREATE DATABASE {self.database} STRATEGY = FILE_COPY")
        self.process = PostgresServer.running
        return self

    def _started(self) -> bool:
        if PostgresServer.running is None or PostgresServer.running.poll() is not None:
            with (self.folder / "server.log").open("ab") as log:
                PostgresServer.running = subprocess.Popen(
                    self.command(), stdout=log, stderr=log, cwd=self.data, user=self.user
                )
        return self.answers()

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        self.process, PostgresServer.running = PostgresServer.running, None
        super().kill(number)

    def end(self) -> None:
        """The server stays for the next test."""
        self.process = None

    def answers(self) -> bool:
        import psycopg

        try:
            self._ask("postgres", "SELECT 1")
        except psycopg.Error:
            return False
        return True

    def query(self, text: str, *values: object) -> list[tuple[Any, ...]]:
        return self._ask(self.database, text, *values)

    def _ask(self, database: str, text: str, *values: object) -> list[tuple[Any, ...]]:
        import psycopg

        with psycopg.connect(f"postgresql://edge@127.0.0.1:{self.port}/{database}", autocommit=True) as connection:
            cursor = connection.execute(text, values)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def received(self) -> Sequence[bytes]:
        if self.query("SELECT to_regclass('results')") == [(None,)]:
            return []
        return [row[0].encode() for row in self.query("SELECT result::text FROM results ORDER BY ctid")]


class NatsServer(Server):
    needs = ("nats-server", "nats-server")
    more: tuple[str, ...] = ()
    """Further words of its command line."""

    @property
    def uri(self) -> str:
        return f"nats://127.0.0.1:{self.port}/edge.results#create"

    def command(self) -> Sequence[str]:
        return [
            *("nats-server", "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", str(self.folder / "js")),
            *self.more,
        ]

    def ask(self, work: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
        """What a coroutine makes of a JetStream context."""
        import nats

        async def connected() -> Any:
            client = await nats.connect(f"nats://127.0.0.1:{self.port}", allow_reconnect=False)
            try:
                return await work(client.jetstream())
            finally:
                await client.close()

        return asyncio.run(connected())

    def received(self) -> Sequence[bytes]:
        async def read(stream: Any) -> list[bytes]:
            import nats.js.errors

            try:
                name = await stream.find_stream_name_by_subject("edge.results")
            except nats.js.errors.NotFoundError:
                return []
            count = (await stream.stream_info(name)).state.messages
            found: list[bytes] = []
            if count:
                reader = await stream.pull_subscribe("edge.results", stream=name)
                while len(found) < count:
                    for message in await reader.fetch(min(500, count - len(found)), timeout=150):
                        found.append(message.data)
                        await message.ack()
            return found

        return list(self.ask(read))


class KafkaCluster(Server):
    """librdkafka's mock. A kill would lose all of it, so it goes away by being frozen."""

    needs = (sys.executable, "python3")
    once = False

    @property
    def uri(self) -> str:
        return f"kafka://127.0.0.1:{self.port}/results"

    def command(self) -> Sequence[str]:
        return [sys.executable, "-P", str(Path(__file__).with_name("kafkamock.py")), str(self.folder / "address")]

    def answers(self) -> bool:
        address = self.folder / "address"
        if not address.exists():
            return False
        self.port = int(address.read_text().rpartition(":")[2])
        return listens(self.port)

    def go_away(self) -> None:
        self.pause()

    def come_back(self) -> None:
        self.go_on()

    def messages(self) -> list[Any]:
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer(
            {
                "bootstrap.servers": f"127.0.0.1:{self.port}",
                "group.id": "test",
                "enable.auto.commit": False,
                "log_level": 0,
            }
        )
        try:
            partitions = consumer.list_topics("results", timeout=150).topics["results"].partitions
            found: list[Any] = []
            for number in partitions:
                part = TopicPartition("results", number, 0)
                _, end = consumer.get_watermark_offsets(part, timeout=150)
                consumer.assign([part])
                count = len(found) + end
                while len(found) < count:
                    message = consumer.poll(150)
                    assert message is not None, "a message that is there comes"
                    assert message.error() is None, message.error()
                    found.append(message)
            return found
        finally:
            consumer.close()

    def received(self) -> Sequence[bytes]:
        return [m.value() for m in self.messages()]


class InfluxServer(Server):
    """InfluxDB 1, with the database `edge`."""

    needs = ("influxd", "influxdb")
    whole = False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config = folder / "influx.conf"
        self.config.write_text(
            f'reporting-disabled = true\nbind-address = "127.0.0.1:{free_port()}"\n'
            f'[meta]\ndir = "{folder}/meta"\n[data]\ndir = "{folder}/data"\nwal-dir = "{folder}/wal"\n'
            f'[http]\nbind-address = "127.0.0.1:{self.port}"\nlog-enabled = false\n[monitor]\nstore-enabled = false\n'
        )

    @property
    def uri(self) -> str:
        return f"influx:http://127.0.0.1:{self.port}#db=edge"

    def command(self) -> Sequence[str]:
        return ["influxd", "-config", str(self.config)]

    def answers(self) -> bool:
        try:
            self.query("CREATE DATABASE edge")
        except OSError:
            return False
        return True

    def query(self, text: str) -> list[dict[str, Any]]:
        """The rows of all series, with the tags among the columns."""
        words = urllib.parse.urlencode({"db": "edge", "epoch": "ns", "q": text}).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/query", words, timeout=150) as answer:
            (result,) = json.load(answer)["results"]
        return [dict(zip(s["columns"], row, strict=True)) for s in result.get("series", ()) for row in s["values"]]

    def received(self) -> Sequence[bytes]:
        return [json.dumps({"seq": row["seq"]}).encode() for row in self.query("SELECT seq FROM /.*/")]


STORES: dict[str, type[Server]] = {
    "webhook": WebhookReceiver,
    "redis": RedisServer,
    "postgres": PostgresServer,
    "nats": NatsServer,
    "kafka": KafkaCluster,
    "influx": InfluxServer,
}
