"""The installed `edge-run`, as a process that is killed and started again with the same state folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def find_edge_run() -> str:
    """Beside the Python that runs the tests, else on the path."""
    beside = Path(sys.executable).with_name("edge-run")
    found = str(beside) if beside.exists() else shutil.which("edge-run")
    assert found is not None, "edge-run is not installed: pip install edge-run"
    return found


class Service:
    """`bad_exits` are lives that ended by themselves or by SIGTERM, and not with 0: the code and what was said last.

    A SIGTERM that comes before Python has got to the handler ends it as any process: that is a clean end, too.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._command = [find_edge_run(), *arguments]
        self._environment = {**os.environ, **environment}
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.bad_exits: list[str] = []
        self.lives = 0

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def stdin(self) -> int:
        """The file descriptor that feeds it."""
        assert self._process is not None
        assert self._process.stdin is not None
        return self._process.stdin.fileno()

    def start(self, *, feed: bool = False) -> None:
        self.lives += 1
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def end_of_input(self) -> None:
        """Closes its stdin."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL. A life that had ended by itself before is noted."""
        self._end(signal.SIGKILL, 150)

    def stop(self, timeout_s: float = 150) -> None:
        """SIGTERM, and its exit code."""
        self._end(signal.SIGTERM, timeout_s)

    def _end(self, number: int, timeout_s: float) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        ended = process.poll()
        if ended is None:
            process.send_signal(number)
        code = process.wait(timeout_s)
        if process.stdin is not None:
            process.stdin.close()
        expected = (0, -number) if ended is None else (0,)
        if code not in expected:
            self.bad_exits.append(f"exit code {code}:\n{self.said()}")

    def said(self, lines: int = 40) -> str:
        """What edge-run said last."""
        return "\n".join(self._log.read_text().splitlines()[-lines:])
