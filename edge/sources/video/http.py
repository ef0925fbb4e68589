"""`http://user@host/path`: a network camera's snapshot, again and again, or its stream of Motion JPEG.

Which of the two it is the answer says. Behind a # stand our own options: `#interval=5&password_file=/etc/edge/cam`.
Pictures are handed on as the bytes that came, and decoded where those of other senders are.
"""

from __future__ import annotations

import time
from functools import partial

import msgspec
from msgspec.structs import replace

from edge.data import magic
from edge.data.sample import EncodedImage
from edge.data.tensor import Array
from edge.errors import ConfigError, UnavailableError
from edge.plugins.contexts import SourceContext
from edge.plugins.declarations import SourceInfo
from edge.remote.address import Address, parse, secret, without_credentials
from edge.remote.get import Answer, Getter
from edge.remote.login import Login
from edge.remote.timed import TIMEOUT_S
from edge.sources.video.live import Device, LiveSource
from edge.sources.video.multipart import FIRST_PART, Concatenated, Parts, goes_on

USAGE = "http://user@host/snapshot.jpg#interval=1&password_file=FILE"
INTERVAL_S = 1.0
INTERVAL_MOST_S = 86_400.0
HEAD = 256
"""Bytes from which it is seen what an answer is."""


class HttpOptions(msgspec.Struct, frozen=True):
    """Behind the #. `interval` in seconds; None: each second, and of a stream each picture."""

    interval: float | None = None
    password_file: str = ""
    ca: str = ""


class Snapshot:
    """A picture for each request; the first answer is there already."""

    def __init__(self, getter: Getter, first: Answer, interval_s: float, most: int) -> None:
        self.interval_s = interval_s
        self._getter, self._first, self._most = getter, first, most
        self._fresh = True

    def read(self) -> EncodedImage:
        """Raises UnavailableError where what comes is no picture."""
        answer = self._first if self._fresh else self._getter.get()
        self._fresh = False
        answer.bound(self._most)
        if magic.picture(answer.look(HEAD)[:64]) is None:
            raise UnavailableError(f"the answer is {_what(answer)}; name the address of a snapshot or a stream")
        return EncodedImage(answer.body(self._most))

    def to_rgb(self, pixels: Array) -> Array:
        return pixels

    def close(self) -> None:
        self._getter.close()


class MjpegStream:
    """The parts of one endless answer."""

    def __init__(self, getter: Getter, answer: Answer, parts: Parts | Concatenated, interval_s: float) -> None:
        self._getter, self._answer, self._interval_s = getter, answer, interval_s
        self._parts = parts
        self._due_s = 0.0

    def read(self) -> EncodedImage | None:
        """The next one; with an interval the first after it. Raises UnavailableError."""
        while True:
            self._answer.begin()
            body = self._parts.next()
            if body is None:
                return None
            now_s = time.monotonic()
            if now_s >= self._due_s:
                self._due_s = now_s + self._interval_s
                return EncodedImage(body)

    def to_rgb(self, pixels: Array) -> Array:
        return pixels

    def close(self) -> None:
        self._getter.close()


class HttpCamera:
    """How it is opened: `HttpCamera(...)()` does it."""

    def __init__(self, address: Address, options: HttpOptions, most: int) -> None:
        """Raises ConfigError."""
        self._address, self._options, self._most = address, options, most
        self._getter()

    def _getter(self) -> Getter:
        """The password's file is read each time: it may have been changed."""
        address = self._address
        said = secret(f"{address.flag} {address.scheme}: #password_file", self._options.password_file)
        login = Login(str(address), address.username, said or address.password)
        return Getter(address, login, self._options.ca)

    def __call__(self) -> Device:
        """Raises UnavailableError."""
        try:
            getter = self._getter()
        except ConfigError as exc:  # it was right at the start: a file is being changed
            raise UnavailableError(str(exc)) from exc
        try:
            answer = getter.get()
            parts = _parts(answer, self._most)
        except UnavailableError:
            getter.close()
            raise
        if parts is not None:
            return MjpegStream(getter, answer, parts, self._options.interval or 0.0)
        return Snapshot(getter, answer, self._options.interval or INTERVAL_S, self._most)


def _parts(answer: Answer, most: int) -> Parts | Concatenated | None:
    """What an endless answer is made of; None for one picture. ffmpeg as a server does not say which it is.

    Raises UnavailableError."""
    if answer.kind.startswith("multipart/"):
        return Parts(answer.more, answer.boundary, most)
    answer.bound(most)
    if FIRST_PART.match(answer.look(HEAD).lstrip()):
        return Parts(answer.more, "", most)
    if answer.length is None and goes_on(answer.look, most):
        return Concatenated(answer.more, most)
    return None


def _what(answer: Answer) -> str:
    if not answer.look(1):
        return "empty"
    packed = f", compressed by {answer.encoding!r}," if answer.encoding not in ("", "identity") else ""
    return f"{answer.kind or 'of no kind that it names'}{packed} and no picture"


def create(scheme: str, rest: str, context: SourceContext) -> LiveSource:
    """`rest` is the address without its scheme, `//host...`. Raises ConfigError."""
    address, options = parse(scheme, rest, HttpOptions, USAGE, "--source")
    interval = options.interval
    if interval is not None and not 0 < interval <= INTERVAL_MOST_S:
        raise ConfigError(f"--source {address}: #interval={interval:g}: seconds above 0, at most a day, belong there")
    name = without_credentials(f"{scheme}:{rest}")
    start = HttpCamera(address, options, context.max_input)
    return LiveSource(name, start, context.clock, stall_s=2 * TIMEOUT_S + (interval or INTERVAL_S))


SOURCE = SourceInfo(
    edge_api=1,
    create=partial(create, "http"),
    usage="http://user@host/snapshot.jpg",
    gives="pictures",
    ongoing=True,
    reads_files=("password_file", "ca"),
    fix="is the camera on, and are address, user and password right? curl -v --anyauth -u USER URL shows it",
)
ENCRYPTED = replace(SOURCE, create=partial(create, "https"), usage="https://host/stream.mjpg")
