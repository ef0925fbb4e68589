"""`--sink redis://host:6379/stream`: an entry of a stream for each result, confirmed when the server has written it.

A script adds an entry only where the result's number is not marked yet, and marks it, in one step: a repeat is dropped
whoever sends it. Marks are a bit for each result of a boot, in strings of 8 kB for 65,536 results that expire after
thirty days; a device that makes one result a second costs 340 kB. The keys share the stream's hash slot.

What a confirmation is worth is the server's matter: without an append-only file it keeps nothing over a kill. `--check`
says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote

import msgspec

from edge.errors import ConfigError, Needing, UnavailableError
from edge.plugins.contexts import SinkContext
from edge.plugins.declarations import SinkInfo
from edge.plugins.reach import Reached
from edge.remote.address import Address, parse, password_of
from edge.remote.store import Record, StoreSink

if TYPE_CHECKING:
    import redis
    from redis.commands.core import Script

USAGE = "redis://host:6379/stream"
PORT = 6379
TIMEOUT_S = 10.0
CHUNK = 65_536
"""Results whose marks are in one string."""
REMEMBERED_S = 30 * 24 * 3600
SCRIPT = """
local count = #KEYS - 1
for i = 1, count do
  local marks, bit = KEYS[i + 1], ARGV[3 * i]
  if redis.call('GETBIT', marks, bit) == 0 then
    if ARGV[1] == '0' then redis.call('XADD', KEYS[1], '*', 'id', ARGV[3 * i + 1], 'result', ARGV[3 * i + 2])
    else redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'id', ARGV[3 * i + 1], 'result', ARGV[3 * i + 2]) end
    redis.call('SETBIT', marks, bit, 1)
  end
  if i == count or KEYS[i + 2] ~= marks then redis.call('EXPIRE', marks, ARGV[2]) end
end
"""
"""The mark comes last: an entry that cannot be added (another type at this key) is not marked."""


class RedisOptions(msgspec.Struct, frozen=True):
    """Behind the #. `maxlen` 0: the stream grows for ever."""

    maxlen: int = 100_000
    db: int = 0
    password_file: str = ""
    ca: str = ""


class Redis:
    """A Redis server, or one that speaks its protocol."""

    def __init__(self, address: Address, options: RedisOptions, *, tls: bool) -> None:
        """Raises ConfigError."""
        self._address = address
        self._options = options
        self._tls = tls
        self._where = address.host_port(PORT)
        self._stream = unquote(address.path.removeprefix("/"))
        if not self._stream:
            raise ConfigError(f"--sink {address}: has no stream; say {USAGE}")
        self._marks = self._stream if "{" in self._stream else f"{{{self._stream}}}"
        self._client: redis.Redis | None = None
        self._script: Script | None = None
        self._password()

    def _password(self) -> str | None:
        return password_of("redis", self._options.password_file, self._address) or None

    def _connected(self) -> redis.Redis:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        host, port = self._where
        client = redis.Redis(
            host=host,
            port=port,
            db=self._options.db,
            username=self._address.username or None,
            password=self._password(),
            socket_connect_timeout=TIMEOUT_S / 2,
            socket_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),  # the outbox tries again
            ssl=self._tls,
            ssl_ca_certs=self._options.ca or None,
            client_name="edge-run",
        )
        try:
            client.ping()
        except redis.RedisError as exc:
            client.close()
            way_out = "; check #password_file" if isinstance(exc, redis.AuthenticationError) else ""
            raise UnavailableError(f"{self._address}: {exc}{way_out}") from exc
        return client

    def connect(self) -> None:
        self.close()
        self._client = self._connected()
        self._script = self._client.register_script(SCRIPT)

    def write(self, records: Sequence[Record]) -> None:
        if self._script is None:
            raise UnavailableError(f"{self._address}: not connected")
        import redis

        keys, arguments = [self._stream], [self._options.maxlen, REMEMBERED_S]
        rest: list[int | str | bytes] = []
        for record in records:
            chunk, bit = divmod(record.seq, CHUNK)
            keys.append(f"{self._marks}:seen:{record.stream}:{chunk}")
            rest += (bit, record.id, record.payload)
        try:
            self._script(keys, [*arguments, *rest])
        except redis.RedisError as exc:
            raise UnavailableError(f"{self._address}: {exc}") from exc

    def reach(self) -> Reached:
        import redis

        client = self._connected()
        try:
            info = client.info()
            fsync = _fsync(client)
        except redis.RedisError as exc:
            raise UnavailableError(f"{self._address}: {exc}") from exc
        finally:
            client.close()
        text = f"{self._address} answers, Redis {info.get('redis_version', '?')}, stream {self._stream}"
        if not int(info.get("aof_enabled", 0)):
            fix = "redis-cli config set appendonly yes, and the same in redis.conf"
            return Reached(text, "it keeps nothing over a kill or a power cut: confirmed results are lost then", fix)
        if str(info.get("maxmemory_policy", "")).startswith("allkeys"):
            fix = "maxmemory-policy noeviction in redis.conf"
            return Reached(text, "it throws keys away when its memory is full, and results with them", fix)
        return Reached(f"{text}, append-only file{f' synced {fsync}' if fsync else ''}")

    def close(self) -> None:
        client, self._client, self._script = self._client, None, None
        if client is not None:
            client.close()


def _fsync(client: redis.Redis) -> str:
    """`always`, `everysec` or `no`; "" where the server does not tell."""
    import redis

    try:
        return str(client.config_get("appendfsync").get("appendfsync", ""))
    except redis.ResponseError:
        return ""


def create(rest: str, context: SinkContext, *, scheme: str = "redis") -> StoreSink:
    """`rest` is the address. Raises ConfigError, also where the library is not installed."""
    address, options = parse(scheme, rest, RedisOptions, USAGE)
    if options.maxlen < 0:
        raise ConfigError(f"--sink {scheme}: #maxlen={options.maxlen}: a number of at least 0 belongs there")
    with Needing("the redis sink", "redis", "redis"):
        import redis  # noqa: F401 - said at the start, not at the first result
    return StoreSink(Redis(address, options, tls=scheme == "rediss"))


def create_encrypted(rest: str, context: SinkContext) -> StoreSink:
    """Over TLS. Raises ConfigError."""
    return create(rest, context, scheme="rediss")


FILES = ("password_file", "ca")
SINK = SinkInfo(edge_api=1, create=create, usage=USAGE, reads_files=FILES)
ENCRYPTED = SinkInfo(edge_api=1, create=create_encrypted, usage="rediss://host:6379/stream", reads_files=FILES)
