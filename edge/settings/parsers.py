"""From the text of a flag, a variable or a key to its value. Each raises ValueError that says what belongs there."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Generic, Literal, TypeAlias, TypeVar

from edge.data import small_file
from edge.data.join import JoinedFeature
from edge.data.json_path import parse as path_of_json
from edge.errors import nearest

Word = TypeVar("Word", bound=str)
_Edge: TypeAlias = tuple[tuple[float, float], tuple[float, float]]

SIZES = {"": 1, "b": 1, "k": 10**3, "kb": 10**3, "m": 10**6, "mb": 10**6, "g": 10**9, "gb": 10**9}
NAME_MOST = 200
THREADS_MOST = 256
BATCH_MOST = 1000
POINTS_MOST = 64
PIXELS_MOST = 100_000
INSTANCES_MOST = 64


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


def instances(text: str) -> int | Literal["auto"]:
    """A whole number from 1 to 64, or auto. Raises ValueError."""
    try:
        return "auto" if text == "auto" else up_to(INSTANCES_MOST)(text)
    except ValueError:
        raise ValueError(f"a number from 1 to {INSTANCES_MOST}, or auto, belongs there") from None


def word(text: str) -> str:
    """A name of at most 200 characters. Raises ValueError."""
    if len(text) > NAME_MOST or not text.isprintable():
        raise ValueError(f"a name of at most {NAME_MOST} printable characters belongs there")
    return text


def real(text: str) -> float:
    """A finite number. Raises ValueError."""
    try:
        number = float(text)
    except ValueError:
        point = ", with a decimal point" if "," in text else ""
        raise ValueError(f"a number belongs there{point}") from None
    if not math.isfinite(number):
        raise ValueError("a finite number belongs there")
    return number


def between(lowest: float, highest: float, what: str, *, above: bool = False) -> Callable[[str], float]:
    """A number from `lowest` to `highest`, or only `above` the first; `what` says what belongs there. The parser raises
    ValueError."""

    def parse(text: str) -> float:
        number = real(text)
        if not lowest <= number <= highest or (above and number == lowest):
            raise ValueError(what)
        return number

    return parse


not_negative = between(0, math.inf, "a number of at least 0 belongs there")
above_zero = between(0, math.inf, "a number above 0 belongs there", above=True)
seconds = between(0, math.inf, "seconds of at least 0 belong there")
window_seconds = between(1, 86400, "seconds from 1 to 86400 belong there")
lost_seconds = between(0, 86400, "a number of seconds above 0, at most 86400, belongs there", above=True)
celsius = between(20, 110, "degrees Celsius from 20 to 110 belong there")
share = between(0, 1, "a number above 0, at most 1, belongs there", above=True)
up_to_ten = between(0, 10, "a number from 0 to 10 belongs there")
cosine = between(-1, 1, "a number from -1 to 1 belongs there")


def numbers(text: str) -> tuple[float, ...]:
    """Numbers with commas between. Raises ValueError."""
    try:
        return tuple(real(part) for part in text.split(","))
    except ValueError:
        raise ValueError("numbers with commas between them belong there") from None


def picture_size(text: str) -> tuple[int, int]:
    """Width and height from "320x240", or both from one number. Raises ValueError."""
    match = re.fullmatch(r"(\d+)(?:\s*[x,]\s*(\d+))?", text.strip().lower())
    width, height = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not width or not height:
        raise ValueError("width and height like 320x240 belong there, or one number for both")
    return width, height


def names(text: str) -> tuple[str, ...]:
    """Names with commas between. Raises ValueError."""
    found = tuple(name.strip() for name in text.split(","))
    if not all(found):
        raise ValueError("names with commas between them belong there")
    return found


def json_path(text: str) -> str:
    """Where in a JSON value another one is. Raises ValueError."""
    return path_of_json(text).text


def joined(text: str) -> JoinedFeature:
    """A feature, the filter of its topics, and where in their JSON: t=plant/+/data $.temperature. Raises ValueError."""
    name, equals, rest = text.partition("=")
    topic, blank, where = rest.strip().partition(" $")
    name, topic = name.strip(), topic.strip()
    if not name or not equals or not topic:
        raise ValueError("a feature, = and a topic belong there: temperature=plant/line3/temperature")
    levels = topic.split("/")
    if any(("+" in level and level != "+") or "#" in level for level in levels) or levels[0] == "$share":
        raise ValueError(f"a topic belongs there, or one with + in place of a device's name, not {topic!r}")
    return JoinedFeature(name, topic, path_of_json(f"${where.strip()}", f"join of {name}:") if blank else None)


def labels(text: str) -> Path | tuple[str, ...]:
    """A file of labels, or their names with commas between. Raises ValueError."""
    file = path(text)
    return file if "," not in text or file.is_file() else tuple(name.strip() for name in text.split(","))


def topic_filter(text: str) -> str:
    """Of MQTT topics, with its wildcards. Raises ValueError."""
    levels = text.split("/")
    wild = any(level not in ("+", "#") and re.search(r"[+#]", level) for level in levels) or "#" in levels[:-1]
    if not text or wild or not text.isprintable():
        raise ValueError("topics like clients/+/answers or replies/# belong there")
    if text.startswith("$"):
        raise ValueError("topics of clients belong there; those with $ are the broker's own")
    return text


def discovery_prefix(text: str) -> str:
    """What discovery topics begin with. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*", text):
        raise ValueError("letters, digits, _ and - belong there; Home Assistant's own is homeassistant")
    return text


def zone(text: str) -> tuple[str, tuple[tuple[float, float], ...]]:
    """A name and a polygon: door=100,100,500,120,450,500. Raises ValueError."""
    name, points = _place(text, f"3 to {POINTS_MOST} points", "door=100,100,500,120,450,500")
    points = tuple(
        a for a, b in zip(points, (*points[1:], points[0]), strict=True) if a != b
    )  # it may be closed, or not
    if len(points) < 3:
        raise ValueError("a polygon of at least three points belongs there: door=100,100,500,120,450,500")
    edges = list(zip(points, (*points[1:], points[0]), strict=True))
    if not sum(a[0] * b[1] - b[0] * a[1] for a, b in edges) or any(
        _cross(one, other) for one, other in itertools.combinations(edges, 2)
    ):
        raise ValueError("edges cross, or nothing is within; say the points in their order around it: door=0,0,9,0,9,9")
    return name, points


def _cross(one: _Edge, other: _Edge) -> bool:
    def apart(edge: _Edge, of: _Edge) -> float:
        """Below 0 where the ends of an edge lie on two sides of the other."""
        (ax, ay), (bx, by) = of
        first, second = ((bx - ax) * (y - ay) - (by - ay) * (x - ax) for x, y in edge)
        return first * second

    return apart(one, other) < 0 and apart(other, one) < 0


def line(text: str) -> tuple[str, tuple[tuple[float, float], ...]]:
    """A name and two points: gate=0,300,640,300. Raises ValueError."""
    name, points = _place(text, "2 points", "gate=0,300,640,300")
    if len(points) != 2 or points[0] == points[1]:
        raise ValueError("a line between two points belongs there: gate=0,300,640,300")
    return name, points


def _place(text: str, points: str, example: str) -> tuple[str, tuple[tuple[float, float], ...]]:
    name, _, rest = text.partition("=")
    try:
        values = numbers(rest)
    except ValueError:
        values = ()
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) or len(values) % 2 or not 2 <= len(values) // 2 <= POINTS_MOST:
        raise ValueError(f"a name (letters, digits, _ and -), = and x,y of {points} belong there: {example}")
    if min(values) < 0 or max(values) > PIXELS_MOST:
        raise ValueError(f"points in the frame belong there, in pixels or all from 0 to 1; 0 to {PIXELS_MOST}")
    if max(values) > 1 and (part := next((v for v in values if 0 < v < 1), None)):
        raise ValueError(f"{part:g} is a share and {max(values):g} is in pixels; say all numbers as one of the two")
    return name, tuple(zip(values[::2], values[1::2], strict=True))


def capture_rules(text: str) -> tuple[tuple[str, float | str], ...]:
    """Rules with commas between, kind and value of each: score<0.6,drift,random:0.01. Raises ValueError."""
    return tuple(dict.fromkeys(_capture_rule(part.strip()) for part in text.split(",")))


def _capture_rule(text: str) -> tuple[str, float | str]:
    if text in ("drift", "trial-differs"):
        return text, ""
    if match := re.fullmatch(r"score\s*([<>])\s*([^=]+)", text):
        return f"score{match[1]}", real(match[2])
    kind, _, value = text.partition(":")
    if kind == "random" and value:
        return kind, share(value)
    if kind == "class" and value:
        return kind, word(value)
    words = ("score<0.6", "score>0.9", "class:person", "random:0.01", "drift", "trial-differs")
    raise ValueError(f"rules like {', '.join(words)} belong there, with commas between, not {text!r}")


def topic_template(text: str) -> str:
    """A topic, with {{ }} or without. Raises ValueError."""
    if not text.strip():
        raise ValueError("a topic belongs there: house/{{ device }}/result")
    return text


def template(text: str) -> str:
    """The text, or what is in the file behind an @. Raises ValueError."""
    if text.startswith("@"):
        try:
            text = small_file.text(path(text[1:])).rstrip("\r\n")
        except OSError as exc:
            raise ValueError(f"{exc.strerror}; name a file with the template behind @") from exc
        except UnicodeDecodeError:
            raise ValueError("a file of UTF-8 text belongs behind @") from None
    if not text.strip():
        raise ValueError('a template belongs there: {"label": {{ top.label }}}')
    return text


def path(text: str) -> Path:
    """A path; ~ is the home folder. The folder one is in is told apart from none at all. Raises ValueError."""
    if not text:
        raise ValueError("a path belongs there")
    said = Path(text).expanduser()
    return said if said.parts else said.absolute()


class OneOf(Generic[Word]):
    """A parser that takes one of some words; the help lists them."""

    def __init__(self, words: Iterable[Word]) -> None:
        self.words = tuple(words)

    def __call__(self, text: str) -> Word:
        """Raises ValueError."""
        for word in self.words:
            if word == text:
                return word
        raise ValueError(f"one of {', '.join(self.words)} belongs there{nearest(text, self.words)}")


def one_of(words: Iterable[Word]) -> OneOf[Word]:
    """One of some words. The parser raises ValueError."""
    return OneOf(words)
