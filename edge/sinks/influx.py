"""`--sink influx:http://host:8086#db=edge`: a point for each result, as line protocol, confirmed by HTTP 204.

A point is named by measurement, tags and time, and one that comes again writes over itself. So that two results of one
time stay two, the time of a point is that of its result (whole microseconds) and as many nanoseconds as its number in
this boot, modulo a million: a millisecond at most, and growing with time and number, so that neighbours never meet.

`#db` means the API of InfluxDB 1 (and of what speaks it), `#org` and `#bucket` that of 2 and 3.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import msgspec

from edge.data import line_protocol
from edge.errors import ConfigError, SampleError, UnavailableError
from edge.plugins.contexts import SinkContext
from edge.plugins.declarations import SinkInfo
from edge.plugins.reach import Reached
from edge.remote.address import Address, parse, password_of, secret
from edge.remote.http import Answer, HttpClient
from edge.remote.store import Record, StoreSink

USAGE = "influx:http://host:8086#db=edge"
SPREAD = 1_000_000
"""Nanoseconds within which points of one time are told apart."""
LONGEST_TEXT = 60_000
"""Of a field: the server refuses a point with one of 64 kB."""
ABOUT_THE_ROWS = frozenset({400, 413, 422})
EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")

_TEXT = str.maketrans({'"': r"\"", "\\": r"\\"})


class InfluxOptions(msgspec.Struct, frozen=True):
    """Behind the #. `measurement` "": the model's name."""

    db: str = ""
    org: str = ""
    bucket: str = ""
    measurement: str = ""
    password_file: str = ""
    token_file: str = ""
    ca: str = ""


class _Model(msgspec.Struct):
    name: str = ""
    version: str = ""


class _Timing(msgspec.Struct):
    infer: float = 0.0


class _Result(msgspec.Struct):
    """What a point is made of."""

    id: str
    time: datetime
    seq: int
    device: str = ""
    source: str = ""
    task: str = ""
    model: _Model = msgspec.field(default_factory=_Model)
    predictions: msgspec.Raw = msgspec.Raw(b"[]")
    timing_ms: _Timing = msgspec.field(default_factory=_Timing)


_RESULTS = msgspec.json.Decoder(_Result)


def line(payload: bytes, measurement: str = "") -> str:
    """A result as line protocol, with the time in nanoseconds. Raises SampleError for one that lacks id or time."""
    try:
        result = _RESULTS.decode(payload)
    except msgspec.MsgspecError as exc:
        raise SampleError(f"no point can be made of it: {exc}") from exc
    tags = {"device": result.device, "model": result.model.name, "version": result.model.version}
    named = "".join(f",{name}={line_protocol.tag(value)}" for name, value in tags.items() if value)
    fields = ",".join(f"{name}={value}" for name, value in _fields(result).items())
    since = result.time - EPOCH
    time_us = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    head = line_protocol.measurement(measurement or result.model.name or "results")
    return f"{head}{named} {fields} {time_us * 1000 + result.seq % SPREAD}"


def _fields(result: _Result) -> dict[str, str]:
    """Numbers that are plotted, and the predictions as they are: what no number can say is not lost."""
    predictions = msgspec.json.decode(result.predictions)
    said: dict[str, str] = {}
    for name, value in (*_plotted(predictions), ("count", len(predictions)), ("infer_ms", result.timing_ms.infer)):
        said[line_protocol.tag(name)] = _value(value)
    text = bytes(result.predictions).decode()
    if len(text) <= LONGEST_TEXT:
        said["predictions"] = _value(text)
    else:
        said["predictions_bytes"] = f"{len(text)}i"
    return {**said, "id": _value(result.id), "seq": f"{result.seq}i", "source": _value(result.source)}


def _plotted(predictions: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str | float | bool]]:
    """Of the first prediction its label, score and anomaly; each regression and each area by its name."""
    for key in ("label", "score", "is_anomaly", "text"):
        if predictions and predictions[0].get(key) is not None:
            yield key, predictions[0][key]
    for each in predictions:
        if each.get("value") is not None:
            yield f"value_{each['name']}" if len(predictions) > 1 else "value", each["value"]
        for label, area in zip(each.get("labels", ()), each.get("areas", ()), strict=False):
            yield f"area_{label}", area


def _value(value: str | float | bool) -> str:
    """Numbers always as floats: a field whose type changes is refused for ever."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value.translate(_TEXT)}"' if isinstance(value, str) else repr(float(value))


class Influx:
    """A database or a bucket."""

    def __init__(self, address: Address, options: InfluxOptions) -> None:
        """Raises ConfigError."""
        if bool(options.db) == bool(options.bucket):
            raise ConfigError(f"--sink influx: say #db=NAME (InfluxDB 1), or #bucket=NAME&org=NAME (2 and 3); {USAGE}")
        self._address = address
        self._options = options
        self._http = HttpClient(address, options.ca)
        words = {"org": options.org, "bucket": options.bucket} if options.bucket else {"db": options.db}
        path = f"{address.path.rstrip('/')}{'/api/v2/write' if options.bucket else '/write'}"
        self._target = f"{path}?{urlencode({**words, 'precision': 'ns'})}"
        self._ping = f"{address.path.rstrip('/')}/ping"
        self._headers: Mapping[str, str] = {}
        self._read_secrets()

    def _read_secrets(self) -> None:
        token = secret("--sink influx: #token_file", self._options.token_file)
        password = password_of("influx", self._options.password_file, self._address)
        login = base64.b64encode(f"{self._address.username}:{password}".encode()).decode()
        said = f"Token {token}" if token else f"Basic {login}" if self._address.username else ""
        self._headers = {"User-Agent": "edge-run", **({"Authorization": said} if said else {})}

    def connect(self) -> None:
        self._read_secrets()
        self._http.connect()

    def write(self, records: Sequence[Record]) -> None:
        lines = [line(r.payload, self._options.measurement) for r in records]
        self._judge(self._http.ask("POST", self._target, self._headers, "\n".join(lines).encode()))

    def _judge(self, answer: Answer) -> None:
        """Raises SampleError, UnavailableError."""
        if 200 <= answer.status < 300:
            return
        said = f"{self._address}: {answer.said}"
        if answer.status in ABOUT_THE_ROWS:
            raise SampleError(said)
        raise UnavailableError(said)

    def reach(self) -> Reached:
        """A write of nothing tells a wrong name or login; some servers call it a bad request."""
        self.connect()
        version = self._http.ask("GET", self._ping, self._headers).headers.get("x-influxdb-version", "?")
        text = f"{self._address} answers, InfluxDB {version}"
        answer = self._http.ask("POST", self._target, self._headers, b"")
        if answer.status in (401, 403):
            return Reached(text, f"it lets nobody in like this: {answer.said}", "check #token_file or #password_file")
        if answer.status == 404:
            return Reached(text, answer.said, "make it over there, or check #db, #bucket and #org")
        return Reached(text)

    def close(self) -> None:
        self._http.close()


def create(rest: str, context: SinkContext) -> StoreSink:
    """`rest` is the address. Raises ConfigError."""
    address, options = parse("influx", rest, InfluxOptions, USAGE)
    return StoreSink(Influx(address, options))


FILES = ("password_file", "token_file", "ca")
SINK = SinkInfo(edge_api=1, create=create, usage=USAGE, reads_files=FILES)
