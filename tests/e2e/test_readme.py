"""What the README says is what happens: its commands, run in their order."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from support.processes import BINARIES, PATIENCE_S, free_port, until

README = Path(__file__).parents[2] / "README.md"


def blocks():
    """The shell blocks that are marked `<!-- test: name -->`, by name."""
    found = re.findall(r"<!-- test: (\w+) -->\n```sh\n(.*?)```", README.read_text(), re.DOTALL)
    return {name: [line for line in text.splitlines() if line.strip()] for name, text in found}


@pytest.fixture
def shell(tmp_path, broker):
    """A shell in a folder with the README's files, whose broker is the test's own."""
    digits(tmp_path)
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("mosquitto_sub", "mosquitto_pub"):
        (tools / name).write_text(f'#!/bin/sh\nexec /usr/bin/{name} -p {broker.port} "$@"\n')
        (tools / name).chmod(0o755)
    env = {k: v for k, v in os.environ.items() if not k.startswith("EDGE_")}
    env["PATH"] = f"{tools}:{BINARIES}:{env['PATH']}"
    env["XDG_STATE_HOME"] = str(tmp_path / "state")
    env["EDGE_MQTT"] = broker.url

    def start(line):
        if "embedded" in line:
            line += f":{free_port()}"
        return subprocess.Popen(
            ["bash", "-c", f"exec {line}" if "|" not in line else line],
            cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    return start


def digits(folder):
    import skops.io
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    data = load_digits(as_frame=True)
    skops.io.dump(LogisticRegression(max_iter=200).fit(data.data, data.target), folder / "digits.skops")
    data.data[:30].to_csv(folder / "rows.csv", index=False)
    data.target[:30].to_csv(folder / "labels.csv", index=False)
    rows = [json.dumps(r) for r in data.data[:3].to_dict("records")]
    (folder / "row.json").write_text(rows[0])
    (folder / "rows.jsonl").write_text("\n".join(rows))


def test_the_readmes_commands_do_what_it_says(shell, tmp_path):
    said = blocks()
    for line in said["convert"]:
        done = shell(line)
        out, err = done.communicate(timeout=60)
        assert done.returncode == 0, err
        assert "parity            passed" in out
    for line in (*said["sources"], *said["check"]):
        done = shell(line)
        out, err = done.communicate(timeout=60)
        assert done.returncode == 0, f"{line}: {err}"
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 30

    (run,), (subscribe,), (publish,) = said["run"], said["subscribe"], said["publish"]
    service, subscriber = shell(run), shell(subscribe + " > heard.txt")
    heard = tmp_path / "heard.txt"
    try:
        until(lambda: heard.exists() and "status online" in heard.read_text(), "online")
        published = shell(publish)
        published.communicate(timeout=PATIENCE_S)
        assert published.returncode == 0
        until(lambda: "edge/pi/digits/result {" in heard.read_text(), "a result")
    finally:
        for process in (service, subscriber):
            process.terminate()
            process.communicate(timeout=PATIENCE_S)
    result = json.loads(re.search(r"^edge/pi/digits/result (.*)$", heard.read_text(), re.MULTILINE)[1])
    assert result["predictions"][0]["label"] == "0"


def test_the_readmes_python_runs(tmp_path, flowers):
    import edge

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
