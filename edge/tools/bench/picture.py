"""The charts as a PNG, for a report or a chat: drawn by Pillow (`edge-run[bench]`), whose wheels bring a typeface.

Drawn at `SCALE` times the size in which it is laid out, so that it is sharp on a screen of high density.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edge.errors import Needing

if TYPE_CHECKING:
    from PIL import ImageDraw

SCALE = 2
WIDTH, EDGE = 900, 32
TITLE, TEXT = 22, 14
LINE, TALL, GAP = 20, 22, 10
VALUES = 96
"""Room for a number behind the longest bar."""
PAPER, INK, SOFT, BAR, TAIL = "#fbfaf8", "#1d2129", "#667085", "#2f6fb0", "#b9d0e6"

Bars = Sequence[tuple[str, float, float, str]]
"""Of (name, value, end of its tail, the value in words)."""


def require() -> None:
    """Raises ConfigError where Pillow is not installed."""
    with Needing("--save FILE.png", "Pillow", "bench"):
        import PIL  # noqa: F401


def draw(title: str, about: Sequence[str], charts: Sequence[tuple[str, Bars]]) -> bytes:
    """A PNG: a title, lines on what was measured, and each chart beneath its own heading."""
    import io

    from PIL import Image, ImageDraw

    sheet = _Sheet()
    lines = [line for text in about for line in sheet.folded(text)]
    rows = sum(len(bars) for _, bars in charts)
    height = EDGE * 2 + TITLE + 14 + len(lines) * LINE + len(charts) * (LINE * 2 + 16) + rows * (TALL + GAP)
    picture = Image.new("RGB", (WIDTH * SCALE, height * SCALE), PAPER)
    sheet.paint(ImageDraw.Draw(picture), title, lines, charts)
    png = io.BytesIO()
    picture.save(png, "PNG", optimize=True)
    return png.getvalue()


class _Sheet:
    """Where things go; all of its lengths are in the units of the layout."""

    def __init__(self) -> None:
        from PIL import ImageFont

        self._fonts = {size: ImageFont.load_default(size * SCALE) for size in (TITLE, TEXT)}
        self._y = EDGE

    def folded(self, text: str) -> list[str]:
        """Lines that fit the width."""
        lines = [""]
        for word in (self._cut(word, WIDTH - 2 * EDGE) for word in text.split()):
            longer = f"{lines[-1]} {word}".strip()
            if self._wide(longer) > WIDTH - 2 * EDGE and lines[-1]:
                lines.append(word)
            else:
                lines[-1] = longer
        return lines

    def paint(
        self, on: ImageDraw.ImageDraw, title: str, lines: Sequence[str], charts: Sequence[tuple[str, Bars]]
    ) -> None:
        while self._wide(title, TITLE) > WIDTH - 2 * EDGE:
            title = title.removesuffix("...")[:-1] + "..."
        self._write(on, EDGE, title, INK, TITLE)
        self._y += TITLE + 14
        for line in lines:
            self._write(on, EDGE, line, SOFT)
            self._y += LINE
        names = min(WIDTH / 2, max(self._wide(name) for _, bars in charts for name, *_ in bars) + 16)
        for heading, bars in charts:
            self._y += LINE + 8
            self._write(on, EDGE, heading, INK, TEXT)
            self._y += LINE + 8
            self._bars(on, names, bars)

    def _bars(self, on: ImageDraw.ImageDraw, names: float, bars: Bars) -> None:
        most = max(tail for _, _, tail, _ in bars) or 1.0
        left = EDGE + names
        room = WIDTH - EDGE - VALUES - left
        for name, value, tail, words in bars:
            self._write(on, EDGE, self._cut(name, names - 16), SOFT, y=self._y + 2)
            far = left + max(3.0, room * tail / most)
            for end, colour in ((far, TAIL), (left + max(3.0, room * value / most), BAR)):
                corners = tuple(round(v * SCALE) for v in (left, self._y, end, self._y + TALL))
                on.rectangle(corners, fill=colour)
            self._write(on, far + 8, words, INK, y=self._y + 2)
            self._y += TALL + GAP

    def _write(
        self, on: ImageDraw.ImageDraw, x: float, text: str, colour: str, size: int = TEXT, *, y: float | None = None
    ) -> None:
        top = self._y if y is None else y
        on.text((x * SCALE, top * SCALE), text, fill=colour, font=self._fonts[size])

    def _cut(self, name: str, room: float) -> str:
        """What is too long loses its beginning: the end of a name tells one bar from the next."""
        cut = name
        while self._wide(cut) > room:
            cut = "..." + cut.removeprefix("...")[1:]
        return cut

    def _wide(self, text: str, size: int = TEXT) -> float:
        return float(self._fonts[size].getlength(text)) / SCALE
