"""Forms to inputs of the contract: files, fields that hold JSON, and fields named like the features."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import msgspec
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from edge.data import codec
from edge.data.sample import Payload
from edge.http.http_types import Refusal

MOST_PARTS = 256


class _Parts:
    """Gathers what the parser calls out: a list of headers and body for each part."""

    def __init__(self) -> None:
        self.found: list[tuple[dict[bytes, bytes], bytes]] = []
        self._headers: dict[bytes, bytes] = {}
        self._name = b""
        self._value = b""
        self._body: list[bytes] = []
        self.ended = False

    def callbacks(self) -> Any:
        """For the parser."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._on_name,
            "on_header_value": self._on_value,
            "on_header_end": self._on_header,
            "on_part_data": lambda data, start, end: self._body.append(data[start:end]),
            "on_part_end": self._end,
            "on_end": self._on_end,
        }

    def _begin(self) -> None:
        self._headers, self._body = {}, []

    def _on_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _end(self) -> None:
        if len(self.found) >= MOST_PARTS:
            raise Refusal(400, f"a form of more than {MOST_PARTS} parts")
        self.found.append((self._headers, b"".join(self._body)))

    def _on_end(self) -> None:
        self.ended = True


def read(data: bytes, content_type: str) -> list[Payload]:
    """The inputs of a multipart or urlencoded form: each file is one, each field with a JSON object or array is one;
    the other fields together are one object, feature name to value. Raises SampleError."""
    kind, options = parse_options_header(content_type)
    if kind == b"application/x-www-form-urlencoded":
        return _fields(parse_qsl(data.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=4096))
    boundary = options.get(b"boundary")
    if not boundary:
        raise Refusal(400, "a multipart form without a boundary in its Content-Type")
    parts = _Parts()
    try:
        parser = MultipartParser(boundary, parts.callbacks())
        parser.write(data)
        parser.finalize()
    except FormParserError as exc:
        raise Refusal(400, f"a multipart form that cannot be read: {exc}") from exc
    if not parts.ended:
        raise Refusal(400, "the multipart form ends in the middle")
    return _inputs(parts.found)


def _inputs(parts: list[tuple[dict[bytes, bytes], bytes]]) -> list[Payload]:
    files: list[Payload] = []
    fields: list[tuple[str, str]] = []
    for headers, body in parts:
        _, options = parse_options_header(headers.get(b"content-disposition", b""))
        if b"filename" in options or codec.is_image(body):
            if body or options.get(b"filename"):  # a file field that was left empty is sent too
                files.append(codec.decode(body))
        else:
            name = options.get(b"name", b"").decode("utf-8", "replace")
            fields.append((name, body.decode("utf-8", "replace")))
    return files + _fields(fields) if fields else files


def _fields(fields: list[tuple[str, str]]) -> list[Payload]:
    found: list[Payload] = []
    row: dict[str, Any] = {}
    for name, text in fields:
        value = _value(text)
        if isinstance(value, (dict, list)):
            found.append(value)
        elif name:
            row[name] = value
    return [*found, row] if row else found


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return text
