"""Writes docs/settings.md from the declarations of the options: `make settings`. A test holds it up to date."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from converter.cli import Arguments as Convert
from edge.cli.bench import Arguments as Bench
from edge.cli.score import Arguments as Score
from edge.plugins import registry
from edge.settings import options
from edge.settings.options import UNSET, Option
from edge.settings.settings import Settings

PAGE = Path(__file__).parents[1] / "settings.md"
HEAD = """# Settings

Each flag of `edge-run` is also a variable (`--spool-max`: `EDGE_SPOOL_MAX`) and a key in a TOML file for `--config`:

```toml
model = "digits.onnx"
mqtt = "mqtts://pi@broker.example:8883"
mqtt-password-file = "/etc/edge-run/password"
device = "line3"
sink = ["file:results.jsonl"]
```

A flag wins over a variable, a variable over the file, the file over a tuned profile (threads and provider) and the
model's manifest. A flag that may be repeated is a list in the file, and has commas between in a variable. Sizes are
written `256MB`, times in seconds. A password belongs in a file (`--mqtt-password-file`): what is on the command line,
everybody on the machine can read. A variable that begins with `EDGE_` and is none of these is told at the start.

The file may hold several models and sources, each in a `[[run]]` table: [runs](runs.md).

`edge-run --help-all` says the same. This page is written by `make settings`.
"""


WHOLE = "Of the whole process: in the file they stand above the first `[[run]]`.\n"


def page() -> str:
    """The whole page."""
    parts = [HEAD, "## edge-run\n", *_tables(Settings), "## edge-convert\n", *_tables(Convert)]
    return "\n".join([*parts, "## edge-bench\n", *_tables(Bench), "## edge-score\n", *_tables(Score)])


def _tables(struct: type[msgspec.Struct]) -> Iterable[str]:
    rooms: dict[str, list[Option]] = {}
    for option in options.of(struct):
        rooms.setdefault(option.title, []).append(option)
    for title, among in rooms.items():
        heading = [f"### {title[0].upper()}{title[1:]}\n"] if title else []
        heading += [WHOLE] if all(option.of_process for option in among) else []
        yield "\n".join([*heading, "| flag | | default |\n|---|---|---|", *map(_row, among), ""])


def _row(option: Option) -> str:
    flag = option.flag
    value = "" if option.switch else f" {option.metavar}"
    word = option.metavar if flag.positional else f"{', '.join(option.words)}{value}"
    text = flag.help.replace("...", registry.usage(flag.plugins)) if flag.plugins else flag.help
    known = (("repeatable", flag.many), ("a flag only", flag.only_flag), ("of the process", flag.of_process))
    notes = [note for note, so in known if so]
    more = f" ({', '.join(notes)})" if notes else ""
    return f"| `{_cell(word)}` | {_cell(text)}{more} | {_default(option.default)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _default(default: Any) -> str:
    if default is msgspec.NODEFAULT:
        return "required"
    return f"`{default}`" if default not in (None, False, (), "", UNSET) else ""


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.stdout.write(f"wrote {PAGE}\n")
