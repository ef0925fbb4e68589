"""Whatever a path or a setting holds, a written file says it again when it is read, or is not written at all."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge.errors import ConfigError
from edge.tools.systemd import unit
from edge.tools.systemd.unit import Needs, Program

TEXTS = st.text(st.characters() | st.sampled_from("\"'\\%$:;# \t\n\r\x00\x85\u2028\U000e0001\udc80[]={}"), min_size=1)
WORDS = TEXTS.map(lambda text: "/" + text.replace("\0", ""))

PLAIN = unit.template(Program(("/x",)), 252)


def lines(text):
    """A unit file's keys and values, as systemd.syntax(7) has them."""
    found = []
    for line in text.split("\n"):
        assert not line.endswith("\\"), "it would go on in the next line"
        stripped = line.strip(" \t\r")
        if stripped and stripped[0] not in "#;[":
            key, _, value = stripped.partition("=")
            found.append((key.strip(), value.strip()))
    return found


def words(value, between=" \t\n\r"):
    """Quotes and backslashes undone."""
    found, word, quote, at, begun = [], "", "", 0, False
    while at < len(value):
        char = value[at]
        if char == "\\":
            at += 1
            word, begun = word + value[at], True
        elif quote:
            quote, word = ("", word) if char == quote else (quote, word + char)
        elif char in "\"'":
            quote, begun = char, True
        elif char in between:
            found += [word] if begun else []
            word, begun = "", False
        else:
            word, begun = word + char, True
        at += 1
    assert not quote
    return [*found, word] if begun else found


def plain(word):
    """Without what keeps specifiers and variables away; none of either is left."""
    text = word.replace("%%", "\0")
    assert "%" not in text
    return text.replace("\0", "%")


@given(
    st.dictionaries(
        st.sampled_from(["name", "labels", "http-port"]), TEXTS | st.booleans() | st.integers() | st.lists(TEXTS)
    )
)
@example({"name": "a\"b\\'c"})
@example({"name": "\U000e0001"})
def test_a_configuration_says_what_it_was_given(given_settings):
    try:
        text = unit.toml(list(given_settings.items()))
    except ConfigError:
        return

    assert tomllib.loads(text) == given_settings


@given(st.lists(WORDS, min_size=1, max_size=3), st.lists(WORDS, max_size=2))
@example(["/opt/a b/$x%n\"'\\;"], ["/srv/a:b 'c'"])
def test_a_unit_runs_the_command_and_shows_the_folders_that_it_was_given(command, folders):
    try:
        text = unit.template(Program(tuple(command), tuple(map(Path, folders))), 252)
    except ConfigError:
        return

    said = lines(text)
    assert [key for key, _ in said if key != "BindReadOnlyPaths"] == [key for key, _ in lines(PLAIN)]
    run = next(value for key, value in said if key == "ExecStart")
    assert [plain(w.replace("$$", "$")) for w in words(run)[: len(command)]] == command
    shown = [value for key, value in said if key == "BindReadOnlyPaths"]
    assert [plain(w) for value in shown for w in words(value, " \t\n\r:")] == [str(Path(f)) for f in folders]


@given(WORDS, st.lists(WORDS, max_size=2))
@example("/srv/a b%c", [])
def test_an_instance_loads_the_files_that_it_was_given(secret, devices):
    try:
        text = unit.drop_in(Needs(credentials=(("token", Path(secret), "EDGE_TOKEN"),), devices=tuple(devices)))
    except ConfigError:
        return

    said = lines(text)
    name, _, file = next(value for key, value in said if key == "LoadCredential").partition(":")
    assert (name, plain(file)) == ("token", str(Path(secret)))
    assert [value for key, value in said if key == "DeviceAllow"] == [f"{d} rw" for d in devices]


@pytest.mark.parametrize("odd", ["a\nExecStart=/bin/sh", "a\rb", "a\x1b[2J", "a\udc80", "a\x85b"])
def test_what_would_be_another_line_is_refused_by_name(odd):
    for write in (
        lambda: unit.toml([("name", odd)]),
        lambda: unit.template(Program((f"/{odd}",)), 252),
        lambda: unit.template(Program(("/x",), (Path(f"/{odd}"),)), 252),
        lambda: unit.drop_in(Needs(credentials=(("token", Path(f"/{odd}"), "EDGE_TOKEN"),))),
        lambda: unit.drop_in(Needs(folders=(Path(f"/{odd}"),))),
        lambda: unit.drop_in(Needs(groups=(odd,))),
    ):
        with pytest.raises(ConfigError, match="cannot stand in"):
            write()
