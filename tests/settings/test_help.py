"""`--help` of every command, as a person sees it on a narrow, a usual and a wide terminal."""

from __future__ import annotations

import importlib
import re
from importlib.metadata import distribution
from pathlib import Path

import pytest

from edge.cli import run as edge_run
from edge.cli.starting import PLACES
from edge.settings import arguments, help_text
from edge.settings.options import UNSET

SCRIPTS = sorted(entry.name for entry in distribution("edge-run").entry_points if entry.group == "console_scripts")
WIDE = 100_000


def shown(argv, columns, monkeypatch, capsys):
    """The help of a command as typed, and the commands that it lists."""
    listed = []
    usual = help_text.Page.commands
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(help_text.Page, "commands", lambda page, each: [listed.extend(each), usual(page, each)][1])
    name, *rest = argv
    module = edge_run if name == "edge-run" else importlib.import_module(PLACES[name][0])
    with pytest.raises(SystemExit) as ended:
        module.run(rest)
    monkeypatch.undo()
    assert ended.value.code == 0
    return capsys.readouterr().out, [command for command, _ in listed]


def every_help(name, monkeypatch, capsys):
    """Each call that shows a help, beginning with `--help`: what a help lists or names is asked for its own."""
    seen, ahead = {}, [(name, "--help")]
    while ahead:
        argv = ahead.pop(0)
        text, listed = shown(argv, WIDE, monkeypatch, capsys)
        seen[argv] = text
        words = [word for word in re.findall(r"([\w-]+) --help\b", text) if word != name]
        more = [(*argv[:-1], word, "--help") for word in (*listed, *words)]
        more += [(*argv[:-1], "--help-all")] if "--help-all" in text else []
        ahead += [argv for argv in dict.fromkeys(more) if argv not in seen and argv not in ahead]
    return seen


def words(text):
    """Its words, whatever is put between them where a line is too short for choices, an example or its comment."""
    return [word for word in re.sub(r"\|\n\s+", "|", text).split() if word not in ("#", "\\")]


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_help_is_wider_than_the_terminal_nor_breaks_a_word(name, monkeypatch, capsys):
    for argv, wide in every_help(name, monkeypatch, capsys).items():
        for columns in (40, 80, 120):
            text, _ = shown(argv, columns, monkeypatch, capsys)
            # A single word may be longer than a narrow line: there is nothing to break it at.
            over = [line for line in text.splitlines() if len(line) > columns and (columns > 40 or " " in line.strip())]
            assert over == [], f"{' '.join(argv)} at {columns} columns"
            assert words(text) == words(wide), f"{' '.join(argv)} at {columns} columns"


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_default_is_shown_as_it_would_be_typed(name, monkeypatch, capsys):
    """Read as what is typed it gives the default."""
    found = []
    usual = arguments._line  # noqa: SLF001
    with monkeypatch.context() as whole:
        whole.setattr(arguments, "_line", lambda option: [found.append(option), usual(option)][1])
        with pytest.MonkeyPatch.context() as each:
            every_help(name, each, capsys)
    said = [o for o in found if not o.switch and not o.flag.many and isinstance(o.default, int | float | str | Path)]
    assert said
    for option in said:
        if option.default and option.default != UNSET:
            assert option.flag.parse(option.flag.shown or str(option.default)) == option.default, option.name


def test_every_help_there_is_is_looked_at(monkeypatch, capsys):
    found = {argv for name in SCRIPTS for argv in every_help(name, monkeypatch, capsys)}
    assert {("edge-run", "--help-all"), ("edge-run", "service", "install", "--help"),
            ("edge-fleet", "rollout", "--help"), ("edge-score", "--compare", "--help")} <= found  # fmt: skip
