"""A library that is not installed is named with the extra that brings it, in one line, exit 2."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

WITHOUT = """
import sys
for name in {absent!r}:
    sys.modules[name] = None  # importing it raises ImportError
from {program} import main
sys.exit(main({args!r}))
"""


def convert_without(absent: list[str], *args: str, program: str = "converter.cli") -> tuple[int, str]:
    text = WITHOUT.format(absent=absent, args=list(args), program=program)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=110)
    return done.returncode, done.stderr


def zipped(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "{}")
    return path


def folder(path: Path, name: str, text: str) -> Path:
    path.mkdir()
    (path / name).write_text(text)
    return path


def sources(tmp_path: Path) -> dict[str, Path]:
    return {
        "torch": zipped(tmp_path / "m.pt2", "m/archive_format", "m/models/model.json"),
        "tensorflow": folder(tmp_path / "saved", "saved_model.pb", "x"),
        "keras": zipped(tmp_path / "m.keras", "config.json", "model.weights.h5"),
        "yaml": folder(tmp_path / "mlflow", "MLmodel", "flavors: {}"),
    }


@pytest.mark.parametrize(
    ("library", "extra"),
    [("torch", "convert-torch"), ("tensorflow", "convert-tensorflow"), ("keras", "convert-tensorflow"),
     ("yaml", "convert-mlflow")],
)  # fmt: skip
def test_it_is_named_with_its_extra(library: str, extra: str, tmp_path: Path) -> None:
    absent = ["tensorflow", "keras"] if library == "keras" else [library]

    code, told = convert_without(absent, str(sources(tmp_path)[library]), "-o", str(tmp_path / "out.onnx"))

    assert code == 2, told
    assert f"pip install 'edge-run[{extra}]'" in told
    assert len(told.splitlines()) == 1
    assert not (tmp_path / "out.onnx").exists()


def test_mlflow_itself_is_named_too(tmp_path: Path) -> None:
    code, told = convert_without(["mlflow"], "models:/wine/1", "-o", str(tmp_path / "out.onnx"))

    assert (code, told.strip()) == (
        2, "edge-convert: the MLflow exporter needs mlflow: pip install 'edge-run[convert-mlflow]'"
    )  # fmt: skip


@pytest.mark.parametrize("library", ["skops", "skl2onnx", "amqtt"])
def test_the_demo_names_what_it_needs_before_it_does_anything(library: str, tmp_path: Path) -> None:
    code, told = convert_without([library], "--folder", str(tmp_path / "demo"), program="converter.demo.__main__")

    assert code == 2, told
    assert f"{library}: pip install 'edge-run[demo]'" in told
    assert len(told.splitlines()) == 1
    assert not (tmp_path / "demo").exists()
