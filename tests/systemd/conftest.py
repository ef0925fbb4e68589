from __future__ import annotations

import io
from pathlib import Path

import pytest

from edge.cli import service
from edge.settings import layers
from edge.tools.systemd import plan
from edge.tools.systemd.systemctl import Systemd


class Machine:
    """A machine with a systemd that notes what it is told, its files in a folder."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.root = folder / "root"
        self.tools = folder / "tools"
        self.calls_file = folder / "calls"
        self.model = model
        (self.root / "run/systemd/system").mkdir(parents=True)
        for name in ("systemctl", "journalctl"):
            self.tool(name)
        self.systemd = Systemd(self.root, str(self.tools))

    def tool(self, name: str, *, version: int = 252, fails: str = "") -> None:
        """A stand-in; `fails`: the word at which it ends with 1."""
        self.tools.mkdir(exist_ok=True)
        file = self.tools / name
        file.write_text(
            "#!/bin/sh\n"
            f'[ "$1" = --version ] && {{ echo "systemd {version} ({version}.1-1)"; exit 0; }}\n'
            f'echo "{name} $*" >> {self.calls_file}\n'
            f'[ "$1" = "{fails or "-"}" ] && {{ echo "Job for $2 failed." >&2; exit 1; }}\n'
            "exit 0\n"
        )
        file.chmod(0o755)

    def lay(self, name: str, text: str = "") -> Path:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    @property
    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []

    def service(self, *words: object) -> str:
        """`edge-run service` with these words; what it prints."""
        out = io.StringIO()
        service.run([str(w) for w in words], {}, out, self.systemd)
        return out.getvalue()

    def install(self, *flags: object) -> str:
        return self.service("install", "--model", self.model, "--mqtt", "mqtt://127.0.0.1:1", *flags)

    def plan(self, *flags: object) -> plan.Plan:
        settings = layers.read(["--model", str(self.model), *map(str, flags)], {}, "0")
        return plan.make(settings, "flowers", self.root)

    def text(self, name: str) -> str:
        return (self.root / name).read_text(errors="replace")

    def files(self) -> set[str]:
        """What was installed, below the root."""
        return {str(f.relative_to(self.root)) for f in self.root.rglob("*") if f.is_file() and "etc" in f.parts}


@pytest.fixture
def machine(tmp_path, flowers) -> Machine:
    return Machine(tmp_path, flowers.path)
