"""Several runs whose inputs come over one connection, on a real broker: none holds up another, and none loses any."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sqlite3
import urllib.request
from pathlib import Path

import pytest
from support import onnxmodels
from support.processes import free_port, until


@pytest.fixture
def tables(tmp_path, broker):
    """A file of these runs, each with settings of its own, of a model that takes two numbers."""
    onnxmodels.scores(tmp_path / "two.onnx", classes=2, features=2)

    def made(rest: str = "", **runs: str) -> Path:
        usual = f'model = "{tmp_path}/two.onnx"\n'
        text = "".join(
            f'[[run]]\nname = "{name}"\n{"" if "model" in said else usual}{said}\n' for name, said in runs.items()
        )
        file = tmp_path / "runs.toml"
        head = f'device = "pi"\nmqtt = "{broker.url}"\nstate-dir = "{tmp_path}/state"\n'
        file.write_text(f"{head}{rest}\n{text}")
        return file

    return made


def test_a_paused_run_holds_up_no_other_and_takes_what_waited_after_a_kill(edge_run, broker, client, tables):
    """More inputs than a broker sends without an acknowledgement, to a run that takes none."""
    heard = client(broker.port, "edge/pi/#")
    port = free_port()
    file = tables(f'commands = true\nstats-interval = 1\nhttp = "{port}"', slow="", quick="")
    process = edge_run("--config", file)
    heard.wait_for_runs("slow", "quick")
    heard.publish("edge/pi/slow/set", {"command": "pause"})
    heard.wait_for("answer")
    for number in range(200):
        heard.publish("edge/pi/slow/input", [number, 2])
    for number in range(20):
        heard.publish("edge/pi/quick/input", [number, 2])
    found = heard.wait_for("result", 20)
    assert {one["model"]["name"] for one in found} == {"quick"}
    assert process.said().count("connected to the broker") == 1
    process.wait_until_said("they wait on disk")
    waits = {"slow": 200, "quick": 0}
    heard.wait_until(lambda: {one["model"]: one["input_shelf"]["waiting"] for one in heard.of("stats")} == waits)
    lines = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode().splitlines()
    assert 'edge_run_input_shelf_messages{model="slow"} 200.0' in lines

    process.process.kill()
    process.process.wait()
    heard.publish("edge/pi/slow/input", [200, 2])
    edge_run("--config", file)
    slow = [one for one in heard.wait_for("result", 221) if one["model"]["name"] == "slow"]
    assert [one["seq"] for one in slow] == list(range(1, 202))
    heard.publish("edge/pi/quick/input", [7, 2])
    assert heard.wait_for("result", 222)[-1]["model"]["name"] == "quick"


def test_each_of_several_that_hear_one_topic_is_given_each_message_once(edge_run, broker, client, tables):
    """Also where one of them hears more than the other: mosquitto would send that twice."""
    heard = client(broker.port, "edge/pi/#")
    narrow = 'source = "mqtt:sensor/1"'
    edge_run("--config", tables(one='source = "mqtt:sensor/+"', other=narrow, same=narrow))
    heard.wait_for_runs("one", "other", "same")
    for _ in range(5):
        heard.publish("sensor/1", [1, 2])
    heard.publish("sensor/2", [1, 2])
    found = [one["model"]["name"] for one in heard.wait_for("result", 16)]
    assert sorted(found) == ["one"] * 6 + ["other"] * 5 + ["same"] * 5
    heard.publish("edge/pi/done", {})
    heard.wait_for("done")
    assert len(heard.wait_for("result", 16)) == 16


def test_a_run_may_take_what_another_one_publishes(edge_run, broker, client, tables):
    heard = client(broker.port, "edge/pi/#")
    edge_run(
        "--config",
        tables(first="", second='source = "mqtt:edge/pi/first/result"\ninput-path = "$.predictions[*].score"'),
    )
    heard.wait_for_runs("first", "second")
    heard.publish("edge/pi/first/input", [1, 2])
    found = heard.wait_for("result", 2)[1]
    assert (found["model"]["name"], found["source"]) == ("second", "mqtt:edge/pi/first/result")


def test_inputs_of_a_run_that_cannot_begin_wait_until_it_does(edge_run, broker, client, tables, tmp_path):
    heard = client(broker.port, "edge/pi/#")
    broken = tmp_path / "broken.onnx"
    file = tables(bad=f'model = "{broken}"', good="")
    onnxmodels.scores(broken, classes=2, features=2)
    whole = broken.read_bytes()
    process = edge_run("--config", file)
    heard.wait_for_runs("bad", "good")
    assert process.stop() == 0

    broken.write_bytes(b"no model")
    heard.forget()
    heard.publish("edge/pi/bad/input", [0, 2])  # while nobody is there
    process = edge_run("--config", file)
    heard.wait_for_runs("good")
    for number in range(1, 100):
        heard.publish("edge/pi/bad/input", [number, 2])
    heard.publish("edge/pi/good/input", [3, 4])
    assert heard.wait_for("result")[0]["model"]["name"] == "good"
    until(lambda: "they wait on disk" in process.said(), "it is told")
    assert process.stop(signal.SIGTERM) == 3

    broken.write_bytes(whole)
    edge_run("--config", file)
    found = heard.wait_for("result", 101)
    assert [one["model"]["name"] for one in found] == ["good"] + ["bad"] * 100


def test_each_run_says_its_last_words_once(edge_run, broker, client, tables):
    heard = client(broker.port, "edge/pi/#")
    process = edge_run("--config", tables("stats-interval = 0", one="", other=""))
    heard.wait_for_runs("one", "other")
    process.wait_until_said("broker=one connection for all runs")
    heard.wait_for("info", 2)
    heard.forget()
    assert process.stop() == 0
    heard.wait_for_text("edge/pi/status", b"offline")
    said = [topic for topic, _, _ in heard.messages]
    assert said[-1] == "edge/pi/status"
    assert sorted(said[:-1]) == [f"edge/pi/{name}/{kind}" for name in ("one", "other") for kind in ("stats", "status")]


def test_what_waits_for_a_run_that_is_gone_is_dropped_with_a_word(edge_run, broker, client, tables):
    heard = client(broker.port, "edge/pi/#")
    process = edge_run("--config", tables(one="", other="", gone=""))
    heard.wait_for_runs("one", "other", "gone")
    assert process.stop() == 0
    heard.publish("edge/pi/gone/input", [1, 2])
    heard.forget()
    process = edge_run("--config", tables(one="", other=""))
    heard.wait_for_runs("one", "other")
    process.wait_until_said("what an earlier life asked for is dropped")
    heard.publish("edge/pi/one/input", [1, 2])
    assert heard.wait_for("result")[0]["model"]["name"] == "one"


def test_what_the_broker_keeps_for_a_run_that_had_a_connection_of_its_own_is_told(edge_run, broker, client, tables):
    """As that of a process for each model, which become runs of one."""
    heard = client(broker.port, "edge/pi/#")
    file = tables(one="", other="")
    said = file.read_text()
    process = edge_run("--model", file.parent / "two.onnx", "--name", "one", "--device", "pi", "--mqtt", broker.url,
                       "--state-dir", file.parent / "state")  # fmt: skip
    heard.wait_for_runs("one")
    assert process.stop() == 0
    heard.publish("edge/pi/one/input", [1, 2])
    heard.forget()
    process = edge_run("--config", file)
    heard.wait_for_runs("one", "other")
    process.wait_until_said("what the broker still has for that client id")
    assert process.said().count("what the broker still has for that client id") == 1
    assert process.stop() == 0
    file.write_text(f'mqtt-connections = "each"\n{said}')
    edge_run("--config", file)
    assert heard.wait_for("result")[0]["model"]["name"] == "one"


def test_what_the_broker_keeps_for_the_one_connection_of_before_stays_there_until_it_is_again(
    edge_run, broker, client, tables, tmp_path
):
    heard = client(broker.port, "edge/pi/#")
    broken = tmp_path / "broken.onnx"
    file = tables(one="", broken=f'model = "{broken}"')
    shared = file.read_text()
    broken.write_bytes(file.with_name("two.onnx").read_bytes())
    process = edge_run("--config", file)
    heard.wait_for_runs("one", "broken")
    assert process.stop() == 0
    heard.publish("edge/pi/one/input", [1, 2])
    heard.publish("edge/pi/broken/input", [3, 4])

    broken.write_bytes(b"no model")
    file.write_text(f'mqtt-connections = "each"\n{shared}')
    for input_now in (5, 6):
        heard.forget()
        process = edge_run("--config", file)
        heard.wait_for_runs("one")
        process.wait_until_said("what the broker still has for it stays there")
        heard.publish("edge/pi/one/input", [input_now, 2])
        heard.wait_for("result")
        assert process.stop(signal.SIGTERM) == 3
        assert sum(topic.endswith("/result") for topic, _, _ in heard.messages) == 1

    broken.write_bytes(file.with_name("two.onnx").read_bytes())
    file.write_text(shared)
    heard.forget()
    edge_run("--config", file)
    assert sorted(one["model"]["name"] for one in heard.wait_for("result", 2)) == ["broken", "one"]


def test_what_the_broker_keeps_for_a_connection_that_runs_shared_is_told_to_a_process_of_one(
    edge_run, broker, client, tables
):
    heard = client(broker.port, "edge/pi/#")
    file = tables(one="", other="")
    process = edge_run("--config", file)
    heard.wait_for_runs("one", "other")
    assert process.stop() == 0
    heard.publish("edge/pi/one/input", [1, 2])
    heard.forget()
    alone = ("--model", file.parent / "two.onnx", "--name", "one", "--device", "pi", "--mqtt", broker.url,
             "--state-dir", file.parent / "state", "--mqtt-connections", "each")  # fmt: skip
    process = edge_run(*alone)
    heard.wait_for_runs("one")
    assert process.stop() == 0
    heard.forget()
    process = edge_run(*alone)
    heard.wait_for_runs("one")
    assert process.said().count("came over a connection that several runs shared before") == 1  # of both lives
    assert "mqtt-connections is for several [[run]] tables: here it changes nothing" in process.said()
    assert process.stop() == 0
    heard.forget()
    edge_run("--config", file)
    assert heard.wait_for("result")[0]["model"]["name"] == "one"


def test_what_waits_on_disk_is_taken_by_a_life_in_which_each_run_has_a_connection(edge_run, broker, client, tables):
    heard = client(broker.port, "edge/pi/#")
    file = tables("commands = true", one="", other="")
    process = edge_run("--config", file)
    heard.wait_for_runs("one", "other")
    heard.publish("edge/pi/one/set", {"command": "pause"})
    heard.wait_for("answer")
    for number in range(30):
        heard.publish("edge/pi/one/input", [number, 2])
    spool = file.parent / "state" / "pi.one.inputs.spool"
    until(lambda: _rows(spool) == 30, "all are on disk")
    process.process.kill()
    process.process.wait()
    heard.forget()

    file.write_text(f'mqtt-connections = "each"\n{file.read_text()}')
    process = edge_run("--config", file)
    heard.wait_for_runs("one", "other")
    heard.publish("edge/pi/one/input", [30, 2])
    assert [one["seq"] for one in heard.wait_for("result", 31)] == list(range(1, 32))
    until(lambda: _rows(spool) == 0, "nothing waits any more")
    assert process.said().count("connected to the broker") == 1 + 3  # in both lives


def _rows(spool: Path) -> int:
    """Of a copy, for its owner lets nobody else in."""
    copy = spool.parent.parent / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for file in spool.parent.glob(f"{spool.name}*"):
        shutil.copy(file, copy)
    try:
        with contextlib.closing(sqlite3.connect(copy / spool.name)) as db:
            return int(db.execute("SELECT count(*) FROM messages").fetchone()[0])
    except sqlite3.Error:  # it is not there yet, or was written meanwhile
        return -1
