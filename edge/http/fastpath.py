"""Heads that come again: one client on one connection asks the same way each time, only its bodies change.

To read a head, to find its route and to check who asks costs more than to run a tiny model. Once a head was read, let
in and answered, a head of the very same bytes on the same connection means the same: nothing of it has to be read
a second time. The number behind Content-Length alone may differ. What is not exactly a head so known and a body as
long as it says is read as any other request is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from edge.http.http_types import Response

Answer: TypeAlias = Callable[[bytes], Response | None]
"""From a body to its response; None: it cannot be answered at once."""

DIGITS_MOST = 7
SMALL_MOST = 16_384
"""Bytes of a body that is waited for with its head unread."""
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]{1,%d})\r\n" % DIGITS_MOST, re.IGNORECASE)
_FRAMING = re.compile(rb"\r\n(?:content-length|transfer-encoding|upgrade|expect)[ \t]*:", re.IGNORECASE)


class KnownHead:
    """A head that was read, and what answers the bodies behind it."""

    __slots__ = ("_before", "_behind", "answer")

    def __init__(self, before: bytes, behind: bytes, answer: Answer) -> None:
        """What stands before and behind the number of Content-Length."""
        self._before = before
        self._behind = behind
        self.answer = answer

    def split(self, data: bytes) -> tuple[bytes, int] | None:
        """What came of the body, and how long it is to be; None where the head is another."""
        if not data.startswith(self._before):
            return None
        at = len(self._before)
        end = data.find(b"\r", at, at + DIGITS_MOST + 1)
        digits = data[at:end]
        if end < 0 or not digits.isdigit() or not data.startswith(self._behind, end):
            return None
        return data[end + len(self._behind) :], int(digits)

    @staticmethod
    def small(length: int) -> bool:
        """True where such a body may be waited for here."""
        return length <= SMALL_MOST


def learn(data: bytes, size: int, answer: Answer) -> KnownHead | None:
    """From a whole request, read by the parser, with a body of `size` bytes; None where its head says more."""
    head = data[: len(data) - size]
    if head.find(b"\r\n\r\n") != len(head) - 4 or len(_FRAMING.findall(head)) != 1:
        return None
    match = _LENGTH.search(head)
    if match is None or int(match[1]) != size:
        return None
    return KnownHead(head[: match.start(1)], head[match.end(1) :], answer)
