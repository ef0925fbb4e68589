"""What is said wrongly, or does not go together, is told in one line that names it and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.errors import ConfigError
from edge.settings import layers
from edge.settings.settings import Settings


def read(words: str, **environ: str) -> Settings:
    return layers.read(["--model", "m.onnx", *words.split()], environ, "0")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--spool-max 256XB", "--spool-max 256XB: a size like 256MB belongs there"),
        ("--top-k -1", "a number of at least 0 belongs there"),
        ("--top-k five", "a whole number belongs there"),
        ("--updates-interval 0", "a number above 0 belongs there"),
        ("--deadband -0.1", "a number of at least 0 belongs there"),
        ("--grace -1", "seconds of at least 0 belong there"),
        ("--drift 0.5", "seconds from 1 to 86400 belong there"),
        ("--drift 86401", "seconds from 1 to 86400 belong there"),
        ("--track 0", "a number of seconds above 0, at most 86400, belongs there"),
        ("--max-temperature 300", "degrees Celsius from 20 to 110 belong there"),
        ("--threshold nan", "a finite number belongs there"),
        ("--threshold high", "a number belongs there$"),
        ("--threshold 0,5", "a number belongs there, with a decimal point"),
        ("--motion 0", "a number above 0, at most 1, belongs there"),
        ("--then-margin 11", "a number from 0 to 10 belongs there"),
        ("--gallery-score 1.01", "a number from -1 to 1 belongs there"),
        ("--mean 1,two", "numbers with commas between them belong there"),
        ("--input-size 320x0", "width and height like 320x240 belong there"),
        ("--then-labels cat,,dog", "names with commas between them belong there"),
        ("--reply-topics a+/answers", r"topics like clients/\+/answers or replies/# belong there"),
        ("--reply-topics #/answers", r"topics like clients/\+/answers or replies/# belong there"),
        ("--reply-topics $SYS/#", "those with \\$ are the broker's own"),
        ("--line gate=0,300", "x,y of 2 points belong there: gate="),
        ("--zone door=0,0,1", "x,y of 3 to 64 points belong there: door="),
        ("--line gate=0,300,0,300", "a line between two points belongs there"),
        ("--line gate=0,300,640,300,0,0", "a line between two points belongs there"),
        ("--capture score=0.6", "rules like score<0.6, .* belong there, with commas between, not 'score=0.6'"),
        ("--capture class:", "rules like score<0.6"),
        ("--payload @nowhere.txt", "No such file or directory; name a file with the template behind @"),
        ("--payload @/dev/zero", "it is larger than 16 MB; name a file with the template behind @"),
    ],
)
def test_a_value_that_is_none_of_its_kind_is_told_with_what_belongs_there(words, says):
    with pytest.raises(ConfigError, match=says) as refused:
        read(words)
    assert str(refused.value).startswith(words.split()[0])


@pytest.mark.parametrize(
    ("flag", "value", "says"),
    [
        ("--topic", " ", "a topic belongs there"),
        ("--payload", "\n", "a template belongs there"),
        ("--mqtt-ca", "", "a path belongs there"),
    ],
)
def test_a_value_of_nothing_is_told_with_what_belongs_there(flag, value, says):
    with pytest.raises(ConfigError, match=says):
        layers.read(["--model", "m.onnx", flag, value], {}, "0")


def test_a_template_in_a_file_that_is_no_text_is_told(tmp_path):
    (tmp_path / "t.json").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="a file of UTF-8 text belongs behind @"):
        read(f"--payload @{tmp_path}/t.json")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--json", "--json is how --check prints; say --check --json"),
        ("--updates-manual", "--updates-manual: an update of what"),
        ("--updates-manual --updates file:/u --mqtt none --http 0", "by a command on MQTT, but --mqtt is none"),
        ("--home-assistant --mqtt none", "--home-assistant: it listens on a broker, but --mqtt is none"),
        ("--home-assistant --batch 2", "--batch 2 with --home-assistant: .*not an array; leave one of the two out"),
        ("--topic a --mqtt none", "--topic is for the broker, but --mqtt is none"),
        ("--retain --mqtt none", "--retain is for the broker, but --mqtt is none"),
        ("--sparkplug-host scada", "--sparkplug-host is the primary host of Sparkplug; add --format sparkplug"),
        ("--format sparkplug --topic a", "leave --topic out"),
        ("--format sparkplug --retain", "--retain with --format sparkplug: .*leave --retain out"),
        ("--format cloudevents --payload {}", "--payload with --format cloudevents: both say what a result looks like"),
        ("--topic a --batch 2", "--topic with --batch 2: each result has words of its own"),
        ("--payload {} --home-assistant", "--payload with --home-assistant: its entities read results as they are"),
        ("--format cloudevents-binary --mqtt-version 3.1.1", "which MQTT 3.1.1 .* has not; say --format cloudevents"),
        ("--format cloudevents-binary --mqtt embedded:1883", "the embedded broker.* has not; say --format cloudevents"),
        ("--then-most 2", "--then-most is about what a second model is shown; name it by --then FILE"),
        ("--then b.onnx --gallery-score 0.5", "--gallery-score is about the vectors of a gallery"),
        ("--commands --mqtt none", "--commands: they come over the broker, but --mqtt is none"),
        ("--mqtt none", "nothing feeds the model; name a --source or --http PORT"),
        ("--join-max-age 5", "--join-max-age is about topics that are joined; name them by --join NAME=TOPIC"),
        ("--join t=a --join t=b", "--join t=...: there are two of this name"),
        ("--join t=a --join-trigger h", "--join-trigger h: no feature of --join"),
        ("--join t=a --join-trigger t --join-interval 1", "both say when a row is made"),
        ("--join t=+/a --join h=+/+/b", "topics with different numbers of \\+"),
        ("--join t=+/a --join h=b --join-trigger h", "--join-trigger h: its topic has no \\+"),
        ("--zone a=0,0,1,0,1,1", "about objects that are followed; add --track"),
        ("--track --line a=0,0,1,1 --line a=0,0,2,2", "--line a=...: there are two of this name"),
        ("--motion-keepalive 5", "--motion-keepalive is about frames that are left out; add --motion"),
        ("--model m@stable", "--model m@stable: there is no such file; to fetch it say --updates URI, too"),
    ],
)  # fmt: skip
def test_words_that_do_not_go_together_are_told_with_the_way_out(words, says):
    with pytest.raises(ConfigError, match=says):
        read(words)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("watch = 'maybe'", "watch = maybe: true or false belongs there"),
        ("threads = true", "threads = true: N belongs there (threads for one inference"),
        ("threads = {a = 1}", "threads = {'a': 1}: N belongs there (threads for one inference"),
        ("join = {features = 'house/t'}", "join.features: 'house/t'; a table of features and their topics"),
        ("join = {features = {t = 5}}", 'join.features.t: 5; say "a/topic"'),
        ("join = {features = {t = {topic = 'a', paht = '$.b'}}}", 'say "a/topic" or {topic = "a/topic", path = '),
        ("join = {features = {t = {topic = 'a', path = 'b'}}}", 'say "a/topic" or {topic = "a/topic", path = '),
    ],
)  # fmt: skip
def test_a_value_in_a_file_that_is_none_of_its_kind_is_told(line, says, tmp_path):
    (tmp_path / "c.toml").write_text(f"{line}\n")
    with pytest.raises(ConfigError) as refused:
        read(f"--config {tmp_path}/c.toml")
    assert says in str(refused.value)


def test_a_list_in_a_file_is_as_its_words_with_commas_between(tmp_path):
    (tmp_path / "c.toml").write_text("mean = [1, 2.5, 3]\nwatch = 'on'\n")
    settings = read(f"--config {tmp_path}/c.toml")
    assert settings.manifest.mean == (1.0, 2.5, 3.0)
    assert settings.input.watch is True


def test_a_word_of_a_variable_is_a_switch(tmp_path):
    assert [read("", EDGE_RETAIN=word).words.retain for word in ("yes", "Off", "0", "TRUE")] == [
        True,
        False,
        False,
        True,
    ]


def test_the_state_folder_of_systemd_is_the_first_it_names():
    assert read("", STATE_DIRECTORY="/var/lib/edge:/var/lib/more").delivery.state_dir == Path("/var/lib/edge")


@pytest.mark.parametrize(("words", "least"), [("--max-temperature 80", 80.0), ("--max-temperature 20", 20.0)])
def test_a_bound_itself_is_taken(words, least):
    assert read(words).input.max_temperature == least
