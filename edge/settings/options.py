"""An option is declared once, as a field of a frozen struct: `Annotated[type, Flag(...)] = default`.

The flag (`--spool-max`), the variable (`EDGE_SPOOL_MAX`), the key of the TOML file (`spool-max`) and the line of the
help come from that declaration; mypy sees the type of each use. A field that is itself a struct is a room of options,
with a heading of its own in the help.

Modules that declare options do without `from __future__ import annotations`: the annotations are read here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TypeVar, get_args

import msgspec

from edge.settings.parsers import OneOf

Arguments = TypeVar("Arguments", bound=msgspec.Struct)

UNSET = Path()
"""The default of a path that is worked out where the user named none."""


class Flag(msgspec.Struct, frozen=True):
    """How a field is given. A field of type bool is a switch and has no `parse`.

    `parse` makes the value from text and raises ValueError. `name` is the field's, with dashes, unless it is said.
    `many`: may be repeated, and the field is a tuple of what `parse` gives; in one text, as a variable is, there is
    `between` between them. `alone` is the value where the flag
    stands without one (or with true, as a variable or key). `positional`: a word without a flag. `only_flag`: neither
    a variable nor a key. `plugins`: it names one of this group of entry points, and the help lists
    them where its text has three dots. `word`: a lone word among the flags is its value, too (`edge-run model.onnx`).
    `of_process`: it holds for all runs of a process, and stands in no `[[run]]`. `shown`: the default as it is typed,
    where `str` gives another text.
    """

    help: str
    parse: Callable[[str], object] = str
    metavar: str | None = None
    name: str = ""
    short: str = ""
    many: bool = False
    between: str = ","
    alone: str | None = None
    positional: bool = False
    only_flag: bool = False
    plugins: str = ""
    word: bool = False
    of_process: bool = False
    shown: str = ""


class Room(msgspec.Struct, frozen=True):
    """The heading above a struct's options in the help. `of_process`: all of them are of the process."""

    title: str
    of_process: bool = False


class Option(msgspec.Struct, frozen=True):
    """A flag and the field that it fills; `room` is "" for a field of the outermost struct."""

    room: str
    title: str
    field: str
    flag: Flag
    switch: bool
    default: object
    """`msgspec.NODEFAULT`: it must be given."""
    of_process: bool = False

    @property
    def name(self) -> str:
        """As in the TOML file: `spool-max`."""
        return self.flag.name or self.field.replace("_", "-")

    @property
    def key(self) -> str:
        """The name as a Python identifier."""
        return self.name.replace("-", "_")

    @property
    def variable(self) -> str:
        """The environment variable."""
        return "EDGE_" + self.key.upper()

    @property
    def metavar(self) -> str:
        """What the help shows as its value: `FILE`, or the words that it takes."""
        words = self.flag.parse.words if isinstance(self.flag.parse, OneOf) else ()
        return self.flag.metavar or "|".join(words) or self.name.upper()

    @property
    def words(self) -> list[str]:
        """As on the command line: `-v`, `--verbose`."""
        return [word for word in (self.flag.short, f"--{self.name}") if word]


@cache
def of(struct: type[msgspec.Struct]) -> tuple[Option, ...]:
    """Every option of a struct and of its rooms, in the order in which they stand there."""
    return tuple(_options(struct, "", Room("")))


def _options(struct: type[msgspec.Struct], room: str, heading: Room) -> list[Option]:
    fields, defaults, annotations = struct.__struct_fields__, struct.__struct_defaults__, _annotations(struct)
    required = len(fields) - len(defaults)
    options: list[Option] = []
    for number, field in enumerate(fields):
        said = get_args(annotations[field])
        about = said[1] if len(said) > 1 else None
        default = msgspec.NODEFAULT if number < required else defaults[number - required]
        if isinstance(about, Room):
            options += _options(said[0], field, about)
        elif isinstance(about, Flag):
            whole, switch = about.of_process or heading.of_process, said[0] is bool
            options.append(Option(room, heading.title, field, about, switch, default, whole))
    return options


def _annotations(struct: type[msgspec.Struct]) -> dict[str, object]:
    """Of a struct and of what it inherits."""
    return {name: a for base in reversed(struct.__mro__) for name, a in getattr(base, "__annotations__", {}).items()}


def build(struct: type[Arguments], values: Mapping[str, object]) -> Arguments:
    """The struct with values by option key; what is not among them keeps its default."""
    rooms: dict[str, dict[str, object]] = {}
    for option in of(struct):
        if option.key in values:
            rooms.setdefault(option.room, {})[option.field] = values[option.key]
    own = rooms.pop("", {})
    for room, fields in rooms.items():
        own[room] = get_args(_annotations(struct)[room])[0](**fields)
    make: Callable[..., Arguments] = struct
    return make(**own)


def get(struct: msgspec.Struct, option: Option) -> object:
    """The value of an option in a struct that has it."""
    room = getattr(struct, option.room) if option.room else struct
    value: object = getattr(room, option.field)
    return value
