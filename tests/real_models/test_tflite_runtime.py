"""`edge-run[tflite-runtime]` as somebody installs it who still has the older engine: Python 3.11 with numpy 1."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support import peers, tinytflite

import edge

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.peers,
    pytest.mark.timeout(600),  # the first run installs
    pytest.mark.skipif(sys.version_info >= (3, 12), reason="tflite-runtime has wheels for Python 3.11 at most"),
]


@pytest.fixture(scope="module")
def bins() -> Path:
    """An environment with the extra's own libraries and the wheel that is tested."""
    (wheel,) = (ROOT / "dist").glob("*.whl")
    found = peers.environment(peers.CACHE, "tflite-runtime", f"{wheel}[tflite-runtime,vision]")
    again = [found / "pip", "install", "--quiet", "--force-reinstall", "--no-deps", wheel]
    subprocess.run(again, check=True)
    return found


def run(bins: Path, *flags: object) -> list[dict]:
    command = [bins / "edge-run", *map(str, flags), "--mqtt", "none"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_it_is_numpy_1_and_the_older_engine(bins):
    assert peers.version(bins, "numpy").startswith("1.")
    assert peers.version(bins, "tflite-runtime").startswith("2.14")
    with pytest.raises(subprocess.CalledProcessError):
        peers.version(bins, "ai-edge-litert")


def test_rows_of_several_lengths_of_batch_are_inferred(bins, tmp_path):
    (tmp_path / "add.tflite").write_bytes(tinytflite.build())
    (tmp_path / "rows.jsonl").write_text("[1, 2, 3, 4]\n[[5, 6, 7, 8], [9, 10, 11, 12]]\n")
    results = run(bins, "--model", tmp_path / "add.tflite", "--source", tmp_path / "rows.jsonl", "--task", "raw")
    assert [r["predictions"][0]["data"] for r in results] == [[3, 4, 5, 6], [7, 8, 9, 10], [11, 12, 13, 14]]


def test_the_examination_names_the_engine(bins, tmp_path):
    (tmp_path / "add.tflite").write_bytes(tinytflite.build())
    command = [bins / "edge-run", "--model", tmp_path / "add.tflite", "--check", "--mqtt", "none", "--source", "-"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False, stdin=subprocess.DEVNULL)
    assert "tflite-runtime 2.14" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (tinytflite.build(tinytflite.CUSTOM, custom="MyOp"), "no operator 'MyOp'"),
        (tinytflite.build(version=9), "schema version 9"),
        (tinytflite.build()[:200], "LiteRT cannot load it"),
    ],
    ids=["custom operator", "wrong schema", "truncated"],
)
def test_a_model_that_cannot_run_ends_the_process_with_3(bins, tmp_path, data, said):
    (tmp_path / "m.tflite").write_bytes(data)
    command = [bins / "edge-run", "--model", tmp_path / "m.tflite", "--source", "synthetic:1", "--mqtt", "none"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 3
    assert said in done.stderr


def test_real_models_give_the_same_as_by_the_newer_engine(bins, models, tmp_path):
    cats = models / "cls-mobilenetv2-uint8-tflite"
    (result,) = run(bins, "--model", cats / "mobilenet_v2_1.0_224_quant.tflite", "--source", cats / "cat.bmp")
    assert result["predictions"][0]["label"] == "Egyptian cat"
    assert result["predictions"][0]["score"] == pytest.approx(0.789, abs=0.05)

    ssd = next((models / "det-ssd-mobilenetv1-tflite").glob("*.tflite"))
    (result,) = run(bins, "--model", ssd, "--source", cats / "cat.bmp")
    assert [(p["label"], round(p["score"], 1)) for p in result["predictions"][:1]] == [("cat", 0.7)]

    sine = models / "reg-hello-world-tflite/hello_world_int8.tflite"
    (tmp_path / "x.jsonl").write_text("[1.5708]\n")
    (result,) = run(bins, "--model", sine, "--source", tmp_path / "x.jsonl")
    assert result["predictions"][0]["value"] == pytest.approx(edge.load(sine).predict([1.5708]).predictions[0].value)
