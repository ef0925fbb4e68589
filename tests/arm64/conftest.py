"""One root file system of each release and one image for all tests, and the table of what was seen."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import arm64, tinytflite

REAL_MODELS = Path(os.environ.get("REAL_MODELS") or arm64.PROJECT / "../shared/models").resolve()
Row = tuple[str, str, str]


@pytest.fixture(scope="session")
def table(request) -> Iterator[Callable[[str, str, str], None]]:
    """Rows of what, where and how it came out; printed at the end."""
    rows: list[Row] = []
    yield lambda *row: rows.append(row)
    widths = [max((len(r[i]) for r in rows), default=0) for i in range(2)]
    lines = [f"{a:{widths[0]}}  {b:{widths[1]}}  {c}" for a, b, c in rows]
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    reporter.write_line("\n\nARM64, emulated on this machine (times say nothing of a Pi):\n" + "\n".join(lines))


@pytest.fixture(scope="session")
def arm() -> Iterator[None]:
    """A machine that runs ARM64 programs."""
    wanting = arm64.lacks()
    if wanting and os.environ.get("CI"):
        pytest.fail(wanting)
    if wanting:
        pytest.skip(wanting)
    with arm64.interpreter():
        yield


@pytest.fixture(scope="session")
def wheel() -> Path:
    return next((arm64.PROJECT / "dist").glob("*.whl"))


@pytest.fixture(scope="session")
def image(arm, wheel) -> Iterator[tuple[arm64.Store, str]]:
    """What Dockerfile.arm64 makes on Debian trixie with its Python 3.13, as on a Python slim image."""
    store = arm64.Store()
    base = store.base(arm64.bootstrap("trixie"), "localhost/base")
    yield store, store.build(arm64.PROJECT / "Dockerfile.arm64", base, "localhost/edge-run")
    store.drop()


@dataclass(frozen=True)
class Case:
    """A model, what is sent to its input topic, and how far two machines may be apart in a number."""

    model: Path
    payloads: Sequence[bytes]
    tolerance: float
    flags: tuple[str, ...] = ("--top-k", "0")
    """All classes: the first of them may differ where two are alike."""


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> Path:
    """The folder that the device sees."""
    folder = tmp_path_factory.mktemp("models")
    folder.chmod(0o755)
    return folder


@pytest.fixture(scope="session")
def digits(models) -> Case:
    """Converted from scikit-learn on this machine."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    import converter

    rows, target = load_digits(return_X_y=True)
    fitted = LogisticRegression(max_iter=200).fit(rows, target)
    path = models / "digits.onnx"
    converter.convert(fitted, target="onnx", sample=rows[:200], name="digits").save(path)
    return Case(path, [json.dumps(r).encode() for r in rows[:20].tolist()], 1e-3)


@pytest.fixture(scope="session")
def cats(models) -> Case:
    """MobileNet v2 as TFLite in 8 bits, on a picture: its kernels round otherwise on each processor, 3/256 was seen."""
    folder = REAL_MODELS / "cls-mobilenetv2-uint8-tflite"
    if not folder.is_dir():
        pytest.skip(f"no real models in {REAL_MODELS}: set REAL_MODELS to their folder")
    path = shutil.copy(folder / "mobilenet_v2_1.0_224_quant.tflite", models / "cats.tflite")
    return Case(path, [(folder / "cat.bmp").read_bytes()], 0.05)


@pytest.fixture(scope="session")
def plus_two(models) -> Case:
    """A TFLite file of one operator."""
    path = models / "plus_two.tflite"
    path.write_bytes(tinytflite.build())
    return Case(path, [b"[1, 2.5, -3, 1e6]", b"[0, 0, 0, 0]"], 1e-6, flags=())
