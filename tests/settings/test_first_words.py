"""What somebody types in the first hour: a lone model, `--help`, a misspelt variable."""

from __future__ import annotations

import gc

import pytest

from edge.cli import bench, fleet, score
from edge.cli import run as edge_run
from edge.errors import ConfigError
from edge.settings import layers, options
from edge.settings.parsers import OneOf
from edge.settings.settings import Settings


def read(*argv: str, **environ: str) -> Settings:
    return layers.read(argv, environ, "0")


@pytest.mark.parametrize("argv", [("m.onnx", "--mqtt", "mqtt://x"), ("--mqtt", "mqtt://x", "m.onnx"),
                                  ("--watch", "m.onnx"), ("m.onnx", "--model", "m.onnx")])  # fmt: skip
def test_the_model_may_be_said_without_its_flag_anywhere(argv):
    assert str(read(*argv).model.file) == "m.onnx"


def test_a_lone_model_wins_over_a_variable():
    assert str(read("m.onnx", EDGE_MODEL="other.onnx").model.file) == "m.onnx"


@pytest.mark.parametrize("run", [edge_run.run, bench.run, score.run, fleet.run])
def test_a_terminal_obeys_nothing_of_what_is_told_to_be_wrong(run, capsys):
    code = run(["--\x1b[2Jx"])
    gc.enable()
    said = capsys.readouterr().err

    assert (code, "\x1b" in said, "\\u001b[2Jx" in said) == (2, False, True)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("a.onnx", "b.onnx"), r"unknown argument b.onnx; only the model \(a.onnx\) goes without a flag"),
        (("a.onnx", "--model", "b.onnx"), "a.onnx and --model b.onnx: say one of the two"),
        (("--modle", "a.onnx"), "unknown argument --modle; did you mean --model"),
    ],
)
def test_what_is_not_clear_is_refused(argv, says):
    with pytest.raises(ConfigError, match=says):
        read(*argv)


@pytest.mark.parametrize("command", [edge_run, score, bench], ids=["edge-run", "edge-score", "edge-bench"])
def test_the_help_lists_what_is_registered(command, capsys):
    with pytest.raises(SystemExit):
        command.run(["--help-all" if command is edge_run else "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert ": ..." not in said
    assert "auto, ..." not in said
    assert command is bench or "what reads the outputs: anomaly, " in said


ALONE = [option for option in options.of(Settings) if option.flag.alone is not None]


@pytest.mark.parametrize("option", ALONE, ids=lambda o: o.name)
def test_a_model_behind_a_flag_that_needs_no_value_is_told_where_it_belongs(option):
    with pytest.raises(ConfigError, match=f"put it first: edge-run digits.onnx --{option.name}$"):
        read(f"--{option.name}", "digits.onnx")
    assert str(read("digits.onnx", f"--{option.name}").model.file) == "digits.onnx"


@pytest.mark.parametrize("option", ALONE, ids=lambda o: o.name)
def test_a_wrong_value_beside_a_model_is_nothing_but_wrong(option):
    with pytest.raises(ConfigError, match=f"--{option.name} a.b: [^;]*belong") as refused:
        read("digits.onnx", f"--{option.name}", "a.b")
    assert "put it first" not in str(refused.value)


def test_a_misspelt_variable_is_told_with_the_one_that_was_meant():
    (remark,) = read("m.onnx", EDGE_DEVCE="pi", EDGE_DEVICE="pi", EDGE_CONFIG="", OTHER="x").remarks
    assert remark == "variable EDGE_DEVCE means nothing here; did you mean EDGE_DEVICE?"


@pytest.mark.parametrize("address", ["ws://broker/mqtt?token=s3cret", "mqtt://pi:s3cret@broker"])
def test_a_secret_on_the_command_line_is_told_with_the_way_out_and_not_in_a_variable(address):
    (remark,) = read("m.onnx", "--mqtt", address).remarks
    assert "EDGE_MQTT" in remark
    assert "s3cret" not in remark
    assert read("m.onnx", EDGE_MQTT=address).remarks == ()


@pytest.mark.parametrize("address", ["mqtt://pi@broker", "ws://broker/mqtt", "embedded:1883", "mqtt://[broken"])
def test_an_address_without_a_secret_is_told_nothing(address):
    assert read("m.onnx", "--mqtt", address).remarks == ()


def test_a_misspelt_variable_is_told_where_it_was_the_model():
    with pytest.raises(ConfigError, match="EDGE_MODLE means nothing here; did you mean EDGE_MODEL"):
        read(EDGE_MODLE="m.onnx")


def shown(capsys, flag: str) -> str:
    with pytest.raises(SystemExit) as ended:
        read(flag)
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_the_short_help_fits_on_a_screen_has_examples_and_names_the_long_one(capsys):
    said = shown(capsys, "--help")
    assert len(said.splitlines()) <= 40
    assert "edge-run digits.onnx --source rows.csv --mqtt none" in said
    assert "--help-all lists all" in said
    assert "--spool-max-age" not in said
    assert "--spool-max-age" in shown(capsys, "--help-all")


@pytest.mark.parametrize(
    "option", [o for o in options.of(Settings) if isinstance(o.flag.parse, OneOf)], ids=lambda o: o.name
)
def test_the_help_names_the_words_that_a_flag_takes(option, capsys):
    said = " ".join(shown(capsys, "--help-all").split())
    assert f"--{option.name} {'|'.join(option.flag.parse.words)}" in said


def test_the_folder_one_is_in_may_be_that_of_the_state(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read("m.onnx", "--state-dir", ".").delivery.state_dir == tmp_path


def test_a_misspelt_word_is_told_with_the_one_that_was_meant():
    with pytest.raises(ConfigError, match=r"--durability outages: .*; did you mean outage"):
        read("m.onnx", "--durability", "outages")


@pytest.mark.parametrize("word", ["help", "check", "describe"])
def test_a_flag_without_its_dashes_is_told(word):
    with pytest.raises(ConfigError, match=f"^{word}: there is no such model file; did you mean edge-run --{word}"):
        read(word)


def test_a_file_of_such_a_name_is_a_model_all_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "check").touch()
    assert str(read("check").model.file) == "check"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_file_of_settings_may_come_from_windows(tmp_path, encoding):
    (tmp_path / "edge.toml").write_bytes('model = "größe.onnx"\r\ntop-k = 3\r\n'.encode(encoding))
    assert str(read("--config", str(tmp_path / "edge.toml")).model.file) == "größe.onnx"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"model: m.onnx\n", "not TOML: .*; each line says name = value, with text in quotes"),
        (b'{"model": "m.onnx"}', "each line says name = value"),
        (b"model = m.onnx\n", "with text in quotes: model = "),
        (b'model = "C:\\Users\\m.onnx"\n', "is taken as it stands between single quotes"),
        ('model = "m.onnx"\n'.encode("utf-16"), "not UTF-8; save the file as UTF-8"),
        (b'model = "m.onnx"\nhttp = true\n', r"http = true: \[HOST:\]PORT belongs there"),
    ],
)
def test_a_file_that_is_no_toml_is_told_with_the_way_out(tmp_path, content, says):
    (tmp_path / "edge.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=says):
        read("--config", str(tmp_path / "edge.toml"))
