"""A program on a terminal: what it prints where it believes that a person reads."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import threading
from pathlib import Path

from support.processes import BINARIES, PATIENCE_S, until


class Terminal:
    """A command on a pseudo-terminal of its own; `said` is everything that it printed, as it came."""

    def __init__(self, folder: Path, *words: str, **environ: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._parts: list[bytes] = []
        ours, theirs = pty.openpty()
        env = {k: v for k, v in os.environ.items() if not k.startswith("EDGE_")}
        env |= {"XDG_STATE_HOME": str(folder / "state"), "TERM": "dumb", "COLUMNS": "100", **environ}
        env["PATH"] = f"{BINARIES}:{env['PATH']}"
        self.process = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, env=env, cwd=folder)
        os.close(theirs)
        self._ours = ours
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                chunk = os.read(self._ours, 65536)
            except OSError:  # the other side is closed
                return
            if not chunk:
                return
            self._parts.append(chunk)

    @property
    def said(self) -> str:
        return b"".join(self._parts).decode(errors="replace").replace("\r\n", "\n")

    def wait_until_said(self, text: str) -> None:
        until(lambda: text in self.said or self.process.poll() is not None, f"{text!r} on the terminal")
        if text not in self.said:
            self._reader.join(PATIENCE_S)  # what it said last
        assert text in self.said, self.said

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        os.close(self._ours)
        return code
