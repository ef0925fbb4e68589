"""The lock files hold every package that pyproject.toml asks for, in a version that it allows, with hashes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = {"dev": ("dev",), "image": ("tflite", "vision", "http", "audio", "grpc")}
MACHINES = [
    {"python_version": python, "python_full_version": f"{python}.0", "platform_machine": machine,
     "sys_platform": "linux", "os_name": "posix", "platform_system": "Linux",
     "implementation_name": "cpython", "platform_python_implementation": "CPython"}
    for python in ("3.11", "3.13") for machine in ("x86_64", "aarch64")
]  # fmt: skip


def pins(name: str) -> list[tuple[Requirement, list[str]]]:
    """Each package that a lock pins, with its hashes."""
    blocks = re.split(r"\n(?=\S)", (ROOT / "requirements" / f"{name}.txt").read_text().strip())
    return [(Requirement(b.split("\\")[0].strip()), re.findall(r"--hash=(sha256:[0-9a-f]{64})", b)) for b in blocks]


def asked(extras: tuple[str, ...]) -> list[Requirement]:
    """What the core and these extras ask for; an extra that names others is followed."""
    wanted = [Requirement(r) for r in PROJECT["dependencies"]]
    for extra in extras:
        for requirement in map(Requirement, PROJECT["optional-dependencies"][extra]):
            wanted += asked(tuple(sorted(requirement.extras))) if requirement.name == "edge-run" else [requirement]
    return wanted


def key(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_is_locked_with_hashes(lock):
    assert [str(pin) for pin, hashes in pins(lock) if not hashes] == []


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: f"{m['platform_machine']}-{m['python_version']}")
@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_fits_what_the_project_asks_for(lock, machine):
    held = {
        key(pin.name): Version(next(iter(pin.specifier)).version)
        for pin, _ in pins(lock)
        if pin.marker is None or pin.marker.evaluate(machine)
    }
    wanted = [r for r in asked(LOCKS[lock]) if r.marker is None or r.marker.evaluate({**machine, "extra": ""})]
    missing = [str(r) for r in wanted if key(r.name) not in held]
    outside = [
        f"{r}: {held[key(r.name)]}" for r in wanted if key(r.name) in held and held[key(r.name)] not in r.specifier
    ]
    assert (missing, outside) == ([], []), "make lock"


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_package_index(lock):
    assert "://" not in (ROOT / "requirements" / f"{lock}.txt").read_text()
