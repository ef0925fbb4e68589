"""systemd's readiness and watchdog, over `NOTIFY_SOCKET`, without a library.

The watchdog is fed only while every thread makes progress: a source or a sink that hangs for ever then has the
service restarted, instead of a process that looks alive and delivers nothing. It is fed from the main thread, so
that this one has to make progress too.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Mapping

from edge.data.units import SECOND_NS
from edge.plugins.protocols import Clock


class Heartbeats:
    """Who made progress, and when. A thread is known from its first beat until `ended`. From any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._beats: dict[str, int] = {}

    def beat(self, name: str) -> None:
        """This thread makes progress. A name with "-" before it: it has ended, as it should."""
        if name.startswith("-"):
            self.ended(name[1:])
            return
        with self._lock:
            self._beats[name] = self._clock.monotonic_ns()

    def ended(self, name: str) -> None:
        """This thread has ended, as it should: nobody waits for it any more."""
        with self._lock:
            self._beats.pop(name, None)

    @property
    def beats(self) -> bool:
        """Whether there is a thread that is known."""
        with self._lock:
            return bool(self._beats)

    def late(self, within_s: float) -> list[str]:
        """The threads that have not beaten within so many seconds."""
        since = self._clock.monotonic_ns() - int(within_s * SECOND_NS)
        with self._lock:
            return sorted(name for name, beat in self._beats.items() if beat < since)

    def forget(self) -> None:
        """All threads have ended."""
        with self._lock:
            self._beats.clear()


class Together:
    """The process and its several runs: it hangs where a thread of the process itself does, each run has one that does,
    or one does that the process is to be restarted for."""

    def __init__(
        self, process: Heartbeats, runs: Mapping[str, Heartbeats], restarts: Callable[[str], bool] = lambda _: False
    ) -> None:
        """`restarts`: whether a run of this name, which hangs, is worth that to the others."""
        self._process = process
        self._runs = runs
        self._restarts = restarts

    def late(self, within_s: float) -> list[str]:
        """As `Heartbeats.late`."""
        found = {name: run.late(within_s) for name, run in self._runs.items() if run.beats}
        hung = [name for name, late in found.items() if late]
        if not hung or len(hung) < len(found):
            hung = [name for name in hung if self._restarts(name)]
        return [*self._process.late(within_s), *sorted({thread for name in hung for thread in found[name]})]


class Notifier:
    """Tells the service manager; where there is none, or it does not listen, nothing happens."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._address = (os.environ if environment is None else environment).get("NOTIFY_SOCKET", "")

    def send(self, *states: str) -> bool:
        """Sends states such as "READY=1" and "STATUS=..."; True where the manager took them."""
        if not self._address.startswith(("/", "@")):
            return False
        # "@name" is an abstract socket: its name begins with a zero byte and stands in no file system.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.settimeout(1.0)
                sock.sendto("\n".join(states).encode(), address)
        except OSError:
            return False
        return True


class Watchdog:
    """Feeds systemd's watchdog at half its time. `ready`, `tick` and `stopping` are called by the main thread."""

    def __init__(
        self, heartbeats: Heartbeats | Together, clock: Clock, environment: Mapping[str, str] | None = None
    ) -> None:
        environment = os.environ if environment is None else environment
        self._heartbeats = heartbeats
        self._clock = clock
        self._notifier = Notifier(environment)
        self._limit_s = _limit_s(environment)
        self._next_ns = 0
        self._status = ""

    def ready(self, status: str) -> None:
        """The service is up: from now on systemd counts."""
        self._status = status
        self._notifier.send("READY=1", f"STATUS={status}")

    def stopping(self, status: str) -> None:
        """The end has begun."""
        self._notifier.send("STOPPING=1", f"STATUS={status}")

    def restarting(self, status: str) -> None:
        """The process is to begin anew under the same id: after STOPPING systemd would kill it, for it does not end."""
        micros = self._clock.monotonic_ns() // 1000
        self._notifier.send("RELOADING=1", f"MONOTONIC_USEC={micros}", f"STATUS={status}")

    def tick(self, status: str = "") -> list[str]:
        """Call it at least four times within the watchdog's time. Returns the threads that hang.

        `status` is shown by `systemctl status`; it is sent only when it changes.
        """
        if status and status != self._status:
            self._status = status
            self._notifier.send(f"STATUS={status}")
        now = self._clock.monotonic_ns()
        if self._limit_s is None or now < self._next_ns:
            return []
        late = self._heartbeats.late(self._limit_s)
        if late:
            self._notifier.send(f"STATUS=hangs: {', '.join(late)}")
        else:
            self._notifier.send("WATCHDOG=1")
            self._next_ns = now + int(self._limit_s * SECOND_NS / 2)
        return late


def _limit_s(environment: Mapping[str, str]) -> float | None:
    """Seconds of WATCHDOG_USEC; None where there is no watchdog, or it is another process's."""
    micros, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not micros.isdigit() or int(micros) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(micros) / 1e6
