"""The plug-ins of docs/PLUGINS.md: built as a wheel, installed, and used through the commands as a stranger's are."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec
import numpy as np
import pytest
from support import onnxmodels
from support.processes import BINARIES, until

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "plugins-example"
TUTORIAL = (ROOT / "docs" / "PLUGINS.md").read_text()


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """A folder into which the example was installed as a wheel."""
    folder = tmp_path_factory.mktemp("example")
    shutil.copytree(EXAMPLE, folder / "source", ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, folder / "source"]
    subprocess.run(build, check=True, timeout=100)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-index", "--no-deps", "--target", folder / "site", wheel], check=True)
    return folder / "site"


@pytest.fixture
def command(site, tmp_path):
    """Runs a command beside which the example is installed."""

    def run(name, *args, stdin=b""):
        env = {k: v for k, v in os.environ.items() if not k.startswith("EDGE_")}
        env |= {"XDG_STATE_HOME": str(tmp_path / "state"), "PYTHONPATH": str(site)}
        line = [str(BINARIES / name), *map(str, args)]
        return subprocess.run(line, input=stdin, capture_output=True, env=env, timeout=100, cwd=tmp_path)

    return run


@pytest.fixture
def edge_run(command):
    """The results of an edge-run that ends by itself."""

    def run(*args, stdin=b""):
        done = command("edge-run", *args, "--mqtt", "none", stdin=stdin)
        assert done.returncode == 0, done.stderr.decode()
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


@pytest.fixture
def linear(tmp_path):
    """A model for the example's engine: y = 2 a + 3 b + 1."""
    path = tmp_path / "sum.linear"
    path.write_bytes(b"LINEAR1\n" + json.dumps({"weights": [[2.0, 3.0]], "bias": [1.0]}).encode())
    return path


def value(result):
    (found,) = result["predictions"]
    return found["value"] if "value" in found else np.ravel(found["data"])[0]


# --- each door, through the command ------------------------------------------------------------------------------


def test_a_sink_is_said_by_its_scheme(edge_run, flowers, tmp_path):
    edge_run("--model", flowers.path, "--source", "synthetic:3", "--sink", "tsv:out.tsv")
    rows = [line.split("\t") for line in (tmp_path / "out.tsv").read_text().splitlines()]
    assert [seq for seq, _ in rows] == ["1", "2", "3"]
    assert json.loads(rows[0][1])[0]["label"] in flowers.answers


@pytest.mark.parametrize("said", ["rows.tsv", "tab-rows:rows.tsv", "tab-rows:rows.of-any-name"])
def test_a_source_is_said_by_its_suffix_and_by_its_scheme(edge_run, flowers, tmp_path, said):
    rows = [list(row.values()) for row in flowers.rows[:3]]
    text = "".join("\t".join(map(str, row)) + "\n" for row in rows)
    (tmp_path / said.removeprefix("tab-rows:")).write_text(text)
    found = edge_run("--model", flowers.path, "--source", said)
    assert [r["predictions"][0]["label"] for r in found] == flowers.answers[:3]


@pytest.mark.parametrize("said", [[], ["--engine", "linear"]])
def test_an_engine_is_found_by_its_files_and_by_its_name(edge_run, linear, said):
    (found,) = edge_run("--model", linear, "--task", "regress", "--source", "-", *said, stdin=b"[10, 100]")
    assert value(found) == 321


def test_an_engine_of_another_name_is_refused_with_the_right_one(command, linear):
    done = command("edge-run", "--model", linear, "--engine", "litert", "--source", "-", "--mqtt", "none")
    assert done.returncode == 2
    assert b"sum.linear is a .linear file; leave --engine out, or say linear" in done.stderr


def test_a_preprocessor_is_named_by_the_manifest(edge_run, linear):
    manifest = {"schema": 1, "name": "sum", "task": "regress", "inputs": [{"name": "x", "kind": "percent"}],
                "outputs": [{"name": "y", "role": "value"}]}  # fmt: skip
    Path(f"{linear}.json").write_text(json.dumps(manifest))
    (found,) = edge_run("--model", linear, "--source", "-", stdin=b"[100, 200]")
    assert value(found) == 2 * 1 + 3 * 2 + 1


def test_a_spool_is_said_by_its_name_and_keeps_what_waits(site, edge_run, flowers, tmp_path):
    (tmp_path / "out.tsv").mkdir()  # no file: the sink takes nothing, and what it is given waits
    settings = ["--model", flowers.path, "--sink", "tsv:out.tsv", "--spool", "msgpack", "--durability", "always",
                "--device", "d", "--state-dir", tmp_path / "state", "--grace", "0"]  # fmt: skip
    line = [BINARIES / "edge-run", *settings, "--source", "synthetic:3", "--mqtt", "none"]
    env = {**os.environ, "PYTHONPATH": str(site)}
    process = subprocess.Popen([*map(str, line)], env=env, cwd=tmp_path, stderr=subprocess.DEVNULL)
    spool = tmp_path / "state" / "d.flowers.tsv.msgpack"
    try:
        until(lambda: spool.exists() and len(msgspec.msgpack.decode(spool.read_bytes())["messages"]) == 3, "3 results")
    finally:
        process.terminate()
        process.wait(150)
    (tmp_path / "out.tsv").rmdir()
    edge_run(*settings, "--source", "synthetic:1")
    assert len((tmp_path / "out.tsv").read_text().splitlines()) == 4


def test_a_head_is_recognised_by_its_outputs(edge_run, tmp_path):
    cv2 = pytest.importorskip("cv2")
    rows = np.array([[[2, 3, 20, 3, 20, 30, 2, 30, 0.9]]], np.float32)
    onnxmodels.always(tmp_path / "signs.onnx", {"corners": rows})
    cv2.imwrite(str(tmp_path / "picture.png"), np.zeros((64, 64, 3), np.uint8))
    (found,) = edge_run("--model", "signs.onnx", "--source", "picture.png")
    (sign,) = found["predictions"]
    assert (sign["box"], round(sign["score"], 3)) == ([2, 3, 20, 30], 0.9)


@pytest.fixture
def card(tmp_path):
    path = tmp_path / "card.json"
    path.write_text(json.dumps({"scorecard": {"age": 0.33, "income": 2.01}, "offset": 1}))
    return path


def test_an_exporter_takes_a_kind_of_file_that_nothing_else_knows(command, edge_run, card):
    done = command("edge-convert", card, "-o", "card.onnx")
    assert done.returncode == 0, done.stderr.decode()
    (found,) = edge_run("--model", "card.onnx", "--source", "-", stdin=b'{"age": 10, "income": 100}')
    assert value(found) == pytest.approx(0.33 * 10 + 2.01 * 100 + 1)


def test_a_quantiser_is_said_by_its_name(command, edge_run, card):
    done = command("edge-convert", card, "-o", "card.onnx", "--quantize", "coarse")
    assert done.returncode == 0, done.stderr.decode()
    (found,) = edge_run("--model", "card.onnx", "--source", "-", stdin=b'{"age": 0, "income": 100}')
    assert value(found) == pytest.approx(2.01 * 100 + 1, rel=2**-8)
    assert value(found) != pytest.approx(2.01 * 100 + 1, rel=1e-6)


def test_the_help_names_them_all(command):
    said = " ".join(command("edge-run", "--help-all").stdout.decode().split())
    for word in ("tsv:results.tsv", "rows.tsv", "auto, litert, onnxruntime, linear", "memory, sqlite, msgpack"):
        assert word in said


# --- the kits of edge.testing ------------------------------------------------------------------------------------


@pytest.fixture
def part(site, monkeypatch):
    """A declaration of the example by its module and name."""
    monkeypatch.syspath_prepend(str(site))

    def get(module, name):
        import importlib

        return getattr(importlib.import_module(f"edge_example.{module}"), name)

    return get


def test_the_parts_pass_the_kits(part, tmp_path, linear):
    from uuid import uuid4

    from edge.plugins.contexts import SinkContext, SourceContext, SpoolContext
    from edge.plugins.protocols import EngineOptions
    from edge.telemetry.clock import SystemClock
    from edge.testing.checks import check_engine, check_sink, check_source, check_spool

    check_sink(part("sink", "SINK").create(str(tmp_path / "out.tsv"), SinkContext()))
    (tmp_path / "rows.tsv").write_text("1\t2\n3\t4\n")
    context = SourceContext(clock=SystemClock())
    check_source(lambda: part("source", "SOURCE").create(str(tmp_path / "rows.tsv"), context), gives=2)
    engine = part("engine", "ENGINE").library().load(linear, EngineOptions())
    check_engine(engine, {"x": np.ones((1, 2), np.float32)})
    spool = part("spool", "SPOOL")
    check_spool(lambda most: spool.create(SpoolContext(tmp_path / uuid4().hex, most)))


def test_the_parts_of_the_converter_pass_the_kits(part, card):
    from converter.testing import check_exporter, check_pass

    check_pass(part("quantizer", "PASS"), check_exporter(part("exporter", "EXPORTER"), card))


def test_the_preprocessor_and_the_head_pass_the_kits(part):
    from edge.data.sample import Frame, ModelInput
    from edge.data.tensor import TensorSpec
    from edge.model.manifest import Input, Manifest
    from edge.testing.checks import check_postprocessor, check_preprocessor

    specs = (TensorSpec("x", "float32", (None, 2)),)
    manifest = Manifest(name="m", task="detect", inputs=(Input(name="x", kind="percent"),))
    percent = part("preprocessor", "PREPROCESSOR")
    check_preprocessor(lambda: percent.create(manifest, specs), [[1, 2], b"[3, 4]"], specs, bad=[[1], {"a": 1}])
    corners = part("head", "HEAD").create(manifest, (TensorSpec("corners", "float32", (1, None, 9)),))
    rows = np.array([[[2, 3, 20, 3, 20, 30, 2, 30, 0.9]]], np.float32)
    check_postprocessor(corners, {"corners": rows}, ModelInput({}, Frame(64, 64)))


# --- the tutorial ------------------------------------------------------------------------------------------------


def files():
    return sorted(f.relative_to(EXAMPLE).as_posix() for f in EXAMPLE.rglob("*") if f.suffix in (".py", ".toml"))


def test_the_tutorial_s_code_is_the_example_s():
    shown = dict(re.findall(r"<!-- file: (.+?) -->\n```\w+\n(.*?)```", TUTORIAL, re.DOTALL))
    assert sorted(shown) == [name for name in files() if name != "edge_example/__init__.py"]
    for name, text in shown.items():
        assert text == (EXAMPLE / name).read_text(), name


def test_each_plug_in_is_one_module_and_its_lines_in_pyproject():
    points = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]["entry-points"]
    modules = {group: {value.partition(":")[0] for value in names.values()} for group, names in points.items()}
    assert {group: len(found) for group, found in modules.items()} == dict.fromkeys(
        ("edge.sinks", "edge.sources", "edge.engines", "edge.postprocess", "edge.preprocess", "edge.spools",
         "converter.exporters", "converter.passes"), 1)  # fmt: skip
    assert len(set().union(*modules.values())) == 8
