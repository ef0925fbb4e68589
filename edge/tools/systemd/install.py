"""Writes an instance's files, removes them again, and says what it did."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from edge.errors import ConfigError
from edge.storage import atomic
from edge.tools.systemd import unit
from edge.tools.systemd.plan import CONFIGS, STATES, Plan
from edge.tools.systemd.systemctl import Systemd

UNITS = Path("/etc/systemd/system")
TEMPLATE = UNITS / "edge-run@.service"
HEADER = "# What edge-run service install was told. After a change: sudo systemctl restart {unit}\n"


def drop_in_file(name: str) -> Path:
    """Of a unit's name."""
    return UNITS / f"{name}.d" / "10-edge-run.conf"


def texts(plan: Plan, version: int) -> dict[Path, str]:
    """Every file that is written, and its text."""
    files = {
        TEMPLATE: unit.template(plan.program, version),
        plan.folder / unit.CONFIG: HEADER.format(unit=plan.unit) + unit.toml(plan.config, plan.runs),
    }
    if plan.needs != unit.Needs():
        files[drop_in_file(plan.unit)] = unit.drop_in(plan.needs)
    return files


def write(plan: Plan, systemd: Systemd) -> Iterator[tuple[str, str]]:
    """Writes all below the root; yields (what, of which) for the user. Raises ConfigError."""
    root = systemd.root
    try:
        for file, copy in plan.copies:
            _copy(file, below(root, copy), 0o644)
            yield "copied", f"{file} -> {copy}"
        for file, copy in plan.secrets:
            _copy(file, below(root, copy), 0o600)
            yield "copied", f"{file} -> {copy} (root alone reads it)"
        below(root, drop_in_file(plan.unit)).unlink(missing_ok=True)
        for path, text in texts(plan, systemd.version()).items():
            private = path.name == unit.CONFIG
            _write(below(root, path), BytesIO(text.encode()), 0o600 if private else 0o644)
            yield "wrote", f"{path}{' (root and the service read it)' if private else ''}"
    except OSError as exc:
        raise ConfigError(f"{exc.filename}: {exc.strerror}; check its rights and the room on the disk") from exc
    yield from _notes(plan, systemd)


def _notes(plan: Plan, systemd: Systemd) -> Iterator[tuple[str, str]]:
    for folder in plan.program.folders:
        yield "shows", f"{folder} to the service, read-only: the program"
    for note in plan.notes:
        yield "note", note
    if plan.copies:
        yield "note", "home folders are hidden from the service, so it has copies: after a change, install again"
    if not systemd.limits_memory():
        yield "note", "MemoryMax has no effect: add cgroup_enable=memory to /boot/firmware/cmdline.txt and reboot"


def remove(name: str, instance: str, root: Path) -> Iterator[tuple[str, str]]:
    """Removes an instance's files; the template goes with the last one. Raises ConfigError."""
    try:
        for folder in (drop_in_file(name).parent, CONFIGS / instance):
            if below(root, folder).is_dir():
                shutil.rmtree(below(root, folder))
                yield "removed", str(folder)
        if not instances(root) and below(root, TEMPLATE).exists():
            below(root, TEMPLATE).unlink()
            yield "removed", str(TEMPLATE)
    except OSError as exc:
        raise ConfigError(f"{exc.filename}: {exc.strerror}; check its rights") from exc


def instances(root: Path) -> list[str]:
    """The installed ones, by name."""
    return sorted(f.parent.name for f in below(root, CONFIGS).glob(f"*/{unit.CONFIG}"))


def state_of(instance: str) -> Path:
    """Its folder below /var/lib."""
    return STATES / instance


def below(root: Path, path: Path) -> Path:
    """An absolute path below another root."""
    return root / path.relative_to("/")


def _copy(file: Path, to: Path, mode: int) -> None:
    with file.open("rb") as source:
        _write(to, source, mode)


def _write(path: Path, source: BinaryIO, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic.replacing(path, mode) as target:
        shutil.copyfileobj(source, target)
