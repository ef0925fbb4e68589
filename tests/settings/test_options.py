"""One declaration for each option: flag, variable, key, help and type come from it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TypeVar, get_args, get_type_hints

import msgspec
import pytest

from edge.app import assembly
from edge.errors import ConfigError
from edge.plugins import registry
from edge.plugins.contexts import SinkContext
from edge.settings import arguments, layers, options
from edge.settings.options import Option
from edge.settings.parsers import OneOf
from edge.settings.settings import Settings

ALL = options.of(Settings)


def read(*argv: str, **environ: str) -> Settings:
    return layers.read(["--model", "m.onnx", *argv], environ, "0")


@pytest.mark.parametrize(
    ("flag", "value", "says"),
    [
        ("--keepalive", "65536", "at most 65535"),
        ("--threads", "100000", "at most 256"),
        ("--instances", "0", "a number from 1 to 64, or auto"),
        ("--instances", "many", "a number from 1 to 64, or auto"),
        ("--batch", "0", "a number of at least 1"),
        ("--batch", "1001", "at most 1000"),
        ("--replay-rate", "-1", "a number of at least 0"),
        ("--mqtt-client-id", "x" * 70_000, "at most 200 printable characters"),
        ("--device", "a\0b", "at most 200 printable characters"),
        ("--prefix", "x" * 201, "at most 200 printable characters"),
    ],
)
def test_a_value_out_of_bounds_is_told_in_a_line(flag, value, says):
    with pytest.raises(ConfigError, match=says):
        read(flag, value)


def test_an_unknown_sink_is_told_with_those_there_are():
    with pytest.raises(ConfigError, match="there is no sink 'mail'; known: console, file"):
        assembly.make_sink("mail:me", SinkContext())


def test_a_file_in_place_of_a_sink_is_told_how_to_say_it():
    with pytest.raises(ConfigError, match=r"--sink out.jsonl: no kind of sink; .* --sink file:out.jsonl"):
        assembly.make_sink("out.jsonl", SinkContext())


def test_the_help_lists_what_is_installed(capsys):
    with pytest.raises(SystemExit):
        layers.read(["--help-all"], {}, "0", registry.usage)
    said = " ".join(capsys.readouterr().out.split())
    sinks = said.partition("a further sink: ")[2].partition(" --")[0]
    assert {"console", "file:out.jsonl", "mqtt"} <= set(sinks.split(", "))
    assert "camera:0" in said


def test_batches_for_home_assistant_are_refused_with_the_way_out():
    with pytest.raises(ConfigError, match=r"--batch 8 with --home-assistant.*leave one of the two out"):
        read("--batch", "8", "--home-assistant")
    assert read("--home-assistant", EDGE_BATCH="1").publishing.batch == 1


def _returned(option: Option) -> type:
    parse = option.flag.parse
    if isinstance(parse, OneOf):
        return str
    returned = parse if isinstance(parse, type) else get_type_hints(parse)["return"]
    return str if isinstance(returned, TypeVar) else returned  # one of some words


@pytest.mark.parametrize("option", ALL, ids=lambda o: o.name)
def test_the_default_has_the_type_that_mypy_sees(option):
    room = getattr(Settings(), option.room)
    hint = get_type_hints(type(room))[option.field]
    if hint is Path or Path in get_args(hint):
        assert isinstance(option.default, Path | None)
    else:
        assert msgspec.convert(option.default, hint, strict=True) == option.default


@pytest.mark.parametrize("option", [o for o in ALL if not o.switch], ids=lambda o: o.name)
def test_the_parser_gives_the_type_that_mypy_sees(option):
    hint = get_type_hints(type(getattr(Settings(), option.room)))[option.field]
    returned = tuple[_returned(option), ...] if option.flag.many else _returned(option)
    words = [w for t in (hint, *get_args(hint)) for w in get_args(t) if isinstance(w, str)]
    if words:
        assert [option.flag.parse(word) for word in words] == words
    else:
        assert returned in (hint, *get_args(hint)) or set(get_args(returned)) < set(get_args(hint))


def test_an_option_that_is_declared_is_a_flag_a_variable_a_key_and_a_line_of_the_help(tmp_path):
    """Without a word of it elsewhere: what a new flag costs is its declaration and its use."""
    (tmp_path / "edge.toml").write_text('spool-max = "3MB"\n')
    assert read().delivery.spool_max == 256_000_000
    assert read("--config", str(tmp_path / "edge.toml")).delivery.spool_max == 3_000_000
    assert read("--config", str(tmp_path / "edge.toml"), EDGE_SPOOL_MAX="2MB").delivery.spool_max == 2_000_000
    assert read("--spool-max", "1MB", EDGE_SPOOL_MAX="2MB").delivery.spool_max == 1_000_000


def test_the_help_lists_every_flag_under_its_room(capsys):
    with pytest.raises(SystemExit) as ended:
        layers.read(["--help-all"], {}, "0")
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert set(re.findall(r"^  (?:-v, )?(--[a-z-]+)", shown, re.MULTILINE)) == {
        *(f"--{o.name}" for o in ALL),
        "--version",
    }
    assert "bytes of results that may wait on disk [256000000]" in " ".join(shown.split())
    assert shown.index("delivery:") < shown.index("\n  --spool-max") < shown.index("the process:")


def test_what_the_user_named_is_known_by_its_key():
    assert read("--threads", "2", EDGE_PROVIDER="cpu").given == {"model", "threads", "provider"}


def test_a_flag_that_is_only_a_flag_is_no_variable_and_no_key(tmp_path):
    assert read(EDGE_CHECK="1").process.check is False
    (tmp_path / "edge.toml").write_text("check = true\n")
    with pytest.raises(ConfigError, match="unknown key 'check'"):
        read("--config", str(tmp_path / "edge.toml"))


def test_repeated_flags_variables_and_lists_are_all_several_values(tmp_path):
    (tmp_path / "edge.toml").write_text('sink = ["console", "file:x"]\n')
    both = ("console", "file:x")
    assert read("--sink", "console", "--sink", "file:x").output.sinks == both
    assert read(EDGE_SINK="console,file:x").output.sinks == both
    assert read("--config", str(tmp_path / "edge.toml")).output.sinks == both


@pytest.mark.parametrize(("said", "becomes"), [
    ((), None), (("--home-assistant",), "homeassistant"), (("--home-assistant", "ha"), "ha"),
])  # fmt: skip
def test_a_flag_that_may_stand_alone_has_a_value_of_its_own_there(said, becomes):
    assert read(*said).publishing.home_assistant == becomes


@pytest.mark.long
def test_a_typing_error_in_a_use_of_the_settings_is_found_by_mypy(tmp_path):
    pytest.importorskip("mypy")
    use = tmp_path / "use.py"
    use.write_text(
        "from edge.settings.settings import Settings\n"
        "def use(settings: Settings) -> int:\n"
        "    settings.delivery.grase\n"
        "    return settings.topics.device\n"
    )
    line = [sys.executable, "-m", "mypy", "--strict", "--follow-imports", "silent", str(use)]
    said = subprocess.run(line, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False).stdout
    assert 'has no attribute "grase"' in said
    assert 'got "str", expected "int"' in said


class Words(msgspec.Struct):
    """For a parser without rooms."""


def test_a_word_that_nothing_is_like_has_no_suggestion():
    program = arguments.Program("edge-x", "", "0")
    with pytest.raises(ConfigError, match=r"^unknown argument --zzzz \(edge-x --help lists them\)$"):
        arguments.read(Words, program, ["--zzzz"])


@pytest.mark.parametrize("text", ["clients/+/answers", "replies/#", "#", "+", "a//b"])
def test_filters_of_reply_topics_are_those_of_mqtt(text):
    assert read("--reply-topics", text).topics.reply_topics == (text,)


@pytest.mark.parametrize("text", ["", "a/#/b", "a#", "a/b+", "$SYS/#", "$share/g/a", "a\nb"])
def test_what_is_no_filter_of_reply_topics_is_refused(text):
    with pytest.raises(ConfigError, match="belong there"):
        read("--reply-topics", text)


def test_a_model_of_a_repository_needs_the_repository():
    with pytest.raises(ConfigError, match="no such file; to fetch it say --updates URI"):
        layers.read(["digits@stable"], {}, "0")


def test_on_a_narrow_terminal_addresses_stay_whole(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    with pytest.raises(SystemExit):
        layers.read(["--help"], {}, "0", registry.usage)
    said = capsys.readouterr().out.split()
    assert {"http://user@host/snapshot.jpg,", "https://host/stream.mjpg,", "kafka://host:9092/topic,"} <= set(said)
