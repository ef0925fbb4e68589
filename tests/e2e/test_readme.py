"""The README is typed from top to bottom: every command of it, in its order, in one folder, from nothing.

The Raspberry Pi is another folder. What a test cannot have is stood in for by small programs in front of the PATH: pip
(the wheel is installed already), apt, scp, ssh, the machine's own broker and root; they do what a reader would see.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.processes import BINARIES, PATIENCE_S, free_port, until

import edge

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
MOST_LINES = 150
WHEEL = f"edge_run-{edge.__version__}-py3-none-any.whl"


def commands(page: Path) -> list[tuple[str, str]]:
    """Each line of the ```sh blocks, with the heading that it stands under."""
    heading, found, inside = "", [], False
    for line in page.read_text().splitlines():
        if line.startswith("```"):
            inside = line == "```sh"
        elif line.startswith("#") and not inside:
            heading = line.strip("# ")
        elif inside and line.strip():
            found.append((heading, line))
    return found


def errors_of(out: Path) -> Path:
    """Beside the output: in one file a line of the log may stand in the middle of a result."""
    return out.with_name(f"{out.name}.errors")


def text_of(out: Path) -> str:
    return out.read_text() + errors_of(out).read_text()


class Reader:
    """Types commands. What goes on (a service, a subscriber) stays until the next heading."""

    def __init__(self, folder: Path, broker: int) -> None:
        self.cwd, self.home, self.root = folder, folder / "pi", folder / "root"
        self.port = free_port()
        self.heading = ""
        self.outputs: dict[str, str] = {}
        self._behind: list[tuple[subprocess.Popen[bytes], Path]] = []
        self._broker = broker
        self._tools = folder / "tools"
        for made in (self.home, self.root, self._tools):
            made.mkdir()
        self._stand_in()

    def _stand_in(self) -> None:
        scripts = {
            "pip": f'echo "$@" >> "$HOME/installed"; [ "$1" != wheel ] || touch {WHEEL}',
            "scp": 'for last; do :; done; cp "${@:1:$#-1}" "$HOME/"',
            "ssh": "true",
            "apt": "true",
            "sudo": f'case "$1" in */edge-run) exec "$@" --root {self.root};; *) exec "$@";; esac',
            "python3": f'mkdir -p "$3/bin" && ln -s {BINARIES}/edge-* {self._tools}/pip "$3/bin/"',
            **{name: f'exec /usr/bin/{name} -p {self._broker} "$@"' for name in ("mosquitto_sub", "mosquitto_pub")},
        }
        for name, text in scripts.items():
            (self._tools / name).write_text(f"#!/bin/bash\n{text}\n")
            (self._tools / name).chmod(0o755)

    def _start(self, line: str, out: Path) -> subprocess.Popen[bytes]:
        env = {k: v for k, v in os.environ.items() if not k.startswith("EDGE_")}
        env |= {"HOME": str(self.home), "XDG_STATE_HOME": str(self.home / "state"), "CI": ""}
        env |= {"PATH": f"{self._tools}:{BINARIES}:{env['PATH']}", "EDGE_MQTT": f"mqtt://127.0.0.1:{self._broker}"}
        with out.open("wb") as file, errors_of(out).open("wb") as errors:
            return subprocess.Popen(["bash", "-c", line], cwd=self.cwd, env=env, stdout=file, stderr=errors)

    def type(self, heading: str, line: str) -> None:
        """Runs one line to its end, or until it is up where it goes on."""
        if heading != self.heading:
            self.stop()
            self.heading = heading
        shown, _, _ = line.partition("          #")
        if shown.startswith("cd "):
            self.cwd /= shown[3:]
            return
        out = self.cwd / f".out{len(self.outputs)}"
        goes_on = "# leave it running" in line or " --http " in shown
        process = self._start(("exec " if goes_on else "") + self._on_own_ports(shown), out)
        if goes_on:
            self._behind.append((process, out))
            self._until_up(shown, process, out)
        else:
            assert process.wait(PATIENCE_S * 10) == 0, f"{line}\n{text_of(out)}"
        self.outputs[shown] = text_of(out)
        if shown.startswith("ssh "):
            self.cwd = self.home

    def _on_own_ports(self, line: str) -> str:
        return line.replace("8080", str(self.port)).replace("--mqtt embedded", f"--mqtt embedded:{free_port()}")

    def _until_up(self, shown: str, process: subprocess.Popen[bytes], out: Path) -> None:
        def up() -> bool:
            assert process.poll() is None, f"{shown}\n{text_of(out)}"
            if " --http " in shown:
                with socket.socket() as probe:
                    return probe.connect_ex(("127.0.0.1", self.port)) == 0
            return ("connected to the broker" if shown.startswith("edge-run") else "status online") in text_of(out)

        until(up, f"{shown} is up")

    def heard(self, text: str) -> None:
        """Waits until something that goes on has printed a text."""
        until(lambda: any(text in text_of(out) for _, out in self._behind), text)

    def stop(self) -> None:
        for process, _ in reversed(self._behind):
            process.terminate()
            process.wait(PATIENCE_S)
        self._behind.clear()


@pytest.fixture
def reader(tmp_path, broker) -> Iterator[Reader]:
    made = Reader(tmp_path, broker.port)
    yield made
    made.stop()


@pytest.mark.long  # half a minute: a converted model, a service, the pages of docs/
@pytest.mark.usefixtures("curl_is_here")
def test_the_readme_can_be_typed_from_top_to_bottom(reader, tmp_path):
    lines = commands(README)
    for heading, line in lines:
        reader.type(heading, line)
        if line.startswith("mosquitto_pub"):
            reader.heard('edge/pi/digits/result {"schema":1')
    said = reader.outputs
    assert "none lost" in said["edge-run demo"]
    rows = [
        json.loads(x) for x in said["edge-run digits.onnx --source rows.csv --mqtt none"].splitlines() if x[0] == "{"
    ]
    assert len(rows) == 360
    ((_, asked),) = [pair for pair in said.items() if pair[0].startswith("curl")]
    assert '"label":"7"' in asked
    ((_, converted),) = [pair for pair in said.items() if pair[0].startswith("edge-convert")]
    assert "parity            passed" in converted
    assert (reader.root / "etc/edge-run/digits/digits.onnx").exists()
    assert (reader.home / "token").stat().st_mode & 0o077 == 0
    assert (tmp_path / "edge-demo" / "digit.png").read_bytes().startswith(b"\x89PNG")
    # The demo ends with what the README goes on with.
    at = [line for _, line in lines].index("edge-run demo")
    following = [line for _, line in lines[at + 1 : at + 5]]
    assert re.findall(r"^   ((?:cd|edge-run|curl) .*)$", said["edge-run demo"], re.MULTILINE) == following
    _type_the_pages(reader, tmp_path / "edge-demo")


def _type_the_pages(reader: Reader, folder: Path) -> None:
    """What the pages of docs/ ask to be typed, in the folder that the README has left."""
    reader.stop()
    reader.cwd = folder
    for name in ("convert.md", "run.md", "SCORE.md"):
        for _, line in commands(ROOT / "docs" / name):
            if line.startswith(("mosquitto_", "edge-run digits.onnx --device pi")):
                continue  # typed already, by the README
            reader.type(name, line)
    assert len((folder / "results.jsonl").read_text().splitlines()) == 360
    _check_what_archives_shows(reader, folder)
    for _, line in commands(ROOT / "docs" / "COMPARE.md"):  # last, for it trains another model
        reader.type("COMPARE.md", line)
    ((_, compared),) = [pair for pair in reader.outputs.items() if pair[0].startswith("edge-convert --compare")]
    assert "rows compared     360" in compared
    assert "wins, losses" in compared


def _check_what_archives_shows(reader: Reader, folder: Path) -> None:
    page = (ROOT / "docs" / "SCORE.md").read_text()
    first, again = [text for line, text in reader.outputs.items() if line.startswith("edge-score ")]
    shown = re.search(r"^```\n(360 rows.*?)```", page, re.DOTALL | re.MULTILINE)[1]
    rate = re.compile(r"in \d+ s, [\d,]+ rows/s")
    assert rate.sub("", first) == rate.sub("", shown)
    assert "it was done already" in again
    code = re.search(r"<!-- test: python -->\n```python\n(.*?)```", page, re.DOTALL)[1]
    ran = subprocess.run([BINARIES / "python", "-c", code], cwd=folder, capture_output=True, text=True)
    assert ran.stdout == "['pixel_0_0', 'label', 'index', 'score', 'error']\n", ran.stderr


def test_the_readme_is_short_and_names_one_model():
    text = README.read_text()
    assert len(text.splitlines()) <= MOST_LINES
    assert set(re.findall(r"[\w-]+\.onnx", "\n".join(line for _, line in commands(README)))) == {"digits.onnx"}


def test_the_extras_that_the_readme_installs_are_there():
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for page in (README, *(ROOT / "docs").glob("*.md")):
        for names in re.findall(r"(?<!\w)edge[-_]run(?:-[\d.]+-py3-none-any\.whl)?\[([\w,-]+)\]", page.read_text()):
            assert set(names.split(",")) <= set(extras), f"{page.name}: {names}"


def test_the_pages_python_runs(tmp_path, flowers):
    model = edge.load(flowers.path)
    assert model.predict(flowers.rows[0]).predictions[0].label == flowers.answers[0]
    assert [r.predictions[0].label for r in model.predict_batch(flowers.rows[:3])] == flowers.answers[:3]


def test_every_flag_of_the_contract_is_there():
    help_text = subprocess.run([str(BINARIES / "edge-run"), "--help-all"], capture_output=True, text=True).stdout
    for flag in (
        *("--model", "--source", "--mqtt", "--sink", "--device", "--name", "--prefix", "--engine", "--threads"),
        *("--provider", "--task", "--labels", "--threshold", "--top-k", "--state-dir", "--spool-max"),
        *("--durability", "--config", "--check", "--log-format", "--version", "--stats-interval", "--no-golden"),
    ):
        assert flag in help_text, flag
