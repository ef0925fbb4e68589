"""On Raspberry Pi OS nothing is compiled: every dependency is a wheel, and pip puts them there."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator

import pytest
from support import arm64

pytestmark = [pytest.mark.arm64, pytest.mark.timeout(600)]

EXTRAS = ("tflite", "vision", "http", "audio")


@pytest.mark.parametrize("python", ["3.11", "3.13"])
def test_every_dependency_is_a_wheel_for_64_bit_raspberry_pi_os(wheel, table, tmp_path, python):
    files = arm64.resolve(wheel, EXTRAS, python, tmp_path)
    binary = [f for f in files if "aarch64" in f]
    assert all(f.endswith(("any.whl", "aarch64.whl")) for f in files)
    assert {"numpy", "onnxruntime", "msgspec"} <= {f.partition("-")[0] for f in binary}
    newest = max(int(n) for f in binary for n in [min(re.findall(r"manylinux_2_(\d+)_", f) or ["17"], key=int)])
    table("wheels", f"Python {python}", f"{len(files)}, of them {len(binary)} for aarch64; glibc 2.{newest} will do")


@pytest.fixture
def pi(arm, wheel, digits, tmp_path) -> Iterator[Callable[..., arm64.Machine]]:
    """A machine with a Debian release, an empty /opt/venv and the wheel; the release itself is not written to."""
    conf, files = arm64.pip_settings()
    folders = {name: tmp_path / name for name in ("venv", "tmp")}
    for folder in folders.values():
        folder.mkdir()

    def make(*release: str) -> arm64.Machine:
        binds = {folders["venv"]: "/opt/venv", folders["tmp"]: "/tmp", wheel.parent: "/opt/dist", conf: "/etc/pip.conf",
                 digits.model.parent: "/models", **{f: str(f) for f in files}}  # fmt: skip
        return arm64.Machine(arm64.bootstrap(*release), read_only=True, binds=binds)

    yield make
    for folder in folders.values():
        shutil.rmtree(folder)


CHECK = ("/opt/venv/bin/edge-run", "--check", "--model", "/models/digits.onnx", "--mqtt", "none", "--source",
         "synthetic:1", "--state-dir", "/tmp/state")  # fmt: skip


def test_pip_installs_the_wheel_on_bookworm_and_the_check_passes(pi, wheel, table, tmp_path):
    machine = pi("bookworm")
    machine.said("python3", "-m", "venv", "/opt/venv")
    told = machine.said("/opt/venv/bin/pip", "install", "--no-cache-dir", f"/opt/dist/{wheel.name}[tflite]")
    check = machine.run(*CHECK)

    assert "Building wheel" not in told
    assert check.returncode == 0, check.stdout + check.stderr
    assert "3.11" in check.stdout
    assert "aarch64, 64-bit" in check.stdout
    table(
        "pip install edge-run[tflite]", "bookworm, 3.11", f"{arm64.megabytes(tmp_path / 'venv'):.0f} MB; --check passes"
    )
