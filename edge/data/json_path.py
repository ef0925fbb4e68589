"""Where in somebody else's JSON the input is: `$.data.values`, `$['a b'][0]`, `$.sensors[*].value`.

A small part of JSONPath (RFC 9535): names, indices and `[*]`. Filters and `..` are not among it: what they find depends
on the data, and a row of features has a fixed length.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from edge.errors import SampleError

STEPS_MOST = 32
_STEP = re.compile(
    r"""\.(?P<plain>[^\W\d][\w-]*) | \[\s*'(?P<single>[^']*)'\s*\] | \[\s*"(?P<double>[^"]*)"\s*\]
    | \[\s*(?P<index>-?\d{1,9})\s*\] | (?P<each>\[\s*\*\s*\]|\.\*)""",
    re.VERBOSE,
)


class JsonPath(msgspec.Struct, frozen=True):
    """A step is a name, an index (from the end where it is below 0) or None: each element. `flag`: where it was said,
    for messages."""

    text: str
    steps: tuple[str | int | None, ...]
    flag: str = "--input-path"

    def pick(self, value: Any) -> Any:
        """What is there. With `[*]` a list. Raises SampleError where there is nothing."""
        return self._pick(value, 0)

    def _pick(self, value: Any, at: int) -> Any:
        if at == len(self.steps):
            return value
        step = self.steps[at]
        if step is None:
            if not isinstance(value, (list, dict)):
                raise self._absent(at, f"{_kind(value)}, which has no elements")
            elements = value.values() if isinstance(value, dict) else value
            return [self._pick(element, at + 1) for element in elements]
        if isinstance(step, str):
            if not isinstance(value, dict):
                raise self._absent(at, f"{_kind(value)}, which has no names")
            if step not in value:
                names = ", ".join(repr(str(name)[:40]) for name in list(value)[:6])
                raise self._absent(at, f"an object with {names or 'nothing'}{', ...' if len(value) > 6 else ''}")
            return self._pick(value[step], at + 1)
        if not isinstance(value, list):
            raise self._absent(at, f"{_kind(value)}, which has no elements")
        if not -len(value) <= step < len(value):
            raise self._absent(at, f"an array of {len(value)}")
        return self._pick(value[step], at + 1)

    def _absent(self, at: int, found: str) -> SampleError:
        step = self.steps[at]
        wanted = "elements" if step is None else repr(step)
        return SampleError(f"{self.flag} {self.text}: no {wanted} (step {at + 1}); there is {found}")


def parse(text: str, flag: str = "--input-path") -> JsonPath:
    """Raises ValueError for what is no path."""
    steps: list[str | int | None] = []
    at = 1
    while text[:1] == "$" and at < len(text) and (found := _STEP.match(text, at)) is not None:
        name = next((found[g] for g in ("plain", "single", "double") if found[g] is not None), None)
        steps.append(name if name is not None else int(found["index"]) if found["index"] else None)
        at = found.end()
    if text[:1] != "$" or at != len(text) or not steps or len(steps) > STEPS_MOST:
        raise ValueError("a path like $.data.values, $['a b'][0] or $.sensors[*].value belongs there")
    return JsonPath(text, tuple(steps), flag)


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    return f"{value[:40]!r}" if isinstance(value, str) else msgspec.json.encode(value).decode()[:40]
