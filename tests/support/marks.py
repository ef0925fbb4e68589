"""A measured table in its place in a README: between two marks."""

from __future__ import annotations

from pathlib import Path


def write_between(readme: Path, begin: str, end: str, text: str) -> None:
    """Puts `text` between the marks, which are put at the end of a file that has none."""
    old = readme.read_text() if readme.exists() else "# Benchmarks\n"
    before, _, rest = old.partition(begin)
    after = rest.partition(end)[2]
    readme.parent.mkdir(parents=True, exist_ok=True)
    readme.write_text(f"{before.rstrip()}\n\n{begin}\n{text}\n{end}{after or chr(10)}")
