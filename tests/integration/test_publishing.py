"""The publishing rules of `edge-run` as a process, at a real mosquitto."""

from __future__ import annotations

import subprocess

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from support.processes import BINARIES

INPUT = "edge/pi/flowers/input"


@pytest.fixture
def service(edge_run, flowers, broker, client):
    """Starts a service with publishing rules; gives the client that hears it."""

    def start(*rules):
        listener = client(broker.port, "edge/pi/flowers/#", "asker/7")
        common = ("--model", flowers.path, "--mqtt", broker.url, "--device", "pi", "--stats-interval", "0.5")
        listener.process = edge_run(*common, *rules)
        listener.wait_for_text("edge/pi/flowers/status", b"online")
        return listener

    return start


def labels(listener):
    return [r["predictions"][0]["label"] for r in listener.of("result")]


def test_only_changes_are_published_and_stats_count_what_was_held_back(service, flowers):
    listener = service("--on-change")
    for i in (0, 1, 2, 60, 61, 0):
        listener.publish(INPUT, flowers.rows[i])
    listener.wait_for("result", 3)
    already = len(listener.of("stats"))
    stats = listener.wait_for("stats", already + 2)[-1]
    assert labels(listener) == [flowers.answers[i] for i in (0, 60, 0)]
    assert stats["held_back"] == {"unchanged": 3}
    assert (stats["results"], stats["safe"]) == (6, 6)


def test_an_asker_is_answered_although_the_result_is_held_back(service, flowers):
    listener = service("--on-change")
    question = Properties(PacketTypes.PUBLISH)
    question.ResponseTopic = "asker/7"
    for i in (0, 1, 2):
        listener.publish(INPUT, flowers.rows[i], question)
    answers = listener.wait_for("7", 3)
    assert [a["predictions"][0]["label"] for a in answers] == flowers.answers[:3]
    assert labels(listener) == flowers.answers[:1]
    listener.wait_for("stats", len(listener.of("stats")) + 2)
    assert len(listener.of("7")) == 3
    assert not listener.of("answer")  # there is no such topic


def test_the_last_state_within_the_interval_is_published_before_a_clean_end(service, flowers):
    listener = service("--min-interval", "3600")
    for i in (0, 60, 120):
        listener.publish(INPUT, flowers.rows[i])
    listener.wait_for("result", 1)
    stats = listener.wait_for("stats", len(listener.of("stats")) + 2)[-1]
    assert (stats["results"], stats["held_back"]) == (3, {"interval": 1})
    assert listener.process.stop() == 0
    listener.wait_for("result", 2)
    assert labels(listener) == [flowers.answers[0], flowers.answers[120]]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--deadband", "1"), "--deadband 1: it is for numbers, and the model's task is classify; say --on-change"),
        (("--deadband", "-1"), "--deadband -1: a number of at least 0 belongs there"),
        (("--min-interval", "soon"), "--min-interval soon: a number belongs there"),
        (("--min-score", "nan"), "--min-score nan: a finite number belongs there"),
        (("--home-assistant", "a/#"), "--home-assistant a/#: letters, digits, _ and - belong there"),
    ],
)
def test_a_rule_that_cannot_be_is_one_line_and_exit_code_2(flowers, tmp_path, flags, said):
    command = [BINARIES / "edge-run", "--model", flowers.path, "--state-dir", tmp_path, *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
