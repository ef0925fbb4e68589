"""`--sink webhook:https://host/path`: results as POST requests, confirmed by a 2xx.

A request holds one result, or with `#batch=N` an array of up to N. `Idempotency-Key` is the same for the same results
whenever they are sent, so a receiver that keeps it drops repeats; of arrays each result's `id` says more, for after an
outage they may be cut in another way.

With `#secret_file` requests are signed as https://www.standardwebhooks.com says: `webhook-id`, `webhook-timestamp`,
`webhook-signature`; with `#token_file` they carry a bearer token.

An answer that would be the same for every result (no right, no such path, too busy) means away, and the results wait;
one about what the request holds (400, 413, 422, ...) means that this result is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from urllib.parse import quote

import msgspec

from edge.errors import ConfigError, SampleError, UnavailableError
from edge.plugins.contexts import SinkContext
from edge.plugins.declarations import SinkInfo
from edge.plugins.protocols import Clock
from edge.plugins.reach import Reached
from edge.remote.address import Address, parse, secret
from edge.remote.http import Answer, HttpClient
from edge.remote.store import Record, StoreSink
from edge.telemetry.clock import SystemClock

USAGE = "webhook:https://host/path"
SAFE = "/%:@!$&'()*+,;=~"
"""Of a path: what stands there as it is."""
AT_ONCE = 4
"""Requests in one turn of the outbox: ten seconds each at most, and a thread that hangs for a minute is restarted."""
WAIT_MOST_S = 3600.0
"""Of a Retry-After: a server that says a week has its clock wrong more likely than it means it."""
ABOUT_ALL = frozenset({401, 402, 403, 404, 405, 406, 407, 408, 410, 421, 423, 425, 426, 429, 451})
"""Of 4xx: the next result would be told the same. It waits for what a person has to mend."""


class WebhookOptions(msgspec.Struct, frozen=True):
    """Behind the #."""

    batch: int = 1
    secret_file: str = ""
    token_file: str = ""
    ca: str = ""


class Webhook:
    """A receiver of webhooks."""

    def __init__(self, address: Address, options: WebhookOptions, clock: Clock) -> None:
        """Raises ConfigError for a file that cannot be read."""
        self._address = address
        self._options = options
        self._clock = clock
        self._target = quote(address.path or "/", safe=SAFE) + (f"?{address.query}" if address.query else "")
        self._http = HttpClient(address, options.ca)
        self._headers: Mapping[str, str] = {}
        self._key = b""
        self._not_before_ns = 0
        self._read_secrets()

    def _read_secrets(self) -> None:
        """Again for each connection: they may have been changed."""
        token = secret("--sink webhook: #token_file", self._options.token_file)
        login = f"{self._address.username}:{self._address.password}".encode()
        basic = f"Basic {base64.b64encode(login).decode()}" if self._address.username else ""
        authorization = f"Bearer {token}" if token else basic
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": "edge-run",
            **({"Authorization": authorization} if authorization else {}),
        }
        self._key = _signing_key(secret("--sink webhook: #secret_file", self._options.secret_file))

    def connect(self) -> None:
        wait_s = (self._not_before_ns - self._clock.monotonic_ns()) / 1e9
        if wait_s > 0:
            raise UnavailableError(f"{self._address}: asks to be left alone for {wait_s:.0f} s more")
        self._read_secrets()
        self._http.connect()

    def write(self, records: Sequence[Record]) -> None:
        batch = self._options.batch > 1
        body = b"[" + b",".join([r.payload for r in records]) + b"]" if batch else records[0].payload
        answer = self._http.ask("POST", self._target, self._signed(records, body), body)
        if 200 <= answer.status < 300:
            return
        self._judge(answer)

    def _signed(self, records: Sequence[Record], body: bytes) -> dict[str, str]:
        name = records[0].id
        if len(records) > 1:
            name = hashlib.sha256("\n".join([r.id for r in records]).encode()).hexdigest()
        headers = {**self._headers, "Idempotency-Key": name}
        if self._key:
            at = str(self._clock.time_ns() // 1_000_000_000)
            signed = hmac.digest(self._key, f"{name}.{at}.".encode() + body, "sha256")
            headers["webhook-id"] = name
            headers["webhook-timestamp"] = at
            headers["webhook-signature"] = f"v1,{base64.b64encode(signed).decode()}"
        return headers

    def _judge(self, answer: Answer) -> None:
        """Raises UnavailableError, SampleError."""
        said = f"{self._address}: {answer.said}"
        if 300 <= answer.status < 400:
            to = answer.headers.get("location", "another address")
            raise UnavailableError(f"{said}: it sends elsewhere, which a POST does not follow; say webhook:{to}")
        if 400 <= answer.status < 500 and answer.status not in ABOUT_ALL:
            raise SampleError(said)
        wait_s = min(_retry_after_s(answer, self._clock), WAIT_MOST_S)
        self._not_before_ns = self._clock.monotonic_ns() + int(wait_s * 1e9)
        raise UnavailableError(said)

    def reach(self) -> Reached:
        self._read_secrets()
        self._http.connect()
        answer = self._http.ask("HEAD", self._target, self._headers)
        text = f"{self._address} answers ({answer.status} to HEAD)"
        if answer.status in (401, 403, 407):
            return Reached(text, "it lets nobody in like this", "check #token_file, or the user in the address")
        if answer.status in (404, 410):
            return Reached(text, "there may be nothing at this path", "check the path; some say so to HEAD alone")
        return Reached(text)

    def close(self) -> None:
        self._http.close()


def _signing_key(text: str) -> bytes:
    """Of a secret: base64 after `whsec_`, else its own bytes. Raises ConfigError."""
    if not text.startswith("whsec_"):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except binascii.Error as exc:
        raise ConfigError(f"--sink webhook: #secret_file: what follows whsec_ is not base64: {exc}") from exc


def _retry_after_s(answer: Answer, clock: Clock) -> float:
    """Seconds of a Retry-After, which may be a date; 0 where there is none."""
    said = answer.headers.get("retry-after", "").strip()
    if said.isdigit():
        return float(said)
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - clock.time_ns() / 1e9)
    except ValueError:
        return 0.0


def create(rest: str, context: SinkContext) -> StoreSink:
    """`rest` is the address. Raises ConfigError."""
    address, options = parse("webhook", rest, WebhookOptions, USAGE)
    if options.batch < 1:
        raise ConfigError(f"--sink webhook: #batch={options.batch}: a number of at least 1 belongs there")
    store = Webhook(address, options, context.clock or SystemClock())
    return StoreSink(store, window=AT_ONCE * options.batch, most=options.batch)


FILES = ("secret_file", "token_file", "ca")
SINK = SinkInfo(edge_api=1, create=create, usage=USAGE, reads_files=FILES)
