"""What a person at a terminal sees of a service: how to listen and to ask by MQTT, each new kind of result, and for a
phone the live page's address as a code.

Piped, and as a service, none of it is printed: the log and the topics say it all.
"""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import shutil
import sys
from collections.abc import Hashable, Sequence
from pathlib import Path

import msgspec

from edge.data.result import Result, Skipped
from edge.data.sample import Sample
from edge.data.vocabulary import OBJECTS
from edge.model import example
from edge.model.manifest import Manifest
from edge.mqtt.topics import Topics
from edge.mqtt.url import BrokerUrl
from edge.settings.settings import MqttSettings
from edge.sinks import console

HERE = "here:    each new kind of result, once"
KINDS_MOST = 20
"""So many kinds get a line each."""
BRIGHT_ON_BLACK, PLAIN = "\x1b[97;40m", "\x1b[0m"
PASTED_MOST = 1000
"""Characters of an example row that is still pasted rather than put into a file."""


class KindsOfResult:
    """An observer that prints a line for each result whose kind has not been seen: another label, other objects, the
    first anomaly. Of the thread that publishes."""

    def __init__(self, run: str = "") -> None:
        """`run` stands before each line where several runs share the terminal."""
        self._before = f"{run}  " if run else ""
        self._seen: set[Hashable] = set()

    def observe(self, sample: Sample, results: Sequence[Result | Skipped]) -> None:
        """Prints at most `KINDS_MOST` lines in a life."""
        for result in results:
            if isinstance(result, Result) and len(self._seen) <= KINDS_MOST:
                self._look_at(result)

    def _look_at(self, result: Result) -> None:
        found = kind(result)
        if found in self._seen:
            return
        self._seen.add(found)
        if len(self._seen) > KINDS_MOST:
            _say("(further kinds of results are not shown here; subscribe to see all)")
        else:
            _say(self._before + console.describe(msgspec.to_builtins(result)))


def kind(result: Result) -> Hashable:
    """What a person would call it: the top class, which objects, normal or not; numbers are all of one kind."""
    found = result.predictions
    if result.task == "classify":
        return found[0].label if found else None
    if result.task in OBJECTS:
        return frozenset(p.label for p in found)
    if result.task == "anomaly":
        return any(p.is_anomaly for p in found)
    if result.task == "segment":
        return frozenset(label for p in found for label in p.labels)
    return tuple(getattr(p, "name", "") for p in found)


def lines(url: BrokerUrl, mqtt: MqttSettings, topics: Topics, manifest: Manifest, *, asks: bool) -> list[str]:
    """How to listen, and where the model `asks` for its inputs by MQTT, how to send one; ready to be pasted.

    mosquitto's programs speak no WebSockets: then it is the topics alone.
    """
    if url.websockets:
        return [f"listen on   {topics.all}", *([f"send to     {topics.input}"] if asks else [])]
    reached = _reached(url, mqtt)
    listen = f"listen:  mosquitto_sub {reached}-v -t {shlex.quote(topics.all)}"
    send = f"send:    mosquitto_pub {reached}-q 1 -t {shlex.quote(topics.input)} {_payload(manifest)}"
    return [listen, send] if asks else [listen]


def phone(url: str, token_file: Path | None, *, columns: int) -> str:
    """The address of the live page, and below it as a QR code where that fits into so many columns.

    The code holds the address alone: the token would be on the screen for all to see, and in the phone's history.
    """
    asks = f"  (it asks once for the token in {token_file})" if token_file is not None else ""
    code = _qr(url)
    fits = code is not None and len(code[0]) <= columns
    # Both colours are said: a code in a light terminal's own would be the negative, which not every phone reads.
    rows = [f"{BRIGHT_ON_BLACK}{row}{PLAIN}" for row in code] if code is not None and fits else []
    return "\n".join([f"phone:   {url}{asks}", *rows])


def _qr(url: str) -> Sequence[str] | None:
    """Two rows of the code in each line of text; None without the library."""
    try:
        import segno
    except ImportError:
        return None  # an older installation of [http]: the address is enough
    text = io.StringIO()
    segno.make_qr(url, error="m").terminal(text, border=2, compact=True)
    return text.getvalue().splitlines()


def _reached(url: BrokerUrl, mqtt: MqttSettings) -> str:
    """The options that name the broker, with a blank behind each; a password is read from its file, never shown."""
    words = ["-h", url.host] if url.host != "localhost" else []
    words += ["-p", str(url.port)] if url.port != 1883 else []
    words += ["-u", url.username] if url.username else []
    said = "".join(f"{shlex.quote(word)} " for word in words)
    if url.username and mqtt.password_file is not None:
        said += f'-P "$(cat {shlex.quote(str(mqtt.password_file))})" '
    elif url.username and url.password:
        said += "-P PASSWORD "
    for flag, file in (("--cafile", mqtt.ca), ("--cert", mqtt.cert), ("--key", mqtt.key)):
        said += f"{flag} {shlex.quote(str(file))} " if file is not None else ""
    return said + ("--capath /etc/ssl/certs " if url.tls and mqtt.ca is None else "")


def _payload(manifest: Manifest) -> str:
    kinds = {i.kind for i in manifest.inputs if i.kind != "constant" and not i.state_from}
    if kinds & {"image", "audio"}:
        return "-f picture.jpg" if "image" in kinds else "-f sound.wav"
    row = example.row(manifest)
    if row is None:
        return "-f row.json" if kinds & {"table", "column"} else "-f array.npy"
    texts = [_json(row), *([_json(list(row.values()))] if isinstance(row, dict) else [])]
    short = next((text for text in texts if len(text) <= PASTED_MOST), None)
    return f"-m {shlex.quote(short)}" if short is not None else "-f row.json"


def _json(row: object) -> str:
    return msgspec.json.encode(row).decode().replace(".0,", ",").replace(".0]", "]").replace(".0}", "}")


def is_there() -> bool:
    """True where standard output is read by a person."""
    return sys.stdout is not None and sys.stdout.isatty()


def columns() -> int:
    """How wide it is; 0 where it cannot show a QR code: it knows no colours, or no blocks."""
    if os.environ.get("TERM", "dumb") == "dumb":
        return 0
    try:
        "\u2580\u2584\u2588".encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return 0
    return shutil.get_terminal_size().columns


def show(said: Sequence[str]) -> None:
    """Prints the lines to start with."""
    for line in said:
        _say(line)


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # the terminal was closed: the service goes on
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
