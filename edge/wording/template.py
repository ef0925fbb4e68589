"""Templates in Jinja's language, by MiniJinja: sandboxed, compiled once, bounded in steps and memory by its fuel.

In a payload that begins with { or [, behind comments and statements, every value is written as JSON, text with its
quotes: no label can break it. In any other payload values stand as they are. In a topic a value is one level at most:
what is not [A-Za-z0-9_-] becomes "-".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import lru_cache

import msgspec

from edge.data import line_protocol
from edge.data.names import topic_part
from edge.errors import ConfigError, Needing, SampleError, nearest, one_line

FUEL = 200_000
"""Steps of one rendering: some milliseconds."""
LARGEST = 1_000_000
"""Bytes of a payload: some brokers refuse more."""
LANGUAGE = frozenset({"range", "dict", "namespace"})
"""Functions that a template may call."""
_LEAD = re.compile(r"(?:\s|\{#.*?#\}|\{%.*?%\})*", re.DOTALL)
_TAGS = re.compile(r"\{[{%](.*?)[}%]\}", re.DOTALL)
_SLICE = re.compile(r"\[[^\]]*:")
_WORD = re.compile(r"[A-Za-z_]\w*")

with Needing("--topic and --payload with {{ }}", "minijinja", "templates"):
    from minijinja import Environment, TemplateError


class Vocabulary(msgspec.Struct, frozen=True):
    """Names of a result that a template may use; what may stand behind the dot of some; names that are always the
    same, with their value."""

    names: Collection[str]
    fields: Mapping[str, tuple[str, ...]]
    constants: Mapping[str, str]


class Template:
    """One text of one flag. Belongs to the thread that infers."""

    def __init__(self, flag: str, text: str, vocabulary: Vocabulary) -> None:
        """`flag` is --topic or --payload. Raises ConfigError."""
        self._flag = flag
        self._constants: Mapping[str, str] = vocabulary.constants
        self._levels = frozenset(vocabulary.constants.values())
        self.is_topic = flag == "--topic"
        self.is_json = not self.is_topic and _begins_json(text)
        self._env = Environment(
            auto_escape_callback=lambda _: "json" if self.is_json else None,
            undefined_behavior="strict",
            fuel=FUEL,
            keep_trailing_newline=False,
            finalizer=self._level if self.is_topic else None,
        )
        self._env.remove_global("debug")  # shows what is inside
        self._env.add_filter("influx_tag", _influx_tag)
        try:
            self._env.add_template(flag, text)
            used = {*self._env.undeclared_variables_in_str(text, nested=True), *_sliced(text, vocabulary)}
        except TemplateError as exc:
            raise ConfigError(f"{flag}: {_said(exc)}; docs/WORDS.md shows what can be said") from exc
        self.roots = self._checked(used, {*vocabulary.names, *vocabulary.constants}, vocabulary.fields)
        self._constants = {name: value for name, value in vocabulary.constants.items() if name in used}
        """The names of a result that it uses, with the field behind the dot where it is known and used alone."""

    def _checked(
        self, used: Collection[str], known: Collection[str], fields: Mapping[str, tuple[str, ...]]
    ) -> tuple[str, ...]:
        roots: set[str] = set()
        for name in sorted(used):
            root, _, rest = name.partition(".")
            if root in LANGUAGE:
                continue
            if root not in known:
                raise ConfigError(f"{self._flag}: unknown name {root!r}{nearest(root, known) or _listed(known)}")
            field = rest.partition(".")[0]
            if field and root in fields and field not in fields[root]:
                near = nearest(field, fields[root]) or _listed(fields[root])
                raise ConfigError(f"{self._flag}: unknown name {root}.{field}{near}")
            if root not in self._constants:
                roots.add(f"{root}.{field}" if field and root in fields else root)
        return tuple(sorted(roots))

    def render(self, values: Mapping[str, object]) -> str:
        """Raises SampleError where these values do not go into it."""
        try:
            text: str = self._env.render_template(self._flag, **self._constants, **values)
        except TemplateError as exc:
            raise SampleError(f"{self._flag}: {_said(exc)}") from exc
        if (size := len(text.encode())) > LARGEST:
            raise SampleError(f"{self._flag}: {size} bytes; a payload has {LARGEST} at most")
        return text

    def _level(self, value: object) -> str:
        """A value in a topic: never a wildcard, and one level but for what this service's own topics begin with."""
        text = "none" if value is None else str(value)
        return text if text in self._levels else _part(text)


def _sliced(text: str, vocabulary: Vocabulary) -> set[str]:
    """Names that MiniJinja does not tell: it looks into no `value[1:2]`. Of such a tag all that are known."""
    words = {word for tag in _TAGS.findall(text) if _SLICE.search(tag) for word in _WORD.findall(tag)}
    return words & {*vocabulary.names, *vocabulary.constants}


def _begins_json(text: str) -> bool:
    """Whatever is set or noted before it."""
    lead = _LEAD.match(text)
    text = text[lead.end() :] if lead is not None else text
    return text[:1] == "[" or (text[:1] == "{" and text[1:2] not in ("{", "%", "#"))


def _said(exc: TemplateError) -> str:
    said = exc.detail or exc.message
    return one_line(ValueError(f"line {exc.line}: {said}" if exc.line else said))


def _listed(known: Collection[str]) -> str:
    return f"; there are {', '.join(sorted(known))}"


@lru_cache(maxsize=1024)
def _part(text: str) -> str:
    return topic_part(text)


def _influx_tag(value: object) -> str:
    """For measurement names, tags and their values in line protocol, which has no empty one."""
    if value is None or value == "":
        return "none"
    return _escaped(value if type(value) is str else str(value))


@lru_cache(maxsize=1024)
def _escaped(text: str) -> str:
    return line_protocol.tag(text)
