"""The README is typed from top to bottom: every command of it, in its order, in one folder, from nothing.

The Raspberry Pi is another folder. Other pages: `test_pages.py`.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.processes import BINARIES
from support.reader import ROOT, Reader, commands

import edge

README = ROOT / "README.md"
MOST_LINES = 150


@pytest.fixture
def reader(tmp_path, broker) -> Iterator[Reader]:
    made = Reader(tmp_path, broker.port)
    yield made
    made.close()


@pytest.mark.long  # half a minute: a converted model, a service, the pages of docs/
@pytest.mark.usefixtures("curl_is_here")
def test_the_readme_can_be_typed_from_top_to_bottom(reader, tmp_path):
    lines = commands(README)
    for heading, line, shown in lines:
        reader.type(heading, line, shown)
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
    at = [line for _, line, _ in lines].index("edge-run demo")
    following = [line for _, line, _ in lines[at + 1 : at + 5]]
    assert re.findall(r"^   ((?:cd|edge-run|curl) .*)$", said["edge-run demo"], re.MULTILINE) == following
    _type_the_pages(reader, tmp_path / "edge-demo")


def _type_the_pages(reader: Reader, folder: Path) -> None:
    """What the pages of docs/ ask to be typed, in the folder that the README has left."""
    reader.stop()
    reader.cwd = folder
    for name in ("convert.md", "run.md", "SCORE.md"):
        for _, line, shown in commands(ROOT / "docs" / name):
            reader.type(name, line, shown)
    assert len((folder / "results.jsonl").read_text().splitlines()) == 360
    _check_what_archives_shows(reader, folder)
    for _, line, shown in commands(ROOT / "docs" / "COMPARE.md"):  # last, for it trains another model
        reader.type("COMPARE.md", line, shown)
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
    assert set(re.findall(r"[\w-]+\.onnx", "\n".join(line for _, line, _ in commands(README)))) == {"digits.onnx"}


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
