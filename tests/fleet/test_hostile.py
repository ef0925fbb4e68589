"""What a broker or a device says to `edge-fleet` is a stranger's: it ends no command and moves no terminal."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from support.processes import Client
from support.updating import Fleet, write_model

from edge.capture import transfer
from edge.capture.transfer import Asked
from edge.cli import fleet as command
from edge.errors import UnavailableError, printable
from edge.mqtt import url
from edge.mqtt.messages import MqttOptions
from edge.mqtt.topics import Topics
from edge.tools.fleet import collect, drift, retained, table
from edge.tools.fleet.publish import Publisher

DEEP = b'{"collect": ' + b"[" * 100_000
ESCAPES = {"state": "\x1b[2Jok\nok", "reason": "\x9b31m\u202eevil", "running": {"version": "1\r"}}


def test_one_device_that_says_nonsense_hides_no_other_and_moves_no_terminal(mosquitto, capsys):
    broker = mosquitto()
    client = Client(broker.port)
    nonsense = (b'{"running": "x"}', b'{"running": [1]}', b'{"running": {"version": "\xff"}}', DEEP, b"[]")
    for number, payload in enumerate((*nonsense, json.dumps(ESCAPES).encode())):
        client.publish(f"edge/evil{number}/m/update", payload, retain=True)
        client.publish(f"edge/evil{number}/m/info", payload, retain=True)
    client.publish("edge/pi/m/update", {"state": "confirmed", "running": {"version": "1"}}, retain=True)
    client.close()
    waited = command.run(("wait", "--version", "1", "--share", "10%", "--mqtt", broker.url))
    said = capsys.readouterr().out
    permitted = collect.devices(MqttOptions(url.parse(broker.url), ""), "edge")

    assert (waited, said) == (0, "version 1: 1 of 7 devices, 7 heard\n")
    assert permitted == []


@pytest.mark.parametrize(
    "words", [("collect", "out"), ("install", "pi", "m"), ("drift",), ("wait", "--version", "1", "--timeout", "0")]
)
@pytest.mark.parametrize(
    ("more", "code"),
    [(("--mqtt", f"mqtt://{'a' * 70}.example"), 5), (("--mqtt", "mqtts://localhost:1", "--mqtt-ca", "none.pem"), 2)],
    ids=["no name of a host", "no file of a CA"],
)
def test_an_address_that_cannot_be_used_is_one_line(capsys, words, more, code):
    assert command.run((*words, *more)) == code
    said = capsys.readouterr().err
    assert (said.count("\n"), more[-1].removeprefix("mqtt://") in said) == (1, True)


@pytest.fixture
def hangs_up():
    """The port of a server that ends each connection at its first bytes: one of TLS does, and what is no broker."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                connection.recv(1000)
                connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    thread.join()
    server.close()


@pytest.mark.parametrize(
    "words", [("collect", "out"), ("install", "pi", "m"), ("drift",), ("wait", "--version", "1", "--timeout", "0")]
)
def test_what_hangs_up_is_told_as_that_and_not_waited_for(hangs_up, capsys, words):
    assert command.run((*words, "--mqtt", f"mqtt://127.0.0.1:{hangs_up}")) == 5
    said = capsys.readouterr().err
    assert "hangs up on CONNECT without a word; if TLS is spoken there, say mqtts://" in said
    assert said.count("\n") == 1


def test_cells_of_a_table_are_one_line_each_and_bounded():
    _, row = table.table(("state", "reason"), [("a\nb\x1b[2J", "x" * 1_000_000)])

    assert row.startswith("a\\u000ab\\u001b[2J  xxx")
    assert len(row) < 300


@pytest.mark.parametrize("text", ["\x1b[2J", "\x7f\x9b", "\u202e", "\udc80", "\U000e0001", "a\tb"])
def test_what_a_terminal_would_obey_is_written_out_and_stays_json(text):
    assert printable(text).isprintable()
    assert json.loads(f'"{printable(text)}"') == text


@pytest.mark.parametrize("offset", [2**63, 10**300, -1])
def test_a_piece_at_no_place_of_a_file_is_refused(tmp_path: Path, offset: int):
    (tmp_path / "about.json").write_text("{}")
    told, data = transfer.decode(transfer.answer(tmp_path, Asked("1", "about.json", offset)))

    assert (told.reason != "", data) == (True, b"")


@pytest.mark.parametrize("count", [10**300, 2**70, -1, 0.5])
def test_a_count_that_is_none_makes_its_report_unreadable(count: float):
    features = [{"name": "t", "of": "input", "kind": "number", "counts": [1, 2]}]
    said = {"time": "2026-11-29T12:00:00Z", "state": "ok", "counts": {"scale": "a", "rows": 3, "features": features}}
    wrong = json.dumps({**said, "counts": {**said["counts"], "rows": count}}).encode()
    worse = json.dumps(
        {**said, "counts": {**said["counts"], "features": [{**features[0], "counts": [count]}]}}
    ).encode()
    heard = drift.heard({("a", "m"): json.dumps(said).encode(), ("b", "m"): wrong, ("c", "m"): worse})
    (fleet,) = drift.added_up(heard, drift.Limits(500, 3, 1e12), 0.0)

    assert (fleet.devices, fleet.unreadable) == (1, 2)
    assert msgspec.json.encode(fleet)


@pytest.fixture
def collector(mosquitto):
    broker = mosquitto()
    found = collect.Collector(MqttOptions(url.parse(broker.url), ""), collect.Limits(100_000, 10**9, 30.0))
    found.open()
    yield found, broker
    found.close()


def test_two_who_collect_into_one_folder_do_not_write_into_one_file(collector, tmp_path):
    one, _ = collector
    device = collect.Device("pi", "m", Topics("edge/pi/m"))
    other = collect.FileLock(tmp_path / device.folder / collect.LOCK)
    other.acquire("4711")
    try:
        done = one.collect(device, tmp_path, lambda _: None)
    finally:
        other.release()

    assert "process 4711 collects into it" in done.reason


def test_a_device_with_files_without_end_is_bounded(collector, tmp_path):
    """Each file of a byte costs a block of this disk."""
    one, broker = collector
    answers = Client(broker.port, "edge/pi/m/collect")

    def answer(_client, _userdata, message) -> None:
        asked = transfer.parse(message.payload)
        names = [(f"random-20261129T120000-5f0c9a1e-{number:06}.jsonl", 1) for number in range(100)]
        told = (
            transfer.Told(asked.id, files=tuple(names), more=True)
            if not asked.file
            else transfer.Told(asked.id, asked.file, 0, 1)
        )
        answers.client.publish("edge/pi/m/captured", transfer.encode(told, b"x" if asked.file else b""))

    answers.client.on_message = answer
    try:
        done = one.collect(collect.Device("pi", "m", Topics("edge/pi/m")), tmp_path, lambda _: None)
    finally:
        answers.close()

    assert "--most allows no more" in done.reason
    assert done.files == 24


@pytest.mark.parametrize("name", ["a.b", "x" * 201, "..", "", "\x1b[2J"])
def test_a_name_that_no_device_of_ours_has_gets_no_folder(monkeypatch, name):
    payloads = {
        ("pi", "m"): b'{"collect": true}',
        (name, "m"): b'{"collect": true}',
        ("pi", name): b'{"collect": true}',
    }
    monkeypatch.setattr(retained, "listen", lambda *_: retained.Retained(payloads))

    assert [d.folder for d in collect.devices(MqttOptions(url.parse("mqtt://localhost"), ""), "edge")] == [
        "pi.m.capture"
    ]


class Kept:
    """A broker, in whose time another person changes the repository."""

    def __init__(self, meanwhile) -> None:
        self.held: dict[str, bytes] = {}
        self._meanwhile = [meanwhile]

    def keep(self, messages) -> None:
        self.held.update(messages)
        for change in self._meanwhile:
            self._meanwhile = []
            change()

    def retained(self, topics) -> dict[str, bytes]:
        return {topic: self.held[topic] for topic in topics if self.held.get(topic)}


def test_a_repository_that_is_changed_while_it_is_published_offers_nothing_half(tmp_path):
    fleet = Fleet(tmp_path / "fleet")
    fleet.add(write_model(tmp_path / "m1.onnx", "1"), "1")
    broker = Kept(lambda: fleet.add(write_model(tmp_path / "m2.onnx", "2"), "2"))

    with pytest.raises(UnavailableError, match="changed meanwhile"):
        Publisher(fleet.folder, broker, "edge").publish()
    assert "edge/_updates/metadata/timestamp.json" not in broker.held
    Publisher(fleet.folder, broker, "edge").publish()
    assert broker.held["edge/_updates/metadata/timestamp.json"] == fleet.newest("timestamp").read_bytes()
