"""Real stores for the sinks, each a process of its own that can be killed and started again on what it had."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from support.processes import free_port, listens, until


class Server:
    """A process on a port. `uri` is what `--sink` is told."""

    needs: tuple[str, str] = ("", "")
    """The program, and the Debian package that it is in."""
    patience_s = 30.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def command(self) -> Sequence[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        return listens(self.port)

    def start(self) -> Any:
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder)
        until(lambda: self.answers() or self._died(), f"{self.command()[0]} answers", self.patience_s)
        assert not self._died(), (self.folder / "server.log").read_text()
        return self

    def _died(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(number)
            process.wait()

    def pause(self) -> None:
        """Frozen: it takes connections and answers nothing."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    # What the kit for sinks asks of the other side.

    def received(self) -> Sequence[bytes]:
        raise NotImplementedError

    def go_away(self) -> None:
        self.kill()

    def come_back(self) -> None:
        self.start()


class WebhookReceiver(Server):
    needs = (sys.executable, "python3")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.file = folder / "kept.sqlite"

    @property
    def uri(self) -> str:
        return f"webhook:http://127.0.0.1:{self.port}/hook"

    def command(self) -> Sequence[str]:
        return [sys.executable, "-P", str(Path(__file__).with_name("receiver.py")), str(self.port), str(self.file)]

    def answer(self, status: int | None, **headers: str) -> None:
        """All requests, from now on; None: as it should."""
        say = self.file.with_name(self.file.name + ".say")
        if status is None:
            say.unlink(missing_ok=True)
            return
        partial = say.with_suffix(".partial")
        partial.write_text(json.dumps({"status": status, "headers": headers}))
        partial.replace(say)

    def rows(self) -> list[tuple[Any, ...]]:
        """id, payload, path and headers of each result that was kept, in order."""
        db = sqlite3.connect(self.file)
        try:
            return db.execute("SELECT id, payload, path, headers FROM kept ORDER BY rowid").fetchall()
        finally:
            db.close()

    def received(self) -> Sequence[bytes]:
        return [row[1] for row in self.rows()]


STORES: dict[str, Callable[[Path], Server]] = {
    "webhook": WebhookReceiver,
}
