"""Rows of text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from edge.errors import printable

WIDEST = 200
"""Characters: one device that says a megabyte does not make each line so long."""


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Lines whose columns stand below each other."""
    every = [tuple(map(_cell, row)) for row in (head, *rows)]
    widths = [max(len(row[column]) for row in every) for column in range(len(head))]
    for row in every:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _cell(text: str) -> str:
    return printable(text if len(text) <= WIDEST else f"{text[:WIDEST]}...")
