"""What the pages of docs/ ask people to type and to import works, where it does not need a Raspberry Pi."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.processes import Client, Mosquitto, free_port, until

from converter import cli as converting
from edge.cli import bench, fleet, score
from edge.errors import ConfigError
from edge.settings import arguments, layers

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "raspberry-pi.md").read_text()
CONVERTS = {"--example": converting.ExampleArguments, "--compare": converting.CompareArguments}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def block(name: str) -> str:
    return re.search(rf"<!-- test: {name} -->\n```sh\n(.*?)```", GUIDE, re.DOTALL)[1]


class Lock(Mosquitto):
    """A mosquitto by the page's own configuration, on another port."""

    def __init__(self, folder: Path, config: str) -> None:
        super().__init__(folder)
        self._config.write_text("user root\n" + config.replace("listener 1883", f"listener {self.port} 127.0.0.1"))


@pytest.fixture
def locked(tmp_path, mosquitto):
    """The broker of step 4: written by the page's lines, with the password "secret"."""
    passwords, config = tmp_path / "passwd", tmp_path / "edge.conf"
    subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "edge", "secret"], check=True)
    text = block("mosquitto").replace("/etc/mosquitto/conf.d/edge.conf", str(config)).replace("sudo ", "")
    subprocess.run(["bash", "-c", text], check=True, stdout=subprocess.DEVNULL)
    broker = Lock(tmp_path / "broker", config.read_text().replace("/etc/mosquitto/passwd", str(passwords)))
    yield broker.start()
    broker.end()


def test_the_broker_for_the_phone_wants_its_password_and_gives_the_results(locked, edge_run, flowers, tmp_path):
    refused = subprocess.run(
        ["mosquitto_pub", "-p", str(locked.port), "-t", "edge/x", "-m", "x"], capture_output=True, text=True
    )
    assert "efused" in refused.stderr
    phone = Client(locked.port, "edge/#", username="edge", password="secret")
    secret = tmp_path / "mqtt-password"
    secret.write_text("secret\n")
    edge_run("--model", flowers.path, "--device", "pi", "--on-change", "--min-interval", "1",
             "--mqtt", f"mqtt://edge@127.0.0.1:{locked.port}", "--mqtt-password-file", secret)  # fmt: skip
    try:
        phone.wait_for_text("edge/pi/flowers/status", b"online")
        phone.publish("edge/pi/flowers/input", flowers.rows[0])
        assert phone.wait_for("result")[0]["predictions"][0]["label"] == flowers.answers[0]
    finally:
        phone.close()


@pytest.mark.usefixtures("curl_is_here")
def test_the_token_is_one_that_the_live_page_takes_and_nobody_else_can_read(edge_run, flowers, tmp_path):
    environ = {**os.environ, "HOME": str(tmp_path)}
    shown = subprocess.run(["bash", "-c", block("token")], env=environ, capture_output=True, text=True, check=True)
    file = tmp_path / "token"
    assert shown.stdout == file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    port = free_port()
    process = edge_run(
        "--model", flowers.path, "--mqtt", "none", "--http", f"0.0.0.0:{port}", "--http-token-file", file
    )
    asked = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"http://127.0.0.1:{port}/v2"]
    until(lambda: subprocess.run(asked, capture_output=True, text=True).stdout == "401", "a page that wants its token")
    bearer = ["-H", f"Authorization: Bearer {shown.stdout.strip()}"]
    assert subprocess.run([*asked, *bearer], capture_output=True, text=True).stdout == "200"
    assert process.process.poll() is None


def typed(page: Path) -> Iterator[list[str]]:
    """The words of each of our commands that a page has typed."""
    blocks = re.findall(r"^```(?:sh|console)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    for line in "".join(blocks).replace("\\\n", " ").splitlines():
        if found := re.search(r"(?:^|[ /])(edge-(?:run|bench|score|fleet|convert) [^|>]*)", re.sub(r"\s#.*", "", line)):
            yield shlex.split(found[1])


def understood(program: str, *words: str) -> object:
    """Raises ConfigError for words that it would refuse before it looks at a file."""
    if program == "edge-run":
        return layers.read(words[2:] if words[:2] == ("service", "install") else words, {}, "0")
    if program == "edge-fleet":
        kind = fleet.COMMANDS[words[0]][1]
        return kind and arguments.read(kind, fleet.Program(program, "", "0", version_flag="--none"), words[1:])
    if program == "edge-convert":
        asked = next((kind for flag, kind in CONVERTS.items() if flag in words), converting.Arguments)
        return arguments.read(asked, converting.PROGRAM, words)
    tool = {"edge-bench": bench, "edge-score": score}[program]
    return arguments.read(tool.Arguments, tool.PROGRAM, words)


def test_every_command_that_the_pages_type_is_understood():
    lines = [(page.name, words) for page in PAGES for words in typed(page)]
    assert len(lines) > 60
    for page, words in lines:
        if words[1:3] in (["demo"], ["service", "logs"]) or "--config" in words:
            continue
        try:
            understood(*words)
        except ConfigError as exc:
            pytest.fail(f"{page}: {shlex.join(words)}: {exc}")


def test_the_node_red_flow_hangs_together_and_speaks_of_our_topics():
    nodes = json.loads((ROOT / "deploy" / "node-red.json").read_text())
    ids = {n["id"] for n in nodes}
    assert len(ids) == len(nodes)
    for node in nodes:
        assert {target for wires in node.get("wires", []) for target in wires} <= ids
        assert {node[k] for k in ("z", "broker") if k in node and node["type"] != "mqtt-broker"} <= ids
    topics = {n["topic"] for n in nodes if n["type"].startswith("mqtt ")}
    assert topics == {"edge/+/+/result", "edge/+/+/status", "edge/pi/flowers/input", "edge-run-answers/node-red"}
