"""A long JSON array, decoded by pieces: its elements as Python values take ten times the bytes of the text and more.

The text is checked as a whole first, which makes no values. Then an end of a piece is found by counting brackets
outside of strings, one pass over the text in all.
"""

from __future__ import annotations

import codecs
import re
from typing import Any

import msgspec

from edge.data.codec import decode_json, json_error

PIECE_BYTES = 16_384
"""Text that is decoded at once; more where a single element is longer."""

_STRUCTURE = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)
_SPACE = re.compile(rb"[ \t\r\n]*")
_SPACE_AND_COMMA = re.compile(rb"[ \t\r\n]*,?[ \t\r\n]*")
_checker = msgspec.json.Decoder(msgspec.Raw)


class JsonRows(msgspec.Struct, frozen=True):
    """What is left of an array: its elements from byte `at` of the text on. There is at least one."""

    data: bytes
    at: int

    @property
    def end(self) -> int:
        """Where the elements of the next piece end."""
        depth = 0
        for found in _STRUCTURE.finditer(self.data, self.at):
            char = self.data[found.start()]
            if char in b"[{":
                depth += 1
            elif char in b"]}":
                depth -= 1
                if depth < 0:
                    return found.start()
                if depth == 0 and found.end() - self.at >= PIECE_BYTES:
                    return found.end()
        return len(self.data)

    def after(self, end: int) -> JsonRows | None:
        """What is left behind `end`."""
        found = _SPACE_AND_COMMA.match(self.data, end)
        at = end if found is None else found.end()
        return None if self.data[at : at + 1] in (b"]", b"") else JsonRows(self.data, at)

    def decoded(self, end: int) -> list[Any]:
        """The elements up to `end`. Raises SampleError for what only a decoder notices: a number or text that cannot
        be held."""
        values: list[Any] = decode_json(b"[" + self.data[self.at : end] + b"]")
        return values


def json_rows(data: bytes) -> JsonRows | None:
    """The elements of an array that holds arrays or objects; None for any other text.

    Raises SampleError where an array is no JSON.
    """
    start = _SPACE.match(data, 3 if data.startswith(codecs.BOM_UTF8) else 0)
    at = 0 if start is None else start.end()
    if data[at : at + 1] != b"[":
        return None
    inner = next((found for found in _STRUCTURE.finditer(data, at + 1) if data[found.start()] != ord('"')), None)
    if inner is None or data[inner.start()] not in b"[{":
        return None
    try:
        _checker.decode(memoryview(data)[at:])
    except (msgspec.DecodeError, RecursionError) as exc:
        raise json_error(exc, data[at:]) from exc
    return JsonRows(data, at).after(at + 1)
