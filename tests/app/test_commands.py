"""Commands on `set`: each is answered, bounded, and remembered only where it says so."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from edge.app import commands
from edge.app.commands import WAITING_MOST, Bounds, Commands
from edge.errors import ConfigError
from edge.mqtt.messages import Incoming, Outgoing
from edge.mqtt.reply_fence import ReplyFence
from edge.mqtt.topics import Topics
from edge.runtime.controls import Controls
from edge.testing.fakes import FakeClock

BASE = "edge/line3/m"


class Service:
    """Commands with what they act on, and what they publish."""

    def __init__(self, folder: Path, bounds: Bounds) -> None:
        self.controls = Controls()
        self.posted: list[Outgoing] = []
        self.acked = 0
        about = ("line3", "m", "5f0c9a1e")
        said = commands.Service(Topics(BASE), about, folder / "m.commands.json", bounds)
        self.commands = Commands(said, self.controls, self, ReplyFence(BASE), FakeClock())
        self.commands.open()

    def post(self, message: Outgoing) -> None:
        self.posted.append(message)

    def ack(self, incoming: Incoming) -> None:
        self.acked += 1

    def say(self, payload: bytes, *, retain: bool = False, reply: str | None = None) -> dict[str, object]:
        """The answer; the one on `answer` alone where there is a Response Topic too."""
        self.posted.clear()
        self.commands.heard(Incoming(f"{BASE}/set", payload, 1, False, retain, 1, 1, reply, b"7"))
        self.commands.tick()
        (answer,) = [p for p in self.posted if p.topic == f"{BASE}/answer"]
        return msgspec.json.decode(answer.payload)

    def topics(self) -> list[str]:
        return [p.topic.removeprefix(f"{BASE}/") for p in self.posted]


BOUNDS = Bounds(("cat", "dog"), True, 0.1, 0.5, lambda: ("Katze", "Hund"))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    level = logging.getLogger("edge").level
    yield tmp_path
    logging.getLogger("edge").setLevel(level)


@pytest.fixture
def service(folder: Path) -> Service:
    return Service(folder, BOUNDS)


def test_pause_and_resume_are_answered_and_the_state_is_retained(service):
    answer = service.say(b'{"command": "pause", "id": 7}')
    assert (answer["ok"], answer["command"], answer["id"]) == (True, "pause", 7)
    assert service.controls.holds
    assert [(p.topic, p.retain) for p in service.posted] == [(f"{BASE}/answer", False), (f"{BASE}/settings", True)]
    assert service.say(b'{"command": "resume"}')["settings"]["paused"] is False
    assert not service.controls.holds
    assert service.acked == 2


def test_a_reading_is_asked_for_while_it_is_paused(service):
    service.say(b'{"command": "pause"}')
    service.say(b'{"command": "read"}')
    assert not service.controls.holds
    service.controls.read()
    assert service.controls.holds


def test_threshold_classes_and_labels_reach_what_infers(service):
    service.say(b'{"command": "threshold", "value": 0.25}')
    service.say(b'{"command": "labels"}')
    service.say(b'{"command": "classes", "value": ["Hund", "Hund"]}')
    wanted = service.controls.wanted
    assert (wanted.threshold, wanted.classes, wanted.labels) == (0.25, ("Hund",), ("Katze", "Hund"))
    service.say(b'{"command": "classes", "value": null}')
    assert service.say(b'{"command": "threshold", "value": null}')["settings"]["threshold"] == 0.5
    assert service.controls.wanted.classes is None


def test_labels_are_not_read_again_while_a_chosen_class_is_none_of_them(service):
    service.say(b'{"command": "classes", "value": ["dog"]}')
    assert "'dog'" in str(service.say(b'{"command": "labels"}')["reason"])
    assert service.controls.wanted.labels is None
    service.say(b'{"command": "classes", "value": null}')
    assert service.say(b'{"command": "labels"}')["ok"] is True


def test_the_log_level_is_set_and_as_before_at_the_end(service):
    before = logging.getLogger("edge").level
    service.say(b'{"command": "log-level", "value": "error"}')
    assert logging.getLogger("edge").level == logging.ERROR
    service.commands.close()
    assert logging.getLogger("edge").level == before


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (b'{"command": "puase"}', "did you mean pause"),
        (b"pause", "not a command"),
        (b"\xff\xfe", "not a command"),
        (b"[" * 5000, "not a command"),
        (b'{"command": "pause", "more": 1}', "unknown field"),
        (b'{"command": "pause", "value": 1}', "takes no value"),
        (b'{"command": "threshold"}', "takes a value"),
        (b'{"command": "threshold", "value": "0.5"}', "is a number"),
        (b'{"command": "threshold", "value": true}', "is a number"),
        (b'{"command": "threshold", "value": 0.01}', "from 0.1 to 1"),
        (b'{"command": "threshold", "value": 1.5}', "from 0.1 to 1"),
        (b'{"command": "threshold", "value": ' + b"1" * 400 + b"}", "from 0.1 to 1"),
        (b'{"command": "classes", "value": ["dgo"]}', "did you mean dog"),
        (b'{"command": "classes", "value": []}', "a list of labels"),
        (b'{"command": "classes", "value": [1]}', "a list of labels"),
        (b'{"command": "log-level", "value": {}}', "one of debug"),
        (b'{"command": "read", "remember": true}', "cannot be remembered"),
        (b'{"command": "pause", "id": "' + b"x" * 10_000 + b'"}', "10000 bytes at most"),
    ],
)
def test_what_is_no_command_is_refused_with_a_word_on_error_and_changes_nothing(service, payload, says):
    before = service.controls.wanted
    answer = service.say(payload)
    assert answer["ok"] is False
    assert says in answer["reason"]
    assert service.topics() == ["error", "answer"]
    error = msgspec.json.decode(service.posted[0].payload)
    assert says in error["reason"]
    assert error["id"] == "line3/m/5f0c9a1e/set/1"
    assert service.controls.wanted == before


@pytest.mark.parametrize(
    ("payload", "command", "id_"),
    [
        (b'{"command": "threshold", "value": 1e999, "id": 7}', "threshold", 7),
        (b'{"command": "pause", "remember": "yes", "id": "a"}', "pause", "a"),
        (b'{"id": 7, "state": "pause"}', None, 7),
        (b'{"command": 5, "id": [1]}', None, None),
    ],
)
def test_the_id_comes_back_with_what_is_no_command_too(service, payload, command, id_):
    answer = service.say(payload)
    assert (answer["ok"], answer["command"], answer.get("id")) == (False, command, id_)


def test_what_the_broker_had_retained_is_refused_and_what_takes_it_away_is_no_command(service):
    assert "an empty retained message" in service.say(b'{"command": "pause"}', retain=True)["reason"]
    assert not service.controls.holds
    service.posted.clear()
    service.commands.heard(Incoming(f"{BASE}/set", b"", 0, False, False, 0, 1, None, None))
    service.commands.tick()
    assert service.posted == []


def test_a_model_without_classes_refuses_what_it_has_not(folder):
    service = Service(folder, Bounds())
    for payload in (
        b'{"command": "threshold", "value": 0.5}',
        b'{"command": "classes", "value": ["a"]}',
        b'{"command": "labels"}',
    ):
        assert service.say(payload)["ok"] is False
    assert service.say(b'{"command": "pause"}')["ok"] is True


def test_labels_that_do_not_fit_are_refused_and_the_old_ones_stay(folder):
    def refuse() -> tuple[str, ...]:
        raise ConfigError("2 labels for 3 classes")

    service = Service(folder, Bounds(("cat",), True, 0.1, 0.5, refuse))
    assert service.say(b'{"command": "labels"}')["reason"] == "2 labels for 3 classes"
    assert service.controls.wanted.labels is None


def test_an_asker_has_the_answer_too_unless_its_topic_is_another_one_s(service):
    service.say(b'{"command": "pause"}', reply="clients/7/answers")
    assert ("clients/7/answers", b"7") in [(p.topic, p.correlation) for p in service.posted]
    for topic in ("edge/other/m/set", f"{BASE}/set", "a/#"):
        service.say(b'{"command": "pause"}', reply=topic)
        assert topic not in [p.topic for p in service.posted]


def test_only_what_says_so_is_remembered_over_the_next_start_and_forget_ends_it(folder, service):
    service.say(b'{"command": "threshold", "value": 0.25, "remember": true}')
    service.say(b'{"command": "classes", "value": ["dog"]}')
    service.say(b'{"command": "threshold", "value": 0.75}')
    again = Service(folder, BOUNDS)
    assert (again.controls.wanted.threshold, again.controls.wanted.classes) == (0.25, None)
    assert msgspec.json.decode(again.commands.told().payload)["remembered"] == {"threshold": 0.25}
    again.say(b'{"command": "forget"}')
    assert Service(folder, BOUNDS).controls.wanted.threshold is None


@pytest.mark.parametrize("content", [b"{", b'{"threshold": 9}', b'{"classes": ["gone"]}', b"\xff"])
def test_what_is_remembered_and_fits_no_more_is_left_out_with_a_word(folder, caplog, content):
    (folder / "m.commands.json").write_bytes(content)
    service = Service(folder, BOUNDS)
    assert (service.controls.wanted.threshold, service.controls.wanted.classes) == (None, None)
    assert "remembered" in caplog.text


def test_a_flood_is_bounded_and_told_once(service):
    for _ in range(WAITING_MOST + 5):
        service.commands.heard(Incoming(f"{BASE}/set", b'{"command": "pause"}', 1, False, False, 1))
    service.commands.tick()
    assert service.topics().count("answer") == WAITING_MOST
    assert service.topics().count("error") == 1
