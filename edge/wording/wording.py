"""From a result to its words: rendered once, where the result is made, so that a replay tells them again to the byte.

All that a template can do wrong is looked for at the start, with results of the kind that the model gives. What is
left (values that a user's arithmetic does not fit) costs no result: it is published as without the template, and
`error` says why.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from edge.data import codec
from edge.data.message import Words
from edge.data.names import no_topic
from edge.data.result import EventMessage, Result
from edge.errors import ConfigError, SampleError
from edge.wording import cloudevents
from edge.wording.names import Names, fields

if TYPE_CHECKING:
    from edge.wording.template import Template

REASONS_MOST = 100
"""Reasons that are told, each once."""
TOPICS_MOST = 1000
"""Topics that are remembered, by the values that they were made of."""
MARKS = ("{{", "{%", "{#")

_JSON = msgspec.json.Decoder(msgspec.Raw)  # looks at all of it and makes nothing of it

Format = Literal["cloudevents", "cloudevents-binary"]


class Said(msgspec.Struct, frozen=True):
    """What a user wants. `base`: prefix, device and model, which the service's own topics begin with."""

    base: str
    topic: str | None = None
    payload: str | None = None
    format: Format | None = None


class NoJsonError(SampleError):
    """`text` is none, and what it begins with promises it."""

    def __init__(self, reason: str, text: bytes) -> None:
        super().__init__(reason)
        self.text = text


class Wording:
    """Belongs to the thread that infers."""

    def __init__(self, said: Said, task: str, refused: Callable[[str], str | None] = lambda _: None) -> None:
        """`refused`: why no result may go on a topic, None where it may. Raises ConfigError."""
        self._said = said
        self._refused = refused
        self._names = Names(task)
        self._fixed = said.topic if said.topic is not None and not _has_marks(said.topic) else ""
        self._topic = self._template("--topic", said.topic, task) if not self._fixed else None
        self._payload = self._template("--payload", said.payload, task, always=True)
        self._type = "application/json" if self._payload is not None and self._payload.is_json else "text/plain"
        self._topics: dict[Hashable, str] = {}
        self._told: set[str] = set()
        roots = [t.roots for t in (self._topic, self._payload) if t is not None]
        self._placed = self._names.values(self._topic.roots).keys() if self._topic is not None else ()
        self._used = self._names.values({name for some in roots for name in some})

    def _template(self, flag: str, text: str | None, task: str, *, always: bool = False) -> Template | None:
        if text is None or not (always or _has_marks(text)):
            return None
        from edge.wording.template import Template, Vocabulary

        base = self._said.base
        constants = {"base": base, "prefix": base.rsplit("/", 2)[0]}
        return Template(flag, text, Vocabulary(tuple(self._names.known), fields(task), constants))

    def result(self, result: Result, payload: bytes) -> Words:
        """`payload` is the result, encoded. Raises SampleError where it does not go into the template."""
        values = {name: value(result) for name, value in self._used.items()}
        topic = self._where(values)
        if self._payload is not None:
            text = self._payload.render(values).encode()
            if self._payload.is_json:
                _require_json(text)
            return Words(topic, text, self._type)
        return self._event(result, payload, topic) or Words(topic, None, properties={"schema": str(result.schema)})

    def _where(self, values: Mapping[str, object]) -> str:
        """The topic, "" where it is the usual one. Raises SampleError where no result may go there."""
        if self._topic is None:
            key: Hashable = ()
        else:
            key = tuple(tuple(v.items()) if isinstance(v, dict) else v for v in map(values.get, self._placed))
        try:
            if (known := self._topics.get(key)) is not None:
                return known
        except TypeError:  # a list is among them
            key = None
        topic = self._fixed if self._topic is None else self._topic.render(values)
        why = (_no_topic(topic) or self._refused(topic)) if topic or self._topic is not None else None
        if why:
            raise SampleError(f"--topic: no result goes to {topic[:200]!r}: {why}")
        if key is not None and len(self._topics) < TOPICS_MOST:
            self._topics[key] = topic
        return topic

    def event(self, event: EventMessage, payload: bytes) -> Words | None:
        """None where it is told as ever: templates are for results."""
        return self._event(event, payload, "")

    def _event(self, told: Result | EventMessage, payload: bytes, topic: str) -> Words | None:
        if self._said.format == "cloudevents":
            return cloudevents.structured(told, self._said.base, payload, topic)
        return cloudevents.binary(told, self._said.base, topic) if self._said.format is not None else None

    def is_new(self, reason: str) -> bool:
        """Whether a reason was not told yet."""
        if reason in self._told or len(self._told) >= REASONS_MOST:
            return False
        self._told.add(reason)
        return True

    def check(self, examples: Sequence[Result]) -> None:
        """Raises ConfigError where one of these does not go into a template."""
        for example in examples:
            try:
                words = self.result(example, codec.encode(example))
                if self._payload is not None and (words.payload or b"").lstrip()[:1] in (b"{", b"["):
                    _require_json(words.payload or b"")  # also where it does not begin so as a template
            except NoJsonError as exc:
                shown = exc.text[:200].decode(errors="replace")
                raise ConfigError(f"{exc}: {shown}") from exc
            except SampleError as exc:
                raise ConfigError(f"{exc}{_hint(example, str(exc))}") from exc


def _has_marks(text: str) -> bool:
    return any(mark in text for mark in MARKS)


def _hint(example: Result, said: str) -> str:
    if example.predictions or "undefined" not in said:
        return ""
    return "; so it is where nothing is found: say top for the best prediction, it is always there"


def _require_json(text: bytes) -> None:
    """Raises NoJsonError."""
    try:
        _JSON.decode(text)
    except msgspec.DecodeError as exc:
        raise NoJsonError(
            f"--payload: it begins as JSON and gives none: {exc}; where the template begins so, too, values bring "
            'their quotes, so write {"label": {{ top.label }}}',
            text,
        ) from exc


def _no_topic(topic: str) -> str:
    if why := no_topic(topic):
        return why
    if topic.startswith("$") and not topic.startswith("$aws/"):
        return "topics with $ are the broker's own"
    return ""
