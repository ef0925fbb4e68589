"""Every setting of `edge-run` by name: what it takes, its default, what it means.

One table for flags (`--spool-max`), variables (`EDGE_SPOOL_MAX`) and keys of the TOML file (`spool-max`), so
that the three never differ.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

SIZES = {"": 1, "b": 1, "k": 10**3, "kb": 10**3, "m": 10**6, "mb": 10**6, "g": 10**9, "gb": 10**9}


NAME_MOST = 200
THREADS_MOST = 256
BATCH_MOST = 1000


def size(text: str) -> int:
    """Bytes from "256MB". Raises ValueError."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text.lower())
    if match is None or match[2] not in SIZES:
        raise ValueError("a size like 256MB belongs there")
    return int(float(match[1]) * SIZES[match[2]])


def count(text: str) -> int:
    """A whole number of at least 0. Raises ValueError."""
    try:
        number = int(text)
    except ValueError:
        raise ValueError("a whole number belongs there") from None
    if number < 0:
        raise ValueError("a number of at least 0 belongs there")
    return number


def positive(text: str) -> int:
    """A whole number of at least 1. Raises ValueError."""
    number = count(text)
    if not number:
        raise ValueError("a number of at least 1 belongs there")
    return number


def up_to(most: int) -> Callable[[str], int]:
    """A whole number from 1 to `most`. The parser raises ValueError."""

    def parse(text: str) -> int:
        number = positive(text)
        if number > most:
            raise ValueError(f"a number of at most {most} belongs there")
        return number

    return parse


def word(text: str) -> str:
    """A name of at most 200 characters. Raises ValueError."""
    if len(text) > NAME_MOST or not text.isprintable():
        raise ValueError(f"a name of at most {NAME_MOST} printable characters belongs there")
    return text


def rate(text: str) -> float:
    """A number of at least 0. Raises ValueError."""
    number = real(text)
    if number < 0:
        raise ValueError("a number of at least 0 belongs there")
    return number


def seconds(text: str) -> float:
    """Seconds, at least 0. Raises ValueError."""
    number = real(text)
    if number < 0:
        raise ValueError("seconds of at least 0 belong there")
    return number


def celsius(text: str) -> float:
    """Degrees that a processor may have. Raises ValueError."""
    number = real(text)
    if not 20 <= number <= 110:
        raise ValueError("degrees Celsius from 20 to 110 belong there")
    return number


def distance(text: str) -> float:
    """A number of at least 0. Raises ValueError."""
    number = real(text)
    if number < 0:
        raise ValueError("a number of at least 0 belongs there")
    return number


def real(text: str) -> float:
    """A finite number. Raises ValueError."""
    try:
        number = float(text)
    except ValueError:
        raise ValueError("a number belongs there") from None
    if number != number or number in (float("inf"), float("-inf")):
        raise ValueError("a finite number belongs there")
    return number


def share(text: str) -> float:
    """A number above 0, at most 1. Raises ValueError."""
    number = real(text)
    if not 0 < number <= 1:
        raise ValueError("a number above 0, at most 1, belongs there")
    return number


def numbers(text: str) -> tuple[float, ...]:
    """Numbers with commas between. Raises ValueError."""
    return tuple(real(part) for part in text.split(","))


def pixels(text: str) -> tuple[int, int]:
    """Width and height from "320x240". Raises ValueError."""
    match = re.fullmatch(r"(\d+)\s*[x,]\s*(\d+)", text.strip().lower())
    if match is None:
        raise ValueError("width and height like 320x240 belong there")
    return int(match[1]), int(match[2])


def discovery_prefix(text: str) -> str:
    """What discovery topics begin with. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*", text):
        raise ValueError("letters, digits, _ and - belong there; Home Assistant's own is homeassistant")
    return text


def path(text: str) -> Path:
    """A path; ~ is the home folder. Raises ValueError."""
    if not text:
        raise ValueError("a path belongs there")
    return Path(text).expanduser()


def one_of(*known: str) -> Callable[[str], str]:
    """One of some words. The parser raises ValueError."""

    def parse(text: str) -> str:
        if text not in known:
            raise ValueError(f"one of {', '.join(known)} belongs there")
        return text

    return parse


class Option(msgspec.Struct, frozen=True):
    """`parse` makes the value from text and raises ValueError; None: a switch. `many`: may be repeated.

    `alone` is the value where the flag is said without one (or with true, as a variable or key).
    """

    name: str
    help: str
    parse: Callable[[str], Any] | None = str
    default: Any = None
    metavar: str | None = None
    many: bool = False
    group: str = "model"
    alone: str | None = None

    @property
    def key(self) -> str:
        """The name as a Python identifier."""
        return self.name.replace("-", "_")

    @property
    def variable(self) -> str:
        """The environment variable."""
        return "EDGE_" + self.key.upper()


TASKS = ("classify", "detect", "regress", "anomaly", "segment", "keypoints", "raw")

OPTIONS: tuple[Option, ...] = (
    Option("model", "the .onnx or .tflite file", path, metavar="FILE"),
    Option("engine", "auto, onnxruntime or litert", one_of("auto", "onnxruntime", "litert"), "auto"),
    Option("threads", "threads for one inference", up_to(THREADS_MOST), metavar="N"),
    Option("provider", "execution provider, or the path of a TFLite delegate", str, "cpu", "NAME"),
    Option("task", "what the outputs mean: " + ", ".join(TASKS), one_of(*TASKS)),
    Option("labels", "a file with a label a line", path, metavar="FILE"),
    Option("threshold", "lowest score that is reported", real, metavar="X"),
    Option("top-k", "how many classes are reported; 0: all", count, metavar="N"),
    Option("decoder", "how boxes are read: the postprocessor's name", metavar="NAME"),
    Option("activation", "what makes probabilities of the scores", one_of("none", "softmax", "sigmoid")),
    Option("nms", "overlap above which two boxes are one object", real, metavar="X"),
    Option("input-size", "width and height of the model's picture", pixels, metavar="WxH"),
    Option("layout", "NHWC or NCHW", one_of("NHWC", "NCHW")),
    Option("color", "RGB, BGR or GRAY", one_of("RGB", "BGR", "GRAY")),
    Option("resize", "how a picture is fitted", one_of("stretch", "letterbox", "letterbox-topleft", "crop")),
    Option("mean", "taken off each pixel value (0 to 255)", numbers, metavar="R,G,B"),
    Option("std", "divides each pixel value after --mean", numbers, metavar="R,G,B"),
    Option("window", "rows, or audio samples, that the model takes at once", positive, metavar="N"),
    Option("hop", "rows, or audio samples, from one window to the next", positive, metavar="N"),
    Option("sample-rate", "audio samples a second that the model takes", positive, metavar="HZ"),
    Option("frontend", "what makes features of sound: none, micro, log-mel or mfcc",
           one_of("none", "micro", "log-mel", "mfcc")),
    Option("no-golden", "do not replay the golden samples at start", None, False),
    Option("source", "-, a file, a folder or glob, mqtt:TOPIC, synthetic:N, camera:0, rtsp://...", metavar="URI",
           group="input"),
    Option("max-temperature", "degrees Celsius of the processor from which fewer frames of a live source are looked at",
           celsius, metavar="C", group="input"),
    Option("watch", "go on watching the folder", None, False, group="input"),
    Option("ignore-unknown", "leave out keys and columns that the model does not know", None, False, group="input"),
    Option("absent", "a feature that a row does not name: refuse the row, or count it as missing",
           one_of("refuse", "missing"), "refuse", group="input"),
    Option("max-input", "largest input, in bytes", size, 32_000_000, "SIZE", group="input"),
    Option("mqtt", "mqtt://[user[:password]@]host[:port], mqtts://, ws://, wss://, embedded[:PORT] or none",
           str, "mqtt://localhost:1883", "URL", group="output"),
    Option("mqtt-password-file", "a file that holds the broker's password", path, metavar="FILE", group="output"),
    Option("mqtt-ca", "the CA that signed the broker's certificate", path, metavar="FILE", group="output"),
    Option("mqtt-cert", "a client certificate", path, metavar="FILE", group="output"),
    Option("mqtt-key", "its key", path, metavar="FILE", group="output"),
    Option("mqtt-client-id", "instead of the one kept in the state folder", word, metavar="ID", group="output"),
    Option("mqtt-version", "5 or 3.1.1 only", one_of("5", "3.1.1"), group="output"),
    Option("keepalive", "seconds after which a silent connection is asked", up_to(65535), 30, "S", group="output"),
    Option("confirm-timeout", "seconds without a confirmation after which the broker counts as gone; 0: never",
           seconds, 30.0, "S", group="output"),
    Option("on-change", "publish a result only where it tells something else than the last one", None, False,
           group="publishing"),
    Option("deadband", "publish numbers only where they have moved by more than this", distance, metavar="X",
           group="publishing"),
    Option("min-score", "publish only what has at least this score", real, metavar="X", group="publishing"),
    Option("min-interval", "seconds from one published result to the next; 0: all", seconds, 0.0, "S",
           group="publishing"),
    Option("batch", "results that wait anyway, at most so many in one message, a JSON array; 1: each alone, an object",
           up_to(BATCH_MOST), 1, "N", group="publishing"),
    Option("home-assistant", "announce the device to Home Assistant; its discovery prefix, if it is not homeassistant",
           discovery_prefix, metavar="PREFIX", group="publishing", alone="homeassistant"),
    Option("image-interval", "seconds between two pictures for Home Assistant; 0: none", seconds, 10.0, "S",
           group="publishing"),
    Option("sink", "a further sink: console, file:out.jsonl", metavar="URI", many=True, group="output"),
    Option("http", "the local endpoint: [HOST:]PORT", metavar="[HOST:]PORT", group="http"),
    Option("http-token-file", "a file that holds the token which clients send; a must on any address but loopback",
           path, metavar="FILE", group="http"),
    Option("http-cert", "a certificate, for HTTPS", path, metavar="FILE", group="http"),
    Option("http-key", "its key", path, metavar="FILE", group="http"),
    Option("http-name", "a further host name that clients use for this device", metavar="NAME", many=True,
           group="http"),
    Option("http-queue", "requests that may wait; more get a 503", count, 32, "N", group="http"),
    Option("http-max-body", "largest body of a request", size, 32_000_000, "SIZE", group="http"),
    Option("http-share", "most of one core that requests get while the source has samples; 0 to 1", share, 0.25, "X",
           group="http"),
    Option("max-batch", "requests run together, up to so many samples; 1: each alone", positive, 1, "N", group="http"),
    Option("max-wait-ms", "how long a request waits for others to join it", seconds, 2.0, "MS", group="http"),
    Option("device", "the device's name in topics", word, metavar="NAME", group="output"),
    Option("name", "the model's name in topics", word, metavar="NAME", group="output"),
    Option("prefix", "what topics begin with", word, "edge", "TEXT", group="output"),
    Option("stats-interval", "seconds between two messages on stats; 0: none", seconds, 60.0, "S", group="output"),
    Option("save-frames", "keep the pictures beside their results in this folder", path, metavar="DIR", group="output"),
    Option("save-frames-max", "bytes that the kept pictures may take; the oldest go first", size, 256_000_000, "SIZE",
           group="output"),
    Option("annotate", "draw boxes and labels on the kept pictures", None, False, group="output"),
    Option("mask", "publish the mask of each segmentation as a PNG on the topic mask", None, False, group="output"),
    Option("state-dir", "where the spool and the client id are kept", path, metavar="DIR", group="delivery"),
    Option("spool-max", "bytes of results that may wait on disk", size, 256_000_000, "SIZE", group="delivery"),
    Option("spool-max-age", "seconds after which a waiting result is dropped; 0: never", seconds, 0.0, "S",
           group="delivery"),
    Option("durability", "what reaches the disk: none, outage or always", one_of("none", "outage", "always"), "outage",
           group="delivery"),
    Option("replay-rate", "results a second sent from the spool beside new ones; 0: oldest first, at full speed",
           rate, 0.0, "N", group="delivery"),
    Option("grace", "seconds for sending what waits when the service is stopped", seconds, 5.0, "S", group="delivery"),
    Option("log-format", "text or json", one_of("text", "json"), "text", group="process"),
    Option("verbose", "say more", None, False, group="process"),
)  # fmt: skip

BY_KEY = {option.key: option for option in OPTIONS}
