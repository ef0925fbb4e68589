"""How far a change reaches: an endpoint touches one file, a flag and a topic two, a topic's name one.

Each test makes the change in a copy of the package, in these files and no other, and starts `edge-run` from it.
(`tests/plugins` shows the same for sources, sinks, engines, heads, frameworks and quantisers.)
"""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest
from support import onnxmodels
from support.processes import BINARIES, Client, EdgeRun, Mosquitto, free_port

import edge

Edits = dict[str, list[tuple[str, str]]]
"""By file of the package: what is there, and what comes in front of it."""

ENDPOINT: Edits = {
    "http/process.py": [
        ('            get("/metrics", self.metrics),\n', '            get("/greeting", self.greeting),\n'),
        (
            "    @describes(answer=schemas.METRICS)\n",
            '    async def greeting(self, request: Request) -> Response:\n        """Says hello."""\n'
            '        return as_json({"hello": "world"})\n\n',
        ),
    ],
}
FLAG: Edits = {
    "settings/settings.py": [
        (
            "    stats_interval: Annotated",
            '    site: Annotated[str, Flag("where the device stands", parsers.word, "NAME")] = ""\n',
        )
    ],
    "app/status.py": [('            "source": self.source,\n', '            "site": settings.topics.site,\n')],
}
TOPIC: Edits = {
    "mqtt/topics.py": [("    stats = _Below()\n", "    greeting = _Below()\n")],
    "app/status.py": [
        (
            'Outgoing(self._topics.status, b"online", retain=True)',
            'Outgoing(self._topics.greeting, b"hello", retain=True), ',
        )
    ],
}


@pytest.fixture
def changed(tmp_path):
    """The environment in which `edge-run` is that of a changed copy."""

    def change(edits: Edits) -> dict[str, str]:
        copy = tmp_path / "changed" / "edge"
        shutil.copytree(Path(edge.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
        for name, places in edits.items():
            text = (copy / name).read_text()
            for line, more in places:
                assert line in text, f"{name}: {line}"
                text = text.replace(line, more + line, 1)
            (copy / name).write_text(text)
        return {"PYTHONPATH": str(copy.parent)}

    return change


@pytest.fixture
def run(tmp_path):
    model = onnxmodels.identity(tmp_path / "m.onnx")
    processes: list[EdgeRun] = []

    def start(environ: dict[str, str], *flags: str) -> EdgeRun:
        processes.append(EdgeRun(tmp_path / "run", "--model", str(model), "--device", "d", *flags, environ=environ))
        return processes[-1]

    yield start
    for process in processes:
        process.stop()


@pytest.fixture
def subscribed():
    clients: list[Client] = []

    def subscribe(broker: Mosquitto, topic: str) -> Client:
        clients.append(Client(broker.port, topic))
        return clients[-1]

    yield subscribe
    for client in clients:
        client.close()


def fetched(port: int, path: str):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=150) as answer:
        return json.load(answer)


def test_an_endpoint_touches_one_file_and_is_in_the_document(changed, run):
    assert len(ENDPOINT) == 1
    port = free_port()
    process = run(changed(ENDPOINT), "--mqtt", "none", "--http", str(port))
    process.wait_until_said("listening")

    assert fetched(port, "/greeting") == {"hello": "world"}
    assert fetched(port, "/openapi.json")["paths"]["/greeting"]["get"]["summary"] == "Says hello"


def test_a_flag_touches_two_files_and_is_a_variable_and_in_the_help_too(changed, run, mosquitto, subscribed):
    assert len(FLAG) == 2
    environ, broker = changed(FLAG), mosquitto()
    client = subscribed(broker, "edge/d/m/info")
    run({**environ, "EDGE_SITE": "barn"}, "--mqtt", broker.url)
    shown = subprocess.run(
        [BINARIES / "edge-run", "--help-all"], env=environ, capture_output=True, text=True, check=False
    )

    assert client.wait_for("info")[0]["site"] == "barn"
    assert "--site NAME" in shown.stdout


def test_a_topic_touches_two_files(changed, run, mosquitto, subscribed):
    assert len(TOPIC) == 2
    broker = mosquitto()
    client = subscribed(broker, "edge/d/m/greeting")
    run(changed(TOPIC), "--mqtt", broker.url)

    client.wait_for_text("edge/d/m/greeting", b"hello")


@pytest.mark.parametrize("edits", [ENDPOINT, FLAG, TOPIC], ids=["endpoint", "flag", "topic"])
def test_the_page_on_architecture_leads_to_each_of_these_files(edits):
    page = (Path(__file__).parents[2] / "docs" / "ARCHITECTURE.md").read_text()
    assert [name for name in edits if f"`{name}`" not in page.partition("| to change |")[2]] == []
