"""What a person at a terminal sees of a service."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from support.processes import PATIENCE_S, until
from support.terminal import Terminal

from edge.app import terminal
from edge.data.result import Anomaly, Classification, Detection, ModelRef, Result, Timing
from edge.model.manifest import Input, Manifest
from edge.mqtt import url
from edge.mqtt.topics import Topics
from edge.settings.settings import MqttSettings

TOPICS = Topics("edge/pi/digits")
PICTURES = Manifest(name="digits", task="classify", inputs=(Input(name="x", kind="image", shape=(1, 3, 8, 8)),))


def lines(address: str, manifest: Manifest = PICTURES, *, asks: bool = True, **mqtt) -> list[str]:
    return terminal.lines(url.parse(address), MqttSettings(address, **mqtt), TOPICS, manifest, asks=asks)


def result(task: str, *predictions: object, seq: int = 1) -> Result:
    return Result(
        1, f"pi/digits/b/{seq}", "2026-11-28T12:00:00.000000Z", True, "pi", ModelRef("digits", "1", ""), "-", seq, task,
        list(predictions), Timing(0.1, 0.2, 0.1),
    )  # fmt: skip


@pytest.fixture
def service(tmp_path):
    made: list[Terminal] = []

    def start(*words: str, **environ: str) -> Terminal:
        made.append(Terminal(tmp_path / "folder", "edge-run", *map(str, words), **environ))
        return made[-1]

    yield start
    for one in made:
        one.stop()


def line_after(shown: Terminal, word: str) -> str:
    """What stands behind the word, once its line is whole."""
    until(lambda: re.search(rf"^{word}: .*\n", shown.said, re.MULTILINE) is not None, f"a line of {word}")
    return re.search(rf"^{word}: +(.*)\n", shown.said, re.MULTILINE)[1]


def test_the_lines_that_are_shown_can_be_pasted_and_each_new_label_is_a_line(service, broker, flowers, tmp_path):
    shown = service(flowers.path, "--device", "pi", "--mqtt", broker.url)
    listen, send = (line_after(shown, word) for word in ("listen", "send"))
    heard = tmp_path / "heard.txt"
    subscriber = subprocess.Popen(["bash", "-c", f"exec {listen} > {heard}"])
    try:
        until(
            lambda: heard.exists() and "status online" in heard.read_text(), "a subscriber by the line that was shown"
        )
        subprocess.run(["bash", "-c", send], check=True)
        until(lambda: "/result {" in heard.read_text(), "a result for the row that was shown")
    finally:
        subscriber.terminate()
        subscriber.wait()
    shown.wait_until_said("#1  ")
    for row in (flowers.rows[0], flowers.rows[0], flowers.rows[75], flowers.rows[120]):
        subprocess.run(["mosquitto_pub", "-p", str(broker.port), "-t", "edge/pi/flowers/input", "-q", "1",
                        "-m", json.dumps(row)], check=True)  # fmt: skip
    for label in ("setosa", "versicolor", "virginica"):
        shown.wait_until_said(f"  {label} ")
    assert len(re.findall(r"  #\d  ", shown.said)) == 3


def test_piped_nothing_of_it_is_printed(edge_run, broker, flowers):
    process = edge_run(flowers.path, "--device", "pi", "--mqtt", broker.url, "--source", "synthetic:3")
    assert process.process.communicate(timeout=150)[0] == b""


def test_the_broker_of_another_host_is_named_and_a_password_is_read_from_its_file():
    (listen,) = lines("mqtt://ed@pi.local:1884", asks=False, password_file=Path("/home/pi/mqtt password"))
    assert listen.endswith(
        """mosquitto_sub -h pi.local -p 1884 -u ed -P "$(cat '/home/pi/mqtt password')" -v -t 'edge/pi/digits/#'"""
    )


def test_a_password_of_the_address_is_not_shown():
    assert "secret" not in " ".join(lines("mqtts://ed:secret@pi.local"))


def test_over_websockets_which_mosquittos_programs_do_not_speak_it_is_the_topics_alone():
    assert "mosquitto" not in " ".join(lines("ws://pi.local/mqtt"))


def test_a_model_of_pictures_is_sent_a_file():
    assert lines("mqtt://localhost")[1].endswith("-t edge/pi/digits/input -f picture.jpg")


def test_the_kinds_that_get_a_line_are_bounded(capsys):
    kinds = terminal.KindsOfResult()
    for number in range(60):
        kinds.observe(None, [result("classify", Classification(number, f"class {number}", 0.9), seq=number)])
    said = capsys.readouterr().out.splitlines()
    assert len(said) == terminal.KINDS_MOST + 1
    assert "further kinds" in said[-1]


def test_of_several_runs_each_line_names_its_own(capsys):
    terminal.KindsOfResult("door").observe(None, [result("classify", Classification(0, "cat", 0.9))])
    assert capsys.readouterr().out.startswith("door  ")


def test_what_is_a_kind_depends_on_the_task():
    cat = Detection(0, "cat", 0.9, (0, 0, 1, 1))
    moved = msgspec.structs.replace(cat, box=(5, 5, 6, 6))
    assert terminal.kind(result("detect", cat)) == terminal.kind(result("detect", moved, moved))
    assert terminal.kind(result("detect", cat)) != terminal.kind(result("detect"))
    assert terminal.kind(result("anomaly", Anomaly(1.0, False))) != terminal.kind(result("anomaly", Anomaly(2.0, True)))


# --- a phone ----------------------------------------------------------------------------------------------


def scanned(code: list[str]) -> str:
    """What a camera reads, from half blocks on black."""
    shades = {"█": (255, 255), "▀": (255, 0), "▄": (0, 255), " ": (0, 0)}
    rows = [[shades[c][half] for c in line] for line in code for half in (0, 1)]
    picture = np.kron(np.array(rows, np.uint8), np.ones((8, 8), np.uint8))
    return cv2.QRCodeDetector().detectAndDecode(
        cv2.copyMakeBorder(picture, 64, 64, 64, 64, cv2.BORDER_CONSTANT, value=255)
    )[0]


def code_of(said: str) -> list[str]:
    return re.findall(r"\x1b\[97;40m([█▀▄ ]+)\x1b\[0m", said)


def test_the_code_for_a_phone_holds_the_address_and_not_the_token(tmp_path):
    token = tmp_path / "token"
    said = terminal.phone("http://192.168.178.20:8080", token, columns=80)

    assert said.splitlines()[0] == f"phone:   http://192.168.178.20:8080  (it asks once for the token in {token})"
    assert scanned(code_of(said)) == "http://192.168.178.20:8080"


@pytest.mark.parametrize("columns", [0, 28])
def test_where_the_code_does_not_fit_the_address_stands_alone(columns):
    assert terminal.phone("http://192.168.178.20:8080", None, columns=columns) == "phone:   http://192.168.178.20:8080"


@pytest.fixture
def token(tmp_path) -> Path:
    file = tmp_path / "token"
    file.write_text("open-sesame-12345\n")
    file.chmod(0o600)
    return file


def test_beyond_loopback_the_terminal_shows_the_phones_address(service, flowers, token):
    shown = service(flowers.path, "--mqtt", "none", "--http", "0.0.0.0:0", "--http-name", "pi.example",
                    "--http-token-file", token, TERM="xterm", PYTHONUTF8="1")  # fmt: skip
    shown.wait_until_said("phone:")
    url = line_after(shown, "phone").split()[0]

    assert re.fullmatch(r"http://pi\.example:[1-9]\d*", url)
    # Not scanned: OpenCV reads 1 whole code in 533 of those that a free port gives not at all.
    code = code_of(terminal.phone(url, None, columns=80))
    until(lambda: code_of(shown.said) == code, "the whole code of that address")
    assert "open-sesame" not in shown.said


def test_on_loopback_there_is_none(service, flowers):
    shown = service(flowers.path, "--mqtt", "none", "--http", "0", "--source", "synthetic:1", TERM="xterm")
    shown.wait_until_said("#1  ")
    assert "listening" in shown.said
    assert "phone:" not in shown.said


def test_piped_the_phones_address_is_not_printed(edge_run, flowers, token):
    process = edge_run(flowers.path, "--mqtt", "none", "--http", "0.0.0.0:0", "--http-token-file", token,
                       "--source", "synthetic:1", "--sink", "file:results.jsonl")  # fmt: skip
    out, _ = process.process.communicate(timeout=PATIENCE_S)
    assert out == b""
    assert "listening" in process.said()
    assert "phone" not in process.said()
