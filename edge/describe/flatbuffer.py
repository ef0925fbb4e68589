"""Just enough of FlatBuffers to read a few fields of a .tflite file without its generated code.

The layout is https://flatbuffers.dev/internals: a table begins with a signed offset back to its vtable, which
holds for each field its offset in the table, 0 where the field is absent. Every read is checked by `struct`
against the end of the data; a damaged file raises `struct.error`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

MAX_VECTOR = 1_000_000


class Table(msgspec.Struct, frozen=True):
    """A table at `at`; fields are asked for by their number in the schema."""

    data: bytes | memoryview
    at: int

    def _field(self, number: int) -> int:
        (back,) = struct.unpack_from("<i", self.data, self.at)
        vtable = self.at - back
        if vtable < 0:
            raise struct.error("a vtable before the data")
        (size,) = struct.unpack_from("<H", self.data, vtable)
        if 4 + 2 * number + 2 > size:
            return 0
        (offset,) = struct.unpack_from("<H", self.data, vtable + 4 + 2 * number)
        return self.at + offset if offset else 0

    def number(self, number: int, form: str = "i", default: float = 0) -> float:
        """A scalar; `form` is the letter of `struct`."""
        at = self._field(number)
        return struct.unpack_from("<" + form, self.data, at)[0] if at else default

    def table(self, number: int) -> Table | None:
        """A table field, or a union's value."""
        at = self._field(number)
        return self._follow(at) if at else None

    def _follow(self, at: int) -> Table:
        return Table(self.data, at + struct.unpack_from("<I", self.data, at)[0])

    def _vector(self, number: int) -> tuple[int, int]:
        at = self._field(number)
        if not at:
            return 0, 0
        start = self._follow(at).at
        (length,) = struct.unpack_from("<I", self.data, start)
        return start + 4, length

    def text(self, number: int) -> str:
        """A string, "" where it is absent."""
        at, length = self._vector(number)
        return bytes(self.data[at : at + length]).decode("utf-8", "replace")

    def blob(self, number: int) -> memoryview:
        """A vector of bytes."""
        at, length = self._vector(number)
        return memoryview(self.data)[at : at + length]

    def numbers(self, number: int, form: str = "i") -> tuple[float, ...]:
        """A vector of scalars."""
        at, length = self._vector(number)
        if length > MAX_VECTOR:
            raise struct.error("a vector too long to be true")
        return struct.unpack_from(f"<{length}{form}", self.data, at)

    def tables(self, number: int) -> Iterator[Table]:
        """A vector of tables."""
        at, length = self._vector(number)
        if length > MAX_VECTOR:
            raise struct.error("a vector too long to be true")
        return (self._follow(at + 4 * i) for i in range(length))


def root(data: bytes | memoryview) -> Table:
    """The root table."""
    return Table(data, struct.unpack_from("<I", data, 0)[0])
