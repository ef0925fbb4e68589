"""Forms to inputs of the contract: files, fields that hold JSON, and fields named like the features."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import msgspec
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, FormParser, parse_options_header

from edge.data import codec
from edge.data.sample import Payload
from edge.errors import SampleError
from edge.http.http_types import Refusal

MOST_PARTS = 256


def read(data: bytes, content_type: str) -> list[Payload]:
    """The inputs of a multipart or urlencoded form: each file is one, each field with a JSON object or array is one;
    the other fields together are one object, feature name to value. Raises SampleError."""
    kind, options = parse_options_header(content_type)
    if kind == b"application/x-www-form-urlencoded":
        return _fields(parse_qsl(data.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=4096))
    boundary = options.get(b"boundary")
    if not boundary:
        raise Refusal(400, "a multipart form without a boundary in its Content-Type")
    form = _Form()
    try:
        parser = FormParser(
            "multipart/form-data", form.on_field, form.on_file, form.on_end, boundary,
            config={"MAX_MEMORY_FILE_SIZE": len(data) + 1, "MAX_FIELDS": MOST_PARTS},
        )  # fmt: skip
        parser.write(data)
        parser.finalize()
    except FormParserError as exc:
        raise Refusal(400, f"a multipart form that cannot be read: {exc}") from exc
    if not form.ended:
        raise Refusal(400, "the multipart form ends in the middle")
    return form.inputs()


class _Form:
    """Gathers what the parser finds."""

    def __init__(self) -> None:
        self._files: list[bytes] = []
        self._fields: list[tuple[str, str]] = []
        self.ended = False

    def on_field(self, field: Field) -> None:
        value = field.value or b""
        if codec.is_image(value):  # without a file name, but what it is shows
            self._files.append(value)
            return
        self._fields.append(((field.field_name or b"").decode("utf-8", "replace"), value.decode("utf-8", "replace")))

    def on_file(self, file: File) -> None:
        file.file_object.seek(0)
        data = file.file_object.read()
        if len(self._files) >= MOST_PARTS:
            raise Refusal(400, f"a form of more than {MOST_PARTS} parts")
        if data or file.file_name:  # a file field that was left empty is sent too
            self._files.append(data)

    def on_end(self) -> None:
        self.ended = True

    def inputs(self) -> list[Payload]:
        files = [codec.decode(data) for data in self._files]
        return files + _fields(self._fields) if self._fields else files


def _fields(fields: list[tuple[str, str]]) -> list[Payload]:
    payloads: list[Payload] = []
    row: dict[str, Any] = {}
    for name, text in fields:
        value = _value(text)
        if isinstance(value, (dict, list)):
            payloads.append(value)
        elif name:
            if name in row:
                raise SampleError(f"the field {name[:60]!r} comes twice in the form: name each value once")
            row[name] = value
    return [*payloads, row] if row else payloads


def _value(text: str) -> Any:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return text
    return codec.decode_json(text) if isinstance(value, (dict, list)) else value
