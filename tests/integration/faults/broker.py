"""A real mosquitto, with a folder and a port of its own, to be killed and brought back."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from integration.faults.waiting import wait_until
from support.processes import free_port

_CONFIG = """listener {port} 127.0.0.1
allow_anonymous true
user root
persistence {persistence}
persistence_location {folder}/
autosave_interval 0
max_queued_messages 0
log_dest file {folder}/log
log_type error
log_type warning
log_type notice
"""


def find_mosquitto() -> str | None:
    """Debian keeps it in /usr/sbin, which is not on everybody's path."""
    return shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


class BrokerError(RuntimeError):
    """mosquitto itself failed, which says nothing of edge-run: the run cannot be counted."""


class Broker:
    """Keeps its sessions and messages over `stop` and `start`."""

    name = "mosquitto"
    login: tuple[str, str] | None = None
    keeps = True
    five = True

    def __init__(self, folder: Path, extra: str = "", *, persistence: bool = True) -> None:
        """`extra`: further lines for its configuration."""
        self._folder = folder
        folder.mkdir()
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        text = _CONFIG.format(port=self.port, folder=folder, persistence=str(persistence).lower())
        self._text = text + extra
        self._config.write_text(self._text)
        self._database = folder / "mosquitto.db"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = find_mosquitto()
        assert program is not None, "mosquitto is not installed: apt-get install mosquitto"
        self._process = subprocess.Popen([program, "-c", str(self._config)], stderr=subprocess.DEVNULL)
        wait_until("mosquitto listens", self._listens, 150)
        # It listens before it has its signal handlers: until then SIGUSR1 would end it.
        wait_until("mosquitto takes signals", self._catches_signals, 150)

    def stop(self) -> None:
        """SIGTERM: it saves what it has, and ends."""
        self._end(signal.SIGTERM)

    def save(self) -> None:
        """Has it write its database now, with all that it has read from its connections.

        Whoever calls holds the connections: what arrives after this is not in it.
        """
        wait_until("mosquitto has read what was sent", self._has_read_all, 150)
        before = self._saved()
        self._signal(signal.SIGUSR1)
        try:
            wait_until("mosquitto saves", lambda: self._alive() and self._saved() != before, 30)
        except TimeoutError as exc:
            raise BrokerError("mosquitto lives but does not save: it hangs") from exc

    def kill(self) -> None:
        """SIGKILL: it is left with what it had saved."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """SIGSTOP: connections stand, nobody is home."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def limit(self) -> None:
        """Takes no payload above a thousand bytes from now on: `stats` and `info` are larger, results are not."""
        self._config.write_text(f"{self._text}message_size_limit 1000\n")
        self._reload()

    def unlimit(self) -> None:
        self._config.write_text(self._text)
        self._reload()

    def _reload(self) -> None:
        if self._process is not None:  # what is not there reads it when it starts
            self._signal(signal.SIGHUP)

    def forgot(self) -> list[float]:
        """Never: it keeps sessions."""
        return []

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(150)

    def _end(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(150)
        self._process = None

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _saved(self) -> tuple[int, int]:
        try:
            stat = self._database.stat()
        except FileNotFoundError:
            return (0, 0)
        return (stat.st_ino, stat.st_mtime_ns)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def _alive(self) -> bool:
        assert self._process is not None
        code = self._process.poll()
        if code is not None:
            raise BrokerError(f"mosquitto ended by itself with {code}")
        return True

    def _catches_signals(self) -> bool:
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        caught = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt"))
        return bool(caught & 1 << (signal.SIGUSR1 - 1))

    def _has_read_all(self) -> bool:
        """The kernel holds nothing for its sockets: the fifth column of /proc/net/tcp is tx:rx."""
        ours = f":{self.port:04X}"
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
        return all(f[4].split(":")[1] == "00000000" for f in map(str.split, lines) if f[1].endswith(ours))
