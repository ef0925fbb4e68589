"""Calls of systemd's tools."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from edge.errors import ConfigError

OLDEST = 252
"""Debian bookworm's: what is assumed where nobody can be asked. Newer ones understand its units."""
CALL_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True)
class Systemd:
    """The service manager of the machine whose files lie below `root`; `path` is where its tools are sought."""

    root: Path = Path("/")
    path: str | None = None

    def tool(self, name: str) -> str:
        """Raises ConfigError where this machine does not run systemd."""
        path = shutil.which(name, path=self.path)
        if path is None or not (self.root / "run/systemd/system").is_dir():
            what = "/run/systemd/system is not there" if path else f"there is no {name}"
            raise ConfigError(
                f"edge-run service: this machine does not run systemd ({what}); in a container start edge-run itself, "
                "elsewhere write the files with --print or --root DIR"
            )
        return path

    def version(self) -> int:
        """Of the installed systemd, running or not."""
        path = shutil.which("systemctl", path=self.path)
        if path is None:
            return OLDEST
        output = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
        match = re.match(r"systemd (\d+)", output)
        return int(match[1]) if match else OLDEST

    def call(self, *words: str) -> None:
        """`systemctl` with these words. Raises ConfigError with what it said."""
        command = [self.tool("systemctl"), *words]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=CALL_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            raise ConfigError(f"systemctl {' '.join(words)}: not done in {CALL_TIMEOUT_S} s; try it by hand") from None
        if done.returncode:
            reason = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
            raise ConfigError(f"systemctl {' '.join(words)}: {reason}; edge-run service logs shows more")

    def show(self, tool: str, *words: str) -> int:
        """A tool whose output is for the user; returns its exit code."""
        return subprocess.run([self.tool(tool), *words], check=False).returncode

    def limits_memory(self) -> bool:
        """False where the kernel has the memory controller off, as Raspberry Pi OS has it."""
        controllers = self.root / "sys/fs/cgroup/cgroup.controllers"
        return not controllers.exists() or "memory" in controllers.read_text().split()
