"""What `--help` says, folded to the terminal at its spaces alone: an address or a word stays whole on any. Imported
where help is asked for."""

from __future__ import annotations

import argparse
import re
import shutil
import textwrap
from collections.abc import Sequence
from functools import partial

import msgspec

from edge.settings.options import Option

NARROW = 60
"""Columns of a terminal on which what a flag does stands below it, not beside it."""
GLUE = "\xa0"


class Page:
    """A page of help, as wide as the terminal is."""

    def __init__(self) -> None:
        self._columns = shutil.get_terminal_size().columns
        self._beside = 4 if self._columns < NARROW else 24
        """The column in which what a flag does begins."""
        self.formatter = partial(
            argparse.RawTextHelpFormatter, width=self._columns, max_help_position=self._beside
        )  # of text that has been folded

    def prose(self, text: str) -> str:
        """A paragraph."""
        return self._folded(text)

    def examples(self, each: Sequence[tuple[str, str]]) -> str:
        """Commands as they may be copied, what each does above it."""
        lines: list[str] = []
        for command, about in each:
            comment = self._folded(f"# {about}", "  ", "  # ")
            whole = re.sub(r"( -\S+) (?!-)", rf"\1{GLUE}", command)  # a flag and its value stay together
            typed = " \\\n".join(self._lines(whole, "  ", "    ", spare=2))
            lines.append(f"{comment}\n{typed.replace(GLUE, ' ')}")
        return "\n".join(lines)

    def commands(self, each: Sequence[tuple[str, str]]) -> str:
        """Subcommands, and what each is for."""
        width = 4 + max(len(name) for name, _ in each)
        return "\n".join(self._folded(f"{name:<{width - 4}}  {about}", "  ", " " * width) for name, about in each)

    def usage(self, name: str, options: Sequence[Option]) -> str:
        """How the command is typed. Of the flags only those that have to be there: all are listed below."""
        flags = [option for option in options if not option.flag.positional]
        needed = [f"{option.words[0]} {option.metavar}" for option in flags if _required(option)]
        words = [_positional(option) for option in options if option.flag.positional]
        return self._folded(" ".join([name, "[options]", *needed, *words]), "usage: ", "  ").removeprefix("usage: ")

    def help(self, text: str) -> str:
        """What a flag does."""
        return "\n".join(self._lines(text, room=self._columns - self._beside))

    def metavar(self, flag: str, metavar: str) -> str:
        """What goes behind a flag; many choices on several lines."""
        lines, indent = [""], " " * (len(flag) + 3)
        for choice in metavar.replace("|", "|\n").split("\n"):
            if lines[-1] and len(indent) + len(lines[-1]) + len(choice) > self._columns:
                lines.append("")
            lines[-1] += choice
        return f"\n{indent}".join(lines)

    def _folded(self, text: str, first: str = "", others: str = "") -> str:
        return "\n".join(self._lines(text, first, others))

    def _lines(self, text: str, first: str = "", others: str = "", *, room: int = 0, spare: int = 0) -> list[str]:
        return textwrap.wrap(
            text,
            max(20, (room or self._columns) - spare),
            initial_indent=first,
            subsequent_indent=others,
            break_long_words=False,
            break_on_hyphens=False,
        )


def _required(option: Option) -> bool:
    return option.default is msgspec.NODEFAULT


def _positional(option: Option) -> str:
    several = f"{option.metavar} ..." if option.flag.many else option.metavar
    return several if _required(option) else f"[{several}]"
