"""`--sink postgres://user@host/database`: a row of a table for each result, confirmed by its commit.

A statement takes many results as they are, and the server takes the columns out of their JSON. The primary key is `id`
and `time` (which an `id` never changes): a repeat conflicts with itself and is left out. With `#create` the table is
made, as a hypertable where TimescaleDB is installed.

The class of an SQLSTATE says what an error is about: 22, 23, 44 and 54 and an exception that a trigger raises are about
the row, which is refused; all others are about the connection, the table or the server, and the results wait.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from edge.errors import ConfigError, Needing, SampleError, UnavailableError
from edge.plugins.contexts import SinkContext
from edge.plugins.declarations import SinkInfo
from edge.plugins.reach import Reached
from edge.remote.address import Address, parse, password_of
from edge.remote.store import Record, StoreSink

if TYPE_CHECKING:
    import psycopg
    from psycopg.sql import Composed

USAGE = "postgres://user@host:5432/database"
CONNECT_S = 5
ANSWER_S = 10
ABOUT_THE_ROW = ("22", "23", "44", "54", "P0001")
"""What its SQLSTATE begins with: data exception, constraint, view's check, program limit, a trigger's exception."""
TABLE = """
CREATE TABLE IF NOT EXISTS {} (
  id text NOT NULL, time timestamptz NOT NULL, device text, model text, source text, seq bigint, task text,
  result jsonb NOT NULL, PRIMARY KEY (id, time))
"""
INSERT = """
INSERT INTO {} (id, time, device, model, source, seq, task, result)
SELECT r->>'id', (r->>'time')::timestamptz, r->>'device', r->'model'->>'name', r->>'source', (r->>'seq')::bigint,
  r->>'task', r
FROM jsonb_array_elements(%s::jsonb) AS given(r)
ON CONFLICT DO NOTHING
"""
UNIQUE = """
SELECT count(*) FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
WHERE i.indrelid = to_regclass(%s) AND i.indisunique AND a.attname = 'id'
"""


class PostgresOptions(msgspec.Struct, frozen=True):
    """Behind the #."""

    table: str = "results"
    create: bool = False
    password_file: str = ""


class Postgres:
    """A table of a PostgreSQL database."""

    def __init__(self, address: Address, options: PostgresOptions) -> None:
        """Raises ConfigError."""
        self._address = address
        self._options = options
        self._insert: Composed | None = None
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None
        self._conninfo()

    def _conninfo(self) -> str:
        """With the password as its file has it now. Raises ConfigError."""
        from psycopg import ProgrammingError
        from psycopg.conninfo import make_conninfo

        address = self._address
        query = f"?{address.query}" if address.query else ""
        password = password_of("postgres", self._options.password_file, address)
        login = {"user": address.username, "password": password}
        try:
            return make_conninfo(
                f"postgresql://{address.hosts}{address.path}{query}",
                **{k: v for k, v in login.items() if v},
                connect_timeout=CONNECT_S,
                tcp_user_timeout=ANSWER_S * 1000,
                application_name="edge-run",
                client_encoding="utf8",
                options=f"-c statement_timeout={ANSWER_S}s",
            )
        except ProgrammingError as exc:
            raise ConfigError(f"--sink {address}: {_line(exc)}; say {USAGE}") from exc

    def _name(self) -> Composed:
        from psycopg.sql import SQL, Identifier

        return SQL("{}").format(Identifier(*self._options.table.split(".")))

    def connect(self) -> None:
        """The table is looked at, too: an insert of nothing needs the columns and the right to insert."""
        from psycopg.sql import SQL

        self.close()
        self._connection = self._connected()
        self._insert = SQL(INSERT).format(self._name())
        if self._options.create:
            self._make_table(self._connection)
        self._execute("[]")

    def _connected(self) -> psycopg.Connection[tuple[object, ...]]:
        import psycopg

        try:
            return psycopg.connect(self._conninfo(), autocommit=True)
        except psycopg.Error as exc:
            raise UnavailableError(f"{self._address}: {_line(exc)}") from exc

    def _make_table(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        import psycopg
        from psycopg.sql import SQL

        table = self._options.table
        try:
            there = connection.execute("SELECT to_regclass(%s)", [table]).fetchone()
            if there is not None and there[0] is not None:
                return
            connection.execute(SQL(TABLE).format(self._name()))
            if connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'").fetchone():
                connection.execute("SELECT create_hypertable(%s, 'time', if_not_exists => true)", [table])
        except psycopg.Error as exc:
            raise UnavailableError(f"{self._address}: table {table}: {_line(exc)}") from exc

    def write(self, records: Sequence[Record]) -> None:
        self._execute((b"[" + b",".join([r.payload for r in records]) + b"]").decode())

    def _execute(self, results: str) -> None:
        import psycopg

        if self._connection is None or self._insert is None:
            raise UnavailableError(f"{self._address}: not connected")
        watch = threading.Timer(ANSWER_S + 1, _hang_up, [self._connection])
        watch.start()
        try:
            self._connection.execute(self._insert, [results], prepare=True)
        except psycopg.Error as exc:
            said = f"{self._address}: table {self._options.table}: {_line(exc)}"
            if (exc.sqlstate or "").startswith(ABOUT_THE_ROW):
                raise SampleError(said) from exc
            raise UnavailableError(f"{said}{_way_out(exc.sqlstate)}") from exc
        finally:
            watch.cancel()
            watch.join()

    def reach(self) -> Reached:
        import psycopg

        connection = self._connected()
        try:
            there = connection.execute("SELECT to_regclass(%s)", [self._options.table]).fetchone()
            unique = connection.execute(UNIQUE, [self._options.table]).fetchone()
            fsync = connection.execute("SHOW fsync").fetchone()
            version = connection.info.server_version
        except psycopg.Error as exc:
            raise UnavailableError(f"{self._address}: {_line(exc)}") from exc
        finally:
            connection.close()
        text = f"{self._address} answers, PostgreSQL {version // 10000}.{version % 10000}"
        table = self._options.table
        if there is None or there[0] is None:
            if self._options.create:
                return Reached(f"{text}, table {table} will be made")
            return Reached(text, f"there is no table {table}", "add create behind the #, or make it: docs/SINKS.md")
        if unique is None or not unique[0]:
            fix = f"ALTER TABLE {table} ADD PRIMARY KEY (id, time)"
            return Reached(f"{text}, table {table}", "a result that comes again would be there twice", fix)
        if fsync is not None and fsync[0] == "off":
            return Reached(
                text, "fsync is off: a power cut may cost the whole database", "fsync = on in postgresql.conf"
            )
        return self._insertable(f"{text}, table {table}")

    def _insertable(self, text: str) -> Reached:
        try:
            self.connect()
        except UnavailableError as exc:
            said, _, way_out = str(exc).partition("; ")
            return Reached(text, said, way_out or "docs/SINKS.md names the columns")
        return Reached(text)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _hang_up(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """The server's own limit has passed: it is frozen, or its machine is, and libpq would wait for ever."""
    with socket.socket(fileno=os.dup(connection.fileno())) as side:
        side.shutdown(socket.SHUT_RDWR)


def _line(exc: psycopg.Error) -> str:
    """What the server said, in one line."""
    return " ".join(str(exc.diag.message_primary or exc or type(exc).__name__).split())


def _way_out(sqlstate: str | None) -> str:
    return {
        "42P01": "; make the table, or add create behind the #",
        "42703": "; add the column, or name another #table: docs/SINKS.md",
        "42501": "; GRANT INSERT to this user",
    }.get(sqlstate or "", "")


def create(rest: str, context: SinkContext) -> StoreSink:
    """`rest` is the address. Raises ConfigError, also where the library is not installed."""
    with Needing("the postgres sink", "psycopg", "postgres"):
        import psycopg  # noqa: F401 - said at the start, not at the first result
    address, options = parse("postgres", rest, PostgresOptions, USAGE)
    return StoreSink(Postgres(address, options))


FILES = ("password_file",)
SINK = SinkInfo(edge_api=1, create=create, usage=USAGE, reads_files=FILES)
